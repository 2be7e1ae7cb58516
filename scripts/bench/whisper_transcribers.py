"""Owns one way of transcribing in bench_whisper.py: a process that loads it, warms up, and transcribes all clips once.

    python scripts/bench/whisper_transcribers.py JOB.json

All are greedy, in float32, told the language of each clip, without timestamps, with one limit of new tokens, and no second try at
a higher temperature. Timed is waveforms -> texts. Output: a JSON file with seconds of the wall and of the process's cores, and
texts.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qasr_train.audio.decode import SAMPLE_RATE_HZ, load_audio
from qasr_train.batch import Recording
from qasr_train.data.buckets import BatchBudget, sorted_batches
from qasr_train.manifest import Utterance

WINDOW_SAMPLES = 30 * SAMPLE_RATE_HZ
# Takes clips of one language and gives their texts in order.
Way = Callable[[Sequence[Recording]], list[str]]


def main(job: dict[str, Any]) -> None:
    """Load, warm up with one batch, time the rest of the clips with that batch among them."""
    torch.set_num_threads(job["cores"])
    clips = [
        Recording(
            Utterance(row["id"], row["audio"], language=row["language"]), load_audio(row["audio"], name=row["id"])
        )
        for row in job["rows"]
    ]
    transcribe = WAYS[job["way"]](job)
    groups = list(_by_language(clips))
    transcribe([clips[i] for i in groups[0][: job["batch_rows"]]])
    texts = [""] * len(clips)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for group in groups:
        for i, text in zip(group, transcribe([clips[i] for i in group]), strict=True):
            texts[i] = text
    result = {
        "wall_s": time.perf_counter() - began_s,
        "cpu_s": time.process_time() - began_cpu_s,
        "audio_s": sum(len(clip.waveform) for clip in clips) / SAMPLE_RATE_HZ,
        "texts": texts,
    }
    Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")


def _by_language(clips: Sequence[Recording]) -> Iterator[list[int]]:
    for language in sorted({clip.utterance.language or "" for clip in clips}):
        yield [i for i, clip in enumerate(clips) if clip.utterance.language == language]


def ours(job: dict[str, Any]) -> Way:
    """This project's, in batches by length, as `recipes/evaluate.py` has them."""
    from qasr_train.models.base import RowDecoder
    from qasr_train.models.families import load_model
    from qasr_train.models.whisper.config import WhisperConfig, Window

    config = WhisperConfig(path=job["model"], window=Window(job["window"]))
    model = load_model(config, device="cpu", dtype=torch.float32)
    assert isinstance(model, RowDecoder)
    budget = BatchBudget(job["batch_rows"] * 30.0, job["batch_rows"])

    def transcribe(clips: Sequence[Recording]) -> list[str]:
        texts = [""] * len(clips)
        for rows in sorted_batches([len(clip.waveform) / SAMPLE_RATE_HZ for clip in clips], budget):
            chosen = [clips[row] for row in rows]
            batch = model.collator.for_transcription(chosen, language=chosen[0].utterance.language)
            heard = model.transcribe_rows(batch, max_new_tokens=[job["max_new_tokens"]] * len(rows))
            for row, one in zip(rows, heard, strict=True):
                texts[row] = one.text
        return texts

    return transcribe


def faster_whisper(job: dict[str, Any]) -> Way:
    """faster-whisper over CTranslate2, which takes one recording after the other."""
    from faster_whisper import WhisperModel

    model = WhisperModel(job["converted"], device="cpu", compute_type="float32", cpu_threads=job["cores"])

    def transcribe(clips: Sequence[Recording]) -> list[str]:
        texts = []
        for clip in clips:
            missing = WINDOW_SAMPLES - len(clip.waveform) if job["window"] == "full" else 0
            segments, _ = model.transcribe(
                np.pad(clip.waveform, (0, missing)),
                language=_code(clip),
                beam_size=1,
                temperature=0.0,
                without_timestamps=True,
                max_new_tokens=job["max_new_tokens"],
                no_speech_threshold=None,  # these three would leave a segment out, or try it again
                log_prob_threshold=None,
                compression_ratio_threshold=None,
            )
            texts.append("".join(segment.text for segment in segments).strip())
        return texts

    return transcribe


def pipeline(job: dict[str, Any]) -> Way:
    """transformers' pipeline, in batches in the order given."""
    from transformers import pipeline as make_pipeline

    hear = make_pipeline("automatic-speech-recognition", model=job["model"], dtype=torch.float32, device="cpu")

    def transcribe(clips: Sequence[Recording]) -> list[str]:
        inputs = [{"raw": clip.waveform, "sampling_rate": SAMPLE_RATE_HZ} for clip in clips]
        heard = hear(inputs, batch_size=job["batch_rows"], generate_kwargs=_generation(job, clips))
        return [one["text"].strip() for one in heard]

    return transcribe


def generate(job: dict[str, Any]) -> Way:
    """transformers' processor and `generate`, in batches in the order given."""
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    processor: Any = WhisperProcessor.from_pretrained(job["model"])
    model: Any = WhisperForConditionalGeneration.from_pretrained(job["model"], dtype=torch.float32).eval()

    def transcribe(clips: Sequence[Recording]) -> list[str]:
        texts: list[str] = []
        for first in range(0, len(clips), job["batch_rows"]):
            some = clips[first : first + job["batch_rows"]]
            waveforms = [clip.waveform for clip in some]
            features = processor(waveforms, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt").input_features
            ids = model.generate(features, **_generation(job, some))
            texts += [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)]
        return texts

    return transcribe


def _generation(job: dict[str, Any], clips: Sequence[Recording]) -> dict[str, Any]:
    greedy = {"num_beams": 1, "do_sample": False, "max_new_tokens": job["max_new_tokens"]}
    return greedy | {"language": _code(clips[0]), "task": "transcribe"}


def _code(clip: Recording) -> str:
    """Whisper's code of a clip's language."""
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    assert clip.utterance.language
    return TO_LANGUAGE_CODE[clip.utterance.language.lower()]


WAYS: dict[str, Callable[[dict[str, Any]], Way]] = {
    "ours": ours,
    "faster-whisper": faster_whisper,
    "pipeline": pipeline,
    "generate": generate,
}

if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
