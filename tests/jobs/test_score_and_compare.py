"""recipes/score.py and recipes/compare.py as a person runs them: files, printed table, exit status."""

import json
from subprocess import CompletedProcess

from qasr_train.transcription.predictions import Prediction, write_predictions
from tests.helpers import ROOT
from tests.helpers_copies import start_script


def _run(recipe, *overrides):
    copy = start_script(ROOT / "recipes" / f"{recipe}.py", overrides, cwd=ROOT)
    stdout, stderr = copy.communicate(timeout=120)
    return CompletedProcess(recipe, copy.wait(), stdout, stderr)


def _predictions(path, hypothesis):
    rows = [Prediction(None, 2.0, 0.1, "ein roter hund", hypothesis, id=str(number), set="m", language="German", role="target")
            for number in range(20)]  # fmt: skip
    write_predictions(path / "predictions.jsonl", rows)
    return path


def test_score_then_compare_with_the_gates_exit_status(tmp_path):
    before, after = (
        _predictions(tmp_path / "before", "ein rotes hund"),
        _predictions(tmp_path / "a b", "Ein roter Hund."),
    )
    done = _run("score", f"predictions={after}", "normalizer=qasr-2", f"out='{after}'")
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.00 *" in done.stdout
    written = {path.name for path in after.iterdir()}
    assert written == {"predictions.jsonl", "scores.json", "utterances.jsonl", "report.md", "report.html"}
    better = _run("compare", f"baseline={before}", f"candidate={after}", f"out={tmp_path / 'gain'}")
    assert (better.returncode, better.stderr) == (0, "")
    assert "gate: passed" in better.stdout
    worse = _run("compare", f"baseline={after}", f"candidate={before}", f"out={tmp_path / 'loss'}")
    assert worse.returncode == 1
    assert (
        json.loads((tmp_path / "loss" / "comparison.json").read_text(encoding="utf-8"))["verdict"]["word"] == "failed"
    )
    assert {path.name for path in (tmp_path / "loss").iterdir()} == {"comparison.json", "report.md", "report.html"}


def test_a_mistake_is_one_line_and_status_two(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"text": "a"}\n')
    done = _run("score", f"predictions={tmp_path / 'p.jsonl'}", f"out={tmp_path / 'out'}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "p.jsonl:1: has no `pred_text`" in line
    assert not (tmp_path / "out").exists()
