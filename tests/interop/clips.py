"""Owns the real clips that clients are compared on: some of every kind in ../shared/speech, written as 16 kHz float WAV.

Input: ../shared/speech. Output: a folder with the sound, a manifest for `evaluate`, and clips.json for clients, in one order.
"""

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import soundfile

from qasr_train.audio.decode import SAMPLE_RATE_HZ, load_audio
from tests.helpers import SHARED

MAX_DURATION_S = 29.0  # what Whisper's window holds: programs cut longer recordings each in its own way
KINDS = ("arsc", "fsdd")  # Arabic commands, English digits; whatever else are sentences


def write_clips(folder: Path, number: int) -> list[dict[str, Any]]:
    """Write `number` clips, the kinds by turns; returns rows of `id`, `audio`, `text`, `language`, `duration`, in seconds."""
    assert SHARED is not None
    rows = [json.loads(line) for line in (SHARED / "speech/manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    chosen = by_turns([row for row in rows if row["duration"] <= MAX_DURATION_S])[:number]
    folder.mkdir(parents=True)
    for position, row in enumerate(chosen):
        audio = folder / f"{position:03d}.wav"
        # Every client reads the very samples that we heard.
        soundfile.write(audio, load_audio(SHARED / "speech" / row["audio"]), SAMPLE_RATE_HZ, subtype="FLOAT")
        row |= {"id": Path(row["audio"]).stem, "audio": str(audio)}
    clips = [{key: row[key] for key in ("id", "audio", "text", "language", "duration")} for row in chosen]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(clip) + "\n" for clip in clips), encoding="utf-8")
    (folder / "clips.json").write_text(json.dumps(clips), encoding="utf-8")
    return clips


def by_turns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of all kinds, languages of sentences by turns, each kind spread over its speakers."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        start = Path(row["audio"]).name.partition("_")[0]
        kinds.setdefault(start if start in KINDS else row["language"], []).append(row)
    spread = [kind[:: max(1, len(kind) // 13)] for _, kind in sorted(kinds.items())]
    return [row for turn in zip_longest(*spread) for row in turn if row is not None]
