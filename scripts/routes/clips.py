"""Owns what every route's script does: reads the manifest it is given, times each clip, writes predictions. Scripts import it."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile

RATE_HZ = 16_000


def token_limit(duration_s: float) -> int:
    """The most new tokens of a clip, as our own decoder has it."""
    return 64 + int(16 * duration_s) + 1


def hear_each(manifest: str, predictions: str, transcribe: Callable[[Any, float, str | None], str]) -> None:
    """One clip at a time, so that its time is its own; the first is heard once before, to leave warming up out.

    Args:
        manifest, predictions: paths, as routes.NAME.command gives them; give as_wav=true, so that sound is 16 kHz mono.
        transcribe: (samples float32 [S], seconds, name of the language or None) -> text.
    """
    rows = [json.loads(line) for line in Path(manifest).read_text(encoding="utf-8").splitlines()]
    with open(predictions, "w", encoding="utf-8") as out:
        for number, row in enumerate(rows):
            samples, rate_hz = soundfile.read(row["audio_filepath"], dtype="float32")
            assert rate_hz == RATE_HZ and samples.ndim == 1, f"{row['id']}: {rate_hz} Hz; set routes.NAME.as_wav=true"
            given = samples, len(samples) / RATE_HZ, row.get("language")
            if number == 0:
                transcribe(*given)
            started_s = time.perf_counter()
            text = transcribe(*given)
            seconds = time.perf_counter() - started_s
            out.write(
                json.dumps({"id": row["id"], "pred_text": text.strip(), "time": seconds}, ensure_ascii=False) + "\n"
            )
