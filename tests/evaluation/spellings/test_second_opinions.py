"""Lattices against NIST sclite (Debian package sctk) and voi-oiwer; each skips where it is not installed."""

import random
import re
import shutil
import subprocess

import pytest

from qasr_train.evaluation.scoring.alignment import score_utterances
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.text.leaderboard.hindi import hindi_2026_11
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

NONE = get_normalizer("none")


def _prediction(number, text, heard):
    return Prediction(None, None, None, text, heard, id=str(number), set="s", language="Hindi")


def _near(slots, words, rng):
    """One way to write a lattice out, misheard a little."""
    said = " ".join(rng.choice(slot) for slot in slots).split()
    heard = [rng.choice(words) if rng.random() < 0.08 else word for word in said if rng.random() > 0.05]
    return [*heard, *rng.choices(words, k=rng.random() < 0.1)]


@pytest.mark.skipif(shutil.which("sctk") is None, reason="needs NIST sclite (apt-get install sctk)")
def test_totals_agree_with_sclite_on_random_lattices(tmp_path):
    rng = random.Random(7)
    words = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("ab", "eck", "ill", "onk", "ush")]
    pairs = []
    for _ in range(200):
        slots = [
            [" ".join(rng.sample(words, rng.choice([1, 1, 2]))) for _ in range(rng.choice([1, 1, 2, 3]))]
            for _ in range(6)
        ]
        slots = [[*slot, "@"] if len(slot) > 1 and rng.random() < 0.3 else slot for slot in slots]
        stated = " ".join(slot[0] if len(slot) == 1 else f"{{ {' / '.join(slot)} }}" for slot in slots)
        heard = _near([["" if text == "@" else text for text in slot] for slot in slots], words, rng)
        pairs.append((stated, " ".join(heard)))
    for name, side in (("ref", 0), ("hyp", 1)):
        lines = (f"{pair[side]} (spk_{number:04d})" for number, pair in enumerate(pairs))
        (tmp_path / f"{name}.trn").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["sctk", "sclite", "-i", "rm", "-r", "ref.trn", "trn", "-h", "hyp.trn", "trn", "-o", "dtl", "stdout"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.search(r"Percent Total Error\s*=\s*[\d.]+%\s*\(\s*(\d+)\)", printed)
    length = re.search(r"Ref. words\s*=\s*\(\s*(\d+)\)", printed)
    assert found and length, printed[:2000]
    group = score_predictions([_prediction(n, *pair) for n, pair in enumerate(pairs)], NONE).overall
    num_errors = group["substitutions"] + group["deletions"] + group["insertions"]
    assert (num_errors, group["num_reference_words"]) == (int(found[1]), int(length[1]))


def test_errors_and_denominator_agree_with_voi_oiwer_where_spellings_are_single_words():
    voi_oiwer = pytest.importorskip("voi_oiwer", reason="needs voi-oiwer (pip install voi-oiwer indic-nlp-library)")
    rng, rules = random.Random(1), get_normalizer("leaderboard-2026-11")
    words = ["मैं", "हूँ", "हूं", "घर", "क़लम", "कलम", "ज़रूर", "है", "हैं", "ok", "25", "दिन।"]
    for number in range(400):
        slots = [rng.sample(words, rng.choice([1, 1, 2, 3])) for _ in range(rng.randint(1, 8))]
        heard = " ".join(_near(slots, words, rng))
        theirs = voi_oiwer.oiwer(heard, slots, "hindi")
        [ours] = score_utterances([_prediction(number, str(slots), heard)], rules)
        assert (ours.counts.num_errors, ours.counts.num_reference_words) == (sum(theirs[4]), theirs[5]), (slots, heard)


def test_of_longer_spellings_voi_oiwer_counts_errors_that_a_better_path_has_not():
    """Why the two differ there: it does not look at every path."""
    voi_oiwer = pytest.importorskip("voi_oiwer", reason="needs voi-oiwer (pip install voi-oiwer indic-nlp-library)")
    slots = [["एक घर", "घर घर"]]
    assert sum(voi_oiwer.oiwer("घर घर", slots, "hindi")[4]) == 1
    [ours] = score_utterances([_prediction(1, str(slots), "घर घर")], get_normalizer("leaderboard-2026-11"))
    assert ours.counts.num_errors == 0


def test_hindi_is_normalised_as_voi_oiwer_does():
    standardize = pytest.importorskip("voi_oiwer._normalize", reason="needs voi-oiwer").standardize_hypothesis
    rng = random.Random(2)
    pool = [chr(code) for code in range(0x900, 0x980)] + [chr(code) for code in range(0x20, 0x7F)]
    pool += list("‘ʼ\u200b\u200c\u200d´\u200e\u200f“”॥।۔–’°¬‑—\ufeff\u2060\u00ad\u00a0„‚…\t")
    for _ in range(2000):
        text = "".join(rng.choices(pool, k=rng.randint(0, 20)))
        assert hindi_2026_11(text).split() == standardize(text, "hi"), repr(text)
