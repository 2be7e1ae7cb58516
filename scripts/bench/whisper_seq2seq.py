"""Owns Hugging Face's own way of fine-tuning Whisper in bench_whisper.py: a process that does what the well-known example does.

    python scripts/bench/whisper_seq2seq.py JOB.json

Features of all clips are made ahead by `map`, padded to 30 s; labels come from the tokenizer with the prefix of language and
task; the collator pads them with -100 and cuts the start token off, which the model puts back; Seq2SeqTrainer trains, saves and
logs. Not the example's: rows come in the order of the job, recordings are decoded by this project (`datasets` would want
torchcodec), and weights are float32 (transformers 5 would take the file's float16). Output: OUT/result.json, and OUT/model.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import (
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    WhisperForConditionalGeneration,
    WhisperProcessor,
)

from qasr_train.audio.decode import SAMPLE_RATE_HZ, load_audio


def main(job: dict[str, Any]) -> None:
    """Prepare, train, save."""
    torch.set_num_threads(job["cores"])
    out = Path(job["out"])
    processor = WhisperProcessor.from_pretrained(job["model"])
    model = WhisperForConditionalGeneration.from_pretrained(job["model"], dtype=torch.float32)
    began_s = time.perf_counter()
    raw = datasets.load_dataset("json", data_files=job["rows"], split="train", cache_dir=str(out / "cache"))
    prepared = raw.map(Prepare(processor), remove_columns=raw.column_names)
    prepare_s = time.perf_counter() - began_s
    clock = Clock([])
    trainer = Seq2SeqTrainer(
        model=model,
        args=training_arguments(job, out),
        train_dataset=prepared,
        data_collator=Collate(processor, model.config.decoder_start_token_id),
        processing_class=processor,
        callbacks=[clock],
    )
    trainer.train()
    trainer.save_model(str(out / "model"))
    processor.save_pretrained(out / "model")
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    result = {"losses": losses, "step_s": clock.step_s, "prepare_s": prepare_s}
    (out / "result.json").write_text(json.dumps(result), encoding="utf-8")


def training_arguments(job: dict[str, Any], out: Path) -> Seq2SeqTrainingArguments:
    """The settings of the job, everything else as transformers has it."""
    return Seq2SeqTrainingArguments(
        output_dir=str(out / "trainer"),
        per_device_train_batch_size=job["batch_rows"],
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        learning_rate=job["lr"],
        lr_scheduler_type="linear",
        warmup_steps=0,
        weight_decay=job["weight_decay"],
        adam_beta1=job["beta1"],
        adam_beta2=job["beta2"],
        adam_epsilon=job["eps"],
        max_grad_norm=job["max_grad_norm"],
        dataloader_num_workers=job["num_workers"],
        remove_unused_columns=False,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )


@dataclass
class Prepare:
    """`prepare_dataset` of the example."""

    processor: Any

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        waveform = load_audio(row["audio"], name=row["id"])
        tokenizer = self.processor.tokenizer
        tokenizer.set_prefix_tokens(language=row["language"], task="transcribe")
        features = self.processor.feature_extractor(waveform, sampling_rate=SAMPLE_RATE_HZ).input_features[0]
        return {"input_features": features, "labels": tokenizer(row["said"]).input_ids}


@dataclass
class Collate:
    """`DataCollatorSpeechSeq2SeqWithPadding` of the example."""

    processor: Any
    decoder_start_token_id: int

    def __call__(self, features: list[dict[str, Any]]) -> Any:
        inputs = [{"input_features": one["input_features"]} for one in features]
        batch = self.processor.feature_extractor.pad(inputs, return_tensors="pt")
        padded = self.processor.tokenizer.pad([{"input_ids": one["labels"]} for one in features], return_tensors="pt")
        labels = padded["input_ids"].masked_fill(padded.attention_mask.ne(1), -100)
        if bool((labels[:, 0] == self.decoder_start_token_id).all()):
            labels = labels[:, 1:]
        batch["labels"] = labels
        return batch


@dataclass
class Clock(TrainerCallback):
    """step_s: seconds of each step, from the end of the one before, so that waiting for data counts."""

    step_s: list[float]

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.last_s = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        now_s = time.perf_counter()
        self.step_s.append(now_s - self.last_s)
        self.last_s = now_s


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
