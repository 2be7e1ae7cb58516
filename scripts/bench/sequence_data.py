"""Owns the test sets of bench_sequence.py: sentences that the demo does not hold, in noise, and noises without speech.

Input: the folder of a finished `make demo`, and ../shared/noise. Output: manifests with their clips, made once.
"""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from scripts.demo.clips import Clip
from scripts.demo.make_data import MEDICAL_TIMBRES, Row, write_corpus
from scripts.demo.medical import draw_medical_sentences
from scripts.demo.synthesis import HELD_OUT_TIMBRES, SAMPLE_RATE_HZ, draw_delivery

SHARED = Path("../shared")
NUM_TEST = {"dev": 200, "known": 300, "new": 300}
NUM_CORPUS = {"train": 2000, "dev": 300, "known": 700, "new": 700}
CORPUS_SNR_DB = (0.0, 10.0)
PIECE_S = 3.0  # of the noises
LEVELS_DB = (0.0, -12.0, -24.0)


def make_data(demo: Path, data: Path) -> None:
    """Test sentences that no split of the demo holds, and noises without speech."""
    if not (data / "medical.jsonl").exists():
        known = {word for row in medical_rows(demo) if row["split"] == "train" for word in row["text"].split()}
        texts = [text for text in fresh_sentences(demo, 4 * sum(NUM_TEST.values())) if known.issuperset(text.split())]
        write_medical(data, "medical", texts, NUM_TEST, (5.0, 20.0))
    if not (data / "corpus.jsonl").exists():
        write_medical(data, "corpus", fresh_sentences(demo, sum(NUM_CORPUS.values()) + 600), NUM_CORPUS, CORPUS_SNR_DB)
    if not (data / "silence.jsonl").exists():
        write_noises(data)


def medical_rows(demo: Path) -> list[dict]:
    """The manifest of the demo's medical clips."""
    return [json.loads(line) for line in (demo / "raw" / "medical.jsonl").read_text().splitlines()]


def fresh_sentences(demo: Path, number: int) -> list[str]:
    """Medical sentences that the demo does not hold."""
    held = {row["text"] for row in medical_rows(demo)}
    return [text for text in draw_medical_sentences(number, random.Random("sequence")) if text not in held]


def write_medical(
    data: Path, name: str, texts: Sequence[str], numbers: Mapping[str, int], snr_db: tuple[float, float]
) -> None:
    """Sentences in noise, each split with texts of its own, `new` alone in voices that nothing was trained on."""
    rng, planned, begin = random.Random(f"sequence-{name}"), [], 0
    for split, number in numbers.items():
        taken, begin = texts[begin : begin + number], begin + number
        if len(taken) < number:
            raise ValueError(f"{len(taken)} sentences are left for {split} of {name}, {number} are wanted")
        timbres = HELD_OUT_TIMBRES if split == "new" else MEDICAL_TIMBRES
        for i, text in enumerate(taken):
            clip = Clip(text, "English", draw_delivery("English", timbres, split != "train", rng))
            planned.append(Row(f"audio/{name}-{split}/{i:05d}.wav", clip, split, rng.uniform(*snr_db)))
    write_corpus(data, name, planned, 1)


def noise_files() -> tuple[list[Path], list[Path]]:
    """(to train with, to test with): every second of the shared noises."""
    files = sorted((SHARED / "noise" / "audio").iterdir())
    return files[1::2], files[::2]


def write_noises(data: Path) -> None:
    """Pieces of the shared noises, each at several levels, as clips whose text is empty."""
    (data / "audio" / "silence").mkdir(parents=True, exist_ok=True)
    lines = []
    trained, tested = noise_files()
    train_lines = "".join(json.dumps({"audio": str(path.resolve())}) + "\n" for path in trained)
    (data / "noises.jsonl").write_text(train_lines, encoding="utf-8")
    for path in tested:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate != SAMPLE_RATE_HZ:
            continue
        length = int(PIECE_S * rate)
        for i in range(len(samples) // length):
            for level_db in LEVELS_DB:
                name = f"audio/silence/{path.stem}_{i}_{-level_db:.0f}.wav"
                piece = samples[i * length : (i + 1) * length, 0] * np.float32(10 ** (level_db / 20))
                soundfile.write(data / name, piece, rate, subtype="PCM_16")
                lines.append(json.dumps({"audio": name, "text": "", "language": "English", "speaker": path.stem}))
    (data / "silence.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
