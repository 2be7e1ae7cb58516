"""Makes the demo's two corpora as files a user would have: WAV audio and one raw JSONL manifest each.

    python scripts/demo/make_data.py --out DIR --seed 0

DIR/medical.jsonl  English dictations the tiny base model cannot transcribe yet (train, dev, test)
DIR/terms.txt      the terms of the domain, for recall and for hotwords
DIR/general.jsonl  everyday sentences in four languages it can (train = replay, dev, test)

Texts and voices follow from the seed; the audio itself is not bit-exact (see synthesis.py).
Closed-vocabulary: medical test sentences are new, their words and voices are those of the training part.
General dev and test sentences were held out from the base model's training too, and so were their rates and pitches.
"""

import argparse
import json
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.demo.clips import Clip, speak_clip
from scripts.demo.corpus import draw_digits, draw_sentence, draw_words
from scripts.demo.distortion import add_noise
from scripts.demo.medical import draw_medical_sentences, hotwords
from scripts.demo.synthesis import SAMPLE_RATE_HZ, TRAINED_TIMBRES, draw_delivery, require_espeak
from scripts.demo.vocabulary import LANGUAGES

NUM_MEDICAL = {"train": 300, "dev": 40, "test": 150}
NUM_REPLAY = 3600  # fresh general clips for every epoch: a fixed small set would be memorised
NUM_GENERAL_PER_LANGUAGE = {"dev": 15, "test": 60}
MEDICAL_TIMBRES = "m1 m3 m5 f1 f2 f4 klatt2 benjamin Michael steph".split()
NOISY_SHARE = 0.3


@dataclass(frozen=True)
class Row:
    """One clip of a manifest; `noise_snr_db` None means clean."""

    audio: str
    clip: Clip
    split: str
    noise_snr_db: float | None

    def to_manifest(self) -> dict[str, str]:
        """The manifest line; `audio` is relative to the manifest, `speaker` is the eSpeak voice."""
        clip = self.clip
        return {
            "audio": self.audio,
            "text": clip.text,
            "language": clip.language,
            "speaker": clip.delivery.voice,
            "split": self.split,
        }


def main() -> None:
    """Parses the command line, writes both corpora and says what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-replay", type=int, default=NUM_REPLAY, help="general training clips")
    parser.add_argument("--num-processes", type=int, default=2)
    arguments = parser.parse_args()
    try:
        require_espeak()
        corpora = {
            "medical": plan_medical(arguments.seed),
            "general": plan_general(arguments.num_replay, arguments.seed),
        }
        for name, rows in corpora.items():
            write_corpus(arguments.out, name, rows, arguments.num_processes)
            print(f"{arguments.out / name}.jsonl: {len(rows)} clips")
        (arguments.out / "terms.txt").write_text("\n".join(hotwords()) + "\n", encoding="utf-8")
    except ValueError as error:
        parser.exit(2, f"error: {error}\n")


def plan_medical(seed: int) -> list[Row]:
    """Different sentences in train, dev and test; dev and test hold only words that train holds too."""
    rng = random.Random(f"medical-{seed}")
    num_spare = 100  # replaces sentences with a word that train happens to lack
    sentences = draw_medical_sentences(sum(NUM_MEDICAL.values()) + num_spare, rng)
    train, rest = sentences[: NUM_MEDICAL["train"]], sentences[NUM_MEDICAL["train"] :]
    known = {word for text in train for word in text.split()}
    rest = [text for text in rest if known.issuperset(text.split())]
    num_dev = NUM_MEDICAL["dev"]
    splits = {"train": train, "dev": rest[:num_dev], "test": rest[num_dev : num_dev + NUM_MEDICAL["test"]]}
    return [
        _plan_row("medical", split, i, text, "English", MEDICAL_TIMBRES, rng)
        for split, texts in splits.items()
        for i, text in enumerate(texts)
    ]


def plan_general(num_replay: int, seed: int) -> list[Row]:
    """Replay (seen kinds of text in seen timbres), then dev and test of held-out sentences, as many per language."""
    rng = random.Random(f"general-{seed}")
    rows = []
    for i in range(num_replay):
        language = LANGUAGES[i % len(LANGUAGES)]
        rows.append(_plan_row("general", "train", i, _draw_replay_text(language, rng), language, TRAINED_TIMBRES, rng))
    for split, num_clips in NUM_GENERAL_PER_LANGUAGE.items():
        for i in range(num_clips * len(LANGUAGES)):
            language = LANGUAGES[i % len(LANGUAGES)]
            text = draw_sentence(language, rng, held_out=True)
            rows.append(_plan_row("general", split, i, text, language, TRAINED_TIMBRES, rng))
    return rows


def write_corpus(directory: Path, name: str, rows: list[Row], num_processes: int) -> None:
    """Audio first, then the manifest by renaming: a manifest that exists names files that exist."""
    for folder in {(directory / row.audio).parent for row in rows}:
        folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(num_processes) as pool:
        list(pool.map(_write_audio, [directory] * len(rows), rows, range(len(rows)), chunksize=32))
    part = directory / f"{name}.jsonl.part"
    part.write_text("".join(json.dumps(row.to_manifest(), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    part.replace(directory / f"{name}.jsonl")


def _draw_replay_text(language: str, rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.65:
        return draw_sentence(language, rng, held_out=False)
    if draw < 0.9:
        return draw_words(language, rng.randint(1, 4), rng)
    return draw_digits(language, rng.randint(1, 3), rng)


def _plan_row(
    name: str, split: str, index: int, text: str, language: str, timbres: list[str], rng: random.Random
) -> Row:
    delivery = draw_delivery(language, timbres, split != "train", rng)
    snr_db = rng.uniform(12, 30) if rng.random() < NOISY_SHARE else None
    return Row(f"audio/{name}-{split}/{index:05d}.wav", Clip(text, language, delivery), split, snr_db)


def _write_audio(directory: Path, row: Row, seed: int) -> None:
    samples = speak_clip(row.clip)
    if row.noise_snr_db is not None:
        noisy = add_noise(samples.astype(np.float32) / 32768.0, row.noise_snr_db, np.random.default_rng(seed))
        samples = (np.clip(noisy, -1, 1) * 32767).astype(np.int16)
    soundfile.write(directory / row.audio, samples, SAMPLE_RATE_HZ, subtype="PCM_16")


if __name__ == "__main__":
    main()
