"""NCE against NIST sclite (Debian package sctk) on random words with random confidences; skips where it is not installed."""

import math
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.models.blocks.text_pieces import TextPiece
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

WORDS = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("ab", "eck", "ill", "onk", "ush")]


@pytest.mark.skipif(shutil.which("sctk") is None, reason="needs NIST sclite (apt-get install sctk)")
def test_nce_agrees_with_sclite(tmp_path: Path) -> None:
    drawn = random.Random(4)
    rows, references, heard_lines = [], [], []
    for number in range(40):
        said = drawn.choices(WORDS, k=drawn.randint(3, 15))
        heard = [word if drawn.random() > 0.15 else drawn.choice(WORDS) for word in said if drawn.random() > 0.05]
        shares = [round(drawn.uniform(0.02, 0.98), 2) for _ in heard]
        references.append(f"f{number} A s{number % 3} 0.0 100.0 {' '.join(said)}")
        heard_lines += [
            f"f{number} A {place}.1 0.2 {word} {share}"
            for place, (word, share) in enumerate(zip(heard, shares, strict=True))
        ]
        pieces = tuple(
            TextPiece(len(word) + bool(n), math.log(share))
            for n, (word, share) in enumerate(zip(heard, shares, strict=True))
        )
        rows.append(
            Prediction(
                None, None, None, " ".join(said), " ".join(heard), id=str(number), set=f"s{number % 3}", pieces=pieces
            )
        )
    (tmp_path / "ref.stm").write_text("\n".join(references) + "\n")
    (tmp_path / "hyp.ctm").write_text("\n".join(heard_lines) + "\n")
    command = ["sctk", "sclite", "-r", "ref.stm", "stm", "-h", "hyp.ctm", "ctm", "-o", "sum", "stdout"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout
    lines = [line.replace("|", " ").split() for line in printed.splitlines()]
    theirs = {cells[0]: float(cells[-1]) for cells in lines if len(cells) == 10 and "." in cells[-1]}
    words = score_predictions(rows, get_normalizer("none")).words
    assert words is not None
    ours = {name: group.nce for name, group in words.sets.items()} | {"Sum/Avg": words.overall.nce}
    assert {name: theirs[name] for name in ours} == pytest.approx(ours, abs=0.0006)
