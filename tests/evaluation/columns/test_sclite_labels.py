"""Rates by group against the label report of NIST sclite (Debian package sctk), random texts; skips where it is missing."""

import random
import re
import shutil
import subprocess

import pytest

from qasr_train.evaluation.columns.values import By
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

ZONES = {"N": "north", "S": "south", "E": "east"}


def made_up():
    rng = random.Random(11)
    words = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("ab", "eck", "ill", "onk", "ush")]
    for number in range(120):
        speaker = number % 12
        said = rng.choices(words, k=rng.randint(3, 15))
        share = 0.05 + 0.1 * (speaker % 3)
        heard = [word if rng.random() > share else rng.choice(words) for word in said if rng.random() > 0.05]
        heard += rng.choices(words, k=rng.random() < 0.2)
        yield Prediction(
            None, 2.0, None, " ".join(said), " ".join(heard), id=f"u{number}", set="s", language="English",
            speaker=f"spk{speaker:02}", columns={"zone": list(ZONES.values())[speaker % 3]},
        )  # fmt: skip


@pytest.mark.skipif(shutil.which("sctk") is None, reason="needs NIST sclite (apt-get install sctk)")
def test_rates_by_group_agree_with_sclites_label_report(tmp_path):
    predictions = list(made_up())
    label = {name: key for key, name in ZONES.items()}
    stm = [';; CATEGORY "0" "" ""', ';; LABEL "O" "Overall" "Overall"', ';; CATEGORY "1" "Zone" ""']
    stm += [f';; LABEL "{key}" "{name}" "{name}"' for key, name in ZONES.items()]
    ctm = []
    for one in predictions:
        stm.append(f"{one.id} 1 {one.speaker} 0.0 100.0 <O,{label[one.columns['zone']]}> {one.text}")
        ctm += [f"{one.id} 1 {place}.0 0.5 {word}" for place, word in enumerate(one.pred_text.split())]
        ctm += [] if one.pred_text else [f"{one.id} 1 0.0 0.5 @"]
    (tmp_path / "ref.stm").write_text("\n".join([*stm[:6], *sorted(stm[6:])]) + "\n", encoding="utf-8")
    ctm.sort(key=lambda line: (line.split()[0], float(line.split()[2])))
    (tmp_path / "hyp.ctm").write_text("\n".join(ctm) + "\n", encoding="utf-8")
    command = ["sctk", "sclite", "-r", "ref.stm", "stm", "-h", "hyp.ctm", "ctm", "-o", "lur"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    report = (tmp_path / "hyp.ctm.lur").read_text(encoding="utf-8")
    figures = re.findall(r"\[(\d+)\]\s+([\d.]+)", report[report.index("Set Sum/Avg") :].splitlines()[0])
    theirs = dict(zip(["all", *ZONES.values()], ((int(n), float(rate)) for n, rate in figures), strict=True))

    run: ScoredRun = score_predictions(predictions, get_normalizer("none"))
    [column] = ScoredRun(run.normalizer, run.rows, by=By(["zone"])).columns
    ours = {"all": run.overall, **column.groups}
    assert {name: group["num_reference_words"] for name, group in ours.items()} == {n: t[0] for n, t in theirs.items()}
    for name, group in ours.items():
        assert group["wer_percent"] == pytest.approx(theirs[name][1], abs=0.051), name  # theirs has one place
