"""The ablation of cut clips: how long a share is trained that sees as much whole, and what its tables say of saved rows."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from qasr_train.manifest import Utterance, write_manifest
from qasr_train.timed.base import TimedWord
from scripts.bench.prefixes import arms, evaluated, pooled, pooled_table, whole_part


def test_the_control_comes_first_and_once() -> None:
    found = arms(Namespace(shares=[0.5, 0.0], longer=[0.25]))
    assert [arm.model(1) for arm in found] == ["0 seed 1", "0.5 seed 1", "0.25+ seed 1"]


def test_the_part_of_whole_seconds_counts_where_clips_can_be_cut(tmp_path: Path) -> None:
    """Cuts at 2 and at 4 s of a clip of 5 s: 3 s on average. The other clip has no words that could be left."""
    words = tuple(TimedWord(word, n, n + 0.5) for n, word in enumerate(("one", "two", "three", "four", "five")))
    long = Utterance("a", "a.wav", "one two three four five", "English", duration_s=5.0, words=words)
    short = Utterance("b", "b.wav", "one", "English", duration_s=1.5, words=words[:1])
    write_manifest(tmp_path / "train" / "manifest.jsonl", [long, short])
    # Of 6.5 s: with half of what can be cut cut, 2.5 + 1.5 s are whole and 1.5 s are cut.
    assert whole_part(0.5, tmp_path) == pytest.approx(4.0 / 5.5)
    assert whole_part(0.0, tmp_path) == 1.0


def test_tables_pool_the_seeds_by_recording(tmp_path: Path) -> None:
    """Two recordings of 10 words, two seeds: offline 1 of 40 words wrong, streamed 3 of 40 and with cut clips 1."""
    asked = Namespace(work=tmp_path, seeds=[0, 1], shares=[0.25], longer=[], chunks=[2.0])
    errors = {("0", "offline"): (0, 1, 0, 0), ("0", "2 s"): (1, 1, 0, 1), ("0.25", "offline"): (0, 0, 1, 0)}
    errors["0.25", "2 s"] = (0, 0, 1, 0)
    for (label, how), (a0, b0, a1, b1) in errors.items():
        for seed, (a, b) in enumerate(((a0, b0), (a1, b1))):
            folder = evaluated(tmp_path, f"{label} seed {seed}", how)
            folder.mkdir(parents=True)
            zero = {"substitutions": 0, "insertions": 0, "num_reference_words": 10}
            rows = [{"id": "b", "deletions": b} | zero, {"id": "a", "deletions": a} | zero]
            (folder / "utterances.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = pooled_table(asked).splitlines()[2:]
    # Each recording of the control lost one word of 20 (a: 1 - 0, b: 2 - 1): whichever is drawn, 5 points.
    assert table[0] == ("| 0 | 2 s | 2.50 |  | 7.50 | +5.00 [+5.00, +5.00] (+5.00) | +5.00 [+5.00, +5.00] (+5.00) |  |")
    cells = table[1].split(" | ")
    assert cells[2:5] == ["2.50", "+0.00 [-5.00, +5.00] (+5.00)", "2.50"] and cells[5] == ""
    assert cells[7] == "-5.00 [-10.00, +0.00] (+0.00) |"


def test_what_is_surely_below_lies_inside_of_the_interval() -> None:
    rng = np.random.default_rng(1)
    before = np.stack([rng.integers(0, 4, 200), np.full(200, 15)], 1).astype(float)
    after = before + np.stack([rng.integers(-1, 2, 200), np.zeros(200)], 1)
    value, interval, surely = (
        pooled(before, after).split(" ", 1)[0],
        *pooled(before, after).split(" ", 1)[1].split("] "),
    )
    assert float(value) < float(surely.strip("()")) < float(interval.split(", ")[1])
