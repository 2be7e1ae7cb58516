"""How long scoring takes: made-up English pairs of 17.5 words, with numbers, contractions and 10 % of words wrong.

Run: python scripts/bench/bench_score.py [--pairs 100000] [--workers 2] [--normalizer leaderboard-2026-08]
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

from qasr_train.jobs.score import score_saved
from qasr_train.jobs.settings.score import ScoreConfig
from qasr_train.transcription.predictions import Prediction, write_predictions

_COMMON = (
    "the of and to a in is you that it he was for on are as with his they I at be this have from or had by hot word but "
    "what some we can out other were all there when up use your how said an each she which do their time if will way "
    "about many then them write would like so these her long make thing see him two has look more day could go come did "
    "number sound no most people my over know water than call first who may down side been now find any new work part take"
).split()
_RARER = (
    "don't we're colour organise harbour Mr. Dr. twenty five 1,234 $25 50% Stephen okay e-mail I'll it's uh um 21st café"
).split()


def main() -> None:
    """Write the pairs, score them as the recipe does, print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--normalizer", default="leaderboard-2026-08")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.jsonl"
        write_predictions(path, _pairs(arguments.pairs))
        config = ScoreConfig(
            predictions=str(path),
            out=folder,
            normalizer=arguments.normalizer,
            language="en",
            num_workers=arguments.workers,
        )
        start = time.perf_counter()
        scores = score_saved(config)
        seconds = time.perf_counter() - start
    group = scores.overall
    print(
        f"{arguments.pairs} pairs, {group['num_reference_words']} words, {arguments.workers} workers: {seconds:.1f} s"
    )
    print(f"{arguments.normalizer}: WER {group['wer_percent']} %, interval {group['interval']}")


def _pairs(count: int) -> list[Prediction]:
    rng = random.Random(0)
    rare = [
        f"{first}{second}"
        for first in ("con", "per", "in", "trans")
        for second in ("form", "duct", "tain", "mit", "late")
    ]
    words = _COMMON * 8 + _RARER * 2 + [word + ending for word in rare for ending in ("", "s", "ed", "ing", "ation")]
    pairs = []
    for number in range(count):
        reference = rng.choices(words, k=rng.randint(5, 30))
        heard = [word if rng.random() > 0.1 else rng.choice(["", rng.choice(words)]) for word in reference]
        text, pred_text = " ".join(reference).capitalize() + ".", " ".join(heard)
        pairs.append(Prediction(f"{number}.wav", 6.0, 0.05, text, pred_text, id=str(number), set="bench"))
    return pairs


if __name__ == "__main__":
    main()
