"""Owns the official collator as a process of its own: what the `qwen-asr` fine-tuning script does to a batch, timed.

    PYTHONPATH=OVERLAY python scripts/bench/official_collator.py MODEL BATCH.json

Run by bench_input.py over an overlay with transformers 4.57.6. Input: lines on stdin, "flac" or "wav". Output: seconds a line.
It decodes every clip and calls the processor twice, with the whole text and with the prompt alone, to learn its length.
Kinder than the script in one thing: soundfile reads the 16 kHz mono files where the script has librosa around soundfile.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import soundfile
import torch


def main() -> None:
    """Answer every line with the seconds of one batch."""
    torch.set_num_threads(1)
    model, batch = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    processor = _processing_module().Qwen3ASRProcessor.from_pretrained(model)
    system = {"role": "system", "content": ""}
    user = {"role": "user", "content": [{"type": "audio", "audio": None}]}
    prompt = processor.apply_chat_template([[system, user]], add_generation_prompt=True, tokenize=False)[0]
    print("ready", flush=True)
    for line in sys.stdin:
        began_s = time.perf_counter()
        _collate(processor, batch[line.strip()], batch["targets"], prompt)
        print(time.perf_counter() - began_s, flush=True)


def _collate(processor, paths: list[str], targets: list[str], prompt: str) -> dict[str, torch.Tensor]:  # type: ignore[no-untyped-def]
    audios = [soundfile.read(path, dtype="float32")[0] for path in paths]
    end = processor.tokenizer.eos_token
    texts = [prompt + target + end for target in targets]
    inputs = processor(text=texts, audio=audios, return_tensors="pt", padding=True, truncation=False)
    alone = processor(text=[prompt] * len(texts), audio=audios, return_tensors="pt", padding=True, truncation=False)
    labels = inputs["input_ids"].clone()
    for row, length in enumerate(alone["attention_mask"].sum(dim=1).tolist()):
        labels[row, :length] = -100  # as if padded on the right, which it is not: docs/training.md
    labels[labels == processor.tokenizer.pad_token_id] = -100
    return {**inputs, "labels": labels}


def _processing_module() -> ModuleType:
    """The processor's own file: the package around it imports a web demo and an aligner."""
    found = importlib.util.find_spec("qwen_asr")
    assert found and found.submodule_search_locations, "PYTHONPATH names no overlay with qwen-asr"
    path = Path(found.submodule_search_locations[0]) / "core/transformers_backend/processing_qwen3_asr.py"
    spec = importlib.util.spec_from_file_location("processing_qwen3_asr", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
