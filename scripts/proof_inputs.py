"""Owns what the frozen proofs are computed from: tests/frozen/inputs and clips made of fixed seeds, put into a work folder.

Output in the folder: `speech.jsonl` (spoken, the bundled model knows most of its words), `systems/`, `leaderboard/` (saved
predictions), `terms.txt`; and, made here, `clips.jsonl` and `more.jsonl` (tones in noise), `noises/`, `rooms/`,
`descriptions.txt`, `raw.jsonl` (a corpus with faults). All paths are relative: recipes run inside the folder.
"""

import json
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np

INPUTS = Path(__file__).resolve().parents[1] / "tests" / "frozen" / "inputs"
SAMPLE_RATE_HZ = 16_000
WORDS = "the patient takes two pills heparin wo ist der garten où est la lampe cinco tres uno madera".split()
LANGUAGES = ("English", "German", "French", "Spanish", None)
NUM_CLIPS, NUM_MORE, NUM_DEV = 20, 8, 4


def make_inputs(folder: Path) -> None:
    """Fill an empty folder with everything the calls of proof_calls.py name."""
    shutil.copytree(INPUTS, folder, dirs_exist_ok=True)
    rng = np.random.default_rng(11)
    rows = [_clip(folder, f"c{number:02}", rng) for number in range(NUM_CLIPS)]
    for row in rows[-NUM_DEV:]:
        row["split"] = "dev"
    _write_rows(folder / "clips.jsonl", rows)
    _write_rows(folder / "more.jsonl", [_clip(folder, f"m{number:02}", rng) for number in range(NUM_MORE)])
    for number in range(2):
        _write_wav(folder / "noises" / f"n{number}.wav", 0.2 * rng.standard_normal(3 * SAMPLE_RATE_HZ))
    decay = np.exp(-np.arange(4000) / 700)
    _write_wav(folder / "rooms" / "r0.wav", 0.3 * decay * rng.standard_normal(4000))
    (folder / "descriptions.txt").write_text("a ward round\na call about a bill\n", encoding="utf-8")
    _make_raw(folder, rng)


def _clip(folder: Path, name: str, rng: np.random.Generator) -> dict[str, Any]:
    """A gliding tone in noise with a made-up transcript; its row."""
    number = int(name[1:])
    num_samples = int(SAMPLE_RATE_HZ * rng.uniform(0.3, 2.6))
    time_s = np.arange(num_samples) / SAMPLE_RATE_HZ
    tone = np.sin(2 * np.pi * (rng.uniform(120, 900) * time_s + rng.uniform(0, 200) * time_s**2))
    _write_wav(folder / "clips" / f"{name}.wav", 0.4 * tone + 0.03 * rng.standard_normal(num_samples))
    words = rng.choice(WORDS, size=int(rng.integers(1, 6)))
    return {
        "id": name,
        "audio": f"clips/{name}.wav",
        "text": " ".join(words),
        "language": LANGUAGES[number % len(LANGUAGES)],
        "speaker": f"p{number % 4}",
        "duration_s": num_samples / SAMPLE_RATE_HZ,
        "split": "train",
        "context": "heparin, pills" if number % 3 == 0 else None,
    }


def _make_raw(folder: Path, rng: np.random.Generator) -> None:
    """Good clips in other formats, then every fault that prepare.py rejects or remarks on."""
    raw = folder / "raw"
    good = [_clip(folder, f"r{number:02}", rng) for number in range(8)]
    _write_wav(raw / "stereo.wav", 0.2 * rng.standard_normal(16_000), num_channels=2, rate_hz=8_000)
    _write_wav(raw / "silent.wav", np.zeros(16_000))
    _write_wav(raw / "loud.wav", 3.0 * np.sin(np.arange(20_000) / 10))
    _write_wav(raw / "short.wav", 0.1 * rng.standard_normal(400))
    _write_wav(raw / "header.wav", np.zeros(0))
    (raw / "empty.wav").write_bytes(b"")
    (raw / "noise.wav").write_bytes(bytes(rng.integers(0, 256, 3000, dtype=np.uint8)))
    (raw / "cut.wav").write_bytes((folder / good[0]["audio"]).read_bytes()[:5000])
    shutil.copy(folder / good[1]["audio"], raw / "same.wav")
    names = ["stereo", "silent", "loud", "short", "header", "empty", "noise", "cut", "same", "missing"]
    faults = [
        {"id": name, "audio": f"raw/{name}.wav", "text": "two pills", "language": "en-US", "speaker": "p9"}
        for name in names
    ]
    faults.append({"id": "no text", "audio": good[2]["audio"], "text": None, "language": "English"})
    faults.append({"id": "fast", "audio": good[3]["audio"], "text": "word " * 200, "language": "English"})
    faults.append({"id": "no speech", "audio": good[4]["audio"], "text": "", "language": None})
    _write_rows(folder / "raw.jsonl", good + faults)


def _write_wav(path: Path, waveform: np.ndarray, *, num_channels: int = 1, rate_hz: int = SAMPLE_RATE_HZ) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.round(np.clip(waveform, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(num_channels)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(np.repeat(samples, num_channels).tobytes())


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
