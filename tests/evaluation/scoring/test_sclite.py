"""Totals against NIST sclite (Debian package sctk) on random texts; skips where it is not installed."""

import random
import re
import shutil
import subprocess

import pytest

from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction


@pytest.mark.skipif(shutil.which("sctk") is None, reason="needs NIST sclite (apt-get install sctk)")
def test_totals_agree_with_sclite(tmp_path):
    rng = random.Random(9)
    words = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("ab", "eck", "ill", "onk", "ush")]
    pairs = []
    for _ in range(300):
        reference = rng.choices(words, k=rng.randint(1, 20))
        heard = [word for word in reference if rng.random() > 0.05]
        heard = [word if rng.random() > 0.08 else rng.choice(words) for word in heard]
        if rng.random() < 0.2:
            heard.insert(rng.randint(0, len(heard)), rng.choice(words))
        pairs.append((" ".join(reference), " ".join(heard)))
    for name, side in (("ref", 0), ("hyp", 1)):
        lines = (f"{pair[side]} (spk_{number:04d})" for number, pair in enumerate(pairs))
        (tmp_path / f"{name}.trn").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["sctk", "sclite", "-i", "rm", "-r", "ref.trn", "trn", "-h", "hyp.trn", "trn", "-o", "dtl", "stdout"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout

    def figure(title: str) -> int:
        found = re.search(rf"{title}\s*=\s*[\d.]+%\s*\(\s*(\d+)\)", printed)
        assert found, printed[:2000]
        return int(found[1])

    rows = [Prediction(None, None, None, *pair, id=str(number), set="s") for number, pair in enumerate(pairs)]
    group = score_predictions(rows, get_normalizer("none")).overall
    found = re.search(r"Ref. words\s*=\s*\(\s*(\d+)\)", printed)
    assert found
    assert group["num_reference_words"] == int(found[1])
    assert group["substitutions"] + group["deletions"] + group["insertions"] == figure("Percent Total Error")
    assert group["deletions"] - group["insertions"] == figure("Percent Deletions") - figure("Percent Insertions")
