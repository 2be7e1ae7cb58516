"""Comparing two runs: pairing, what is refused, differences, and the gate's verdict."""

import json
from dataclasses import replace

import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.comparing.compare import compare_runs, comparison_row
from qasr_train.evaluation.comparing.gate import Evidence, judge
from qasr_train.evaluation.report.comparison_tables import comparison_summary
from qasr_train.evaluation.scoring.run_files import load_run, write_scores
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.scoring.significance import Interval, PairedTest
from qasr_train.evaluation.settings import GateConfig
from qasr_train.jobs.compare import compare_one
from qasr_train.jobs.settings.compare import CompareConfig
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction, write_predictions


def _rows(hypotheses, *, set_name="s", role=None, language="English", text="a b c d"):
    return [
        Prediction(
            None, 1.0, 0.1, text, hypothesis, id=f"{set_name}{number}", set=set_name, role=role, language=language
        )
        for number, hypothesis in enumerate(hypotheses)
    ]


def _run(path, predictions, normalizer="none"):
    return replace(score_predictions(predictions, get_normalizer(normalizer)), path=path)


def _test(delta, upper, p_value):
    interval = Interval(delta - 1, delta + 1, 0.95, "utterance", 10, "no speakers are named")
    return PairedTest(10.0, 10.0 + delta, delta, interval, upper, p_value, 1.0, 3.0)


def test_differences_are_of_pooled_rates_on_shared_utterances():
    baseline = _run("base", _rows(["a b c x", "a b c d", "a b c d"]))
    candidate = _run("cand", _rows(["a b c d", "a b x x"]))
    comparison = compare_runs(baseline, candidate)
    # Of 8 shared reference words the baseline has 1 wrong, the candidate 2.
    test = comparison.sets["s"].test
    assert (test.baseline_percent, test.candidate_percent, test.delta_percent) == (12.5, 25.0, 12.5)
    assert (comparison.sets["s"].num_better, comparison.sets["s"].num_worse) == (1, 1)
    assert comparison.warnings == ["1 utterances stand only in base; they are left out"]


def test_chinese_is_compared_by_characters():
    baseline = _run("base", _rows(["今天天气不好"], text="今天天气很好", language="Chinese"))
    candidate = _run("cand", _rows(["今天天气很好"], text="今天天气很好", language="Chinese"))
    group = compare_runs(baseline, candidate).languages["Chinese"]
    assert (group.metric, group.test.baseline_percent) == ("cer", 16.6667)


def test_references_whose_compounds_each_system_joined_are_still_one_reference():
    text = "das haus tür schloss"
    baseline = _run("base", _rows(["das haustürschloss"], text=text, language="German"), "leaderboard-2026-08")
    candidate = _run("cand", _rows(["das haus tür schoss"], text=text, language="German"), "leaderboard-2026-08")
    test = compare_runs(baseline, candidate).sets["s"].test
    assert (test.baseline_percent, test.candidate_percent) == (0.0, 25.0)


def test_a_row_that_failed_under_one_system_is_left_out_of_both():
    failing = _rows(["", "a b c d"])
    failing[0].failed = "no audio"
    comparison = compare_runs(_run("base", _rows(["a b c x", "a b c d"])), _run("cand", failing))
    assert comparison.sets["s"].test.baseline_percent == 0.0
    assert comparison.warnings == [
        "1 shared utterances are not scored in both runs and left out (failed: 0 under the baseline, 1 under the candidate)"
    ]


@pytest.mark.parametrize(
    ("baseline", "candidate", "message"),
    [
        (
            _run("base", _rows(["a"]), "qasr-1"),
            _run("cand", _rows(["a"])),
            "base was scored by qasr-1 and cand by none; give normalizer=",
        ),
        (
            _run("base", _rows(["a"])),
            _run("cand", _rows(["a"], set_name="t")),
            "base and cand have no utterance in common",
        ),
        (
            _run("base", _rows(["a"])),
            _run("cand", _rows(["a"], text="z")),
            "1 of 1 shared utterances have another reference, the first 's0' of set 's': 'a b c d' and 'z'",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(baseline, candidate, message):
    with pytest.raises(DataError, match=message):
        compare_runs(baseline, candidate)


def test_gate_rules_set_by_set():
    tests = {
        "better": _test(-2.0, -1.0, 0.01),
        "maybe": _test(-2.0, 1.0, 0.2),
        "worse": _test(1.0, 2.0, 0.01),
        "kept": _test(1.0, 2.9, 0.2),
        "unsure": _test(2.0, 3.1, 0.2),
        "lost": _test(4.0, 5.0, 0.01),
        "other": _test(9.0, 9.0, 0.01),
        "empty": None,
    }
    roles = dict.fromkeys(["better", "maybe", "worse"], "target") | dict.fromkeys(
        ["kept", "unsure", "lost", "empty"], "guard"
    )
    sets = {name: Evidence(test, {}, 10) for name, test in tests.items()}
    verdict = judge(sets, roles, GateConfig())
    assert {check.set: check.passed for check in verdict.checks} == {
        "better": True, "maybe": False, "worse": False, "kept": True, "unsure": False, "lost": False, "empty": False,
    }  # fmt: skip
    assert verdict.passed is False
    sentences = {check.set: check.sentence for check in verdict.checks}
    assert sentences["maybe"] == "2.00 points better, but that may be chance (p 0.200)"
    assert sentences["unsure"].startswith("cannot be told from a loss beyond the margin")
    assert judge(sets, {"better": "target", "kept": "guard"}, GateConfig()).passed is True
    assert judge(sets, {}, GateConfig()).passed is None


def test_roles_come_from_the_rows_or_the_gate():
    rows = _rows(["a b c x"] * 30, set_name="m", role="target") + _rows(["a b c d"] * 30, set_name="g", role="guard")
    better = _rows(["a b c d"] * 30, set_name="m", role="target") + _rows(["a b c d"] * 30, set_name="g", role="guard")
    baseline, candidate = _run("base", rows), _run("cand", better)
    comparison = compare_runs(baseline, candidate)
    assert comparison.roles == {"g": "guard", "m": "target"}
    assert comparison.verdict.word == "passed"
    swapped = compare_runs(baseline, candidate, GateConfig(target=["g"], guard=[]))
    assert swapped.roles == {"g": "target", "m": None}
    assert swapped.verdict.word == "failed"
    with pytest.raises(ConfigError, match=r"gate\.target: no set 'x' in both runs; there are g, m"):
        compare_runs(baseline, candidate, GateConfig(target=["x"]))


def test_the_job_reads_scored_folders_and_predictions_and_writes_json(tmp_path):
    base, cand = tmp_path / "a", tmp_path / "b"
    write_scores(
        base, score_predictions(_rows(["a b c x"] * 20, role="target", language="German"), get_normalizer("qasr-1"))
    )
    write_predictions(cand / "predictions.jsonl", _rows(["a b c d"] * 20, role="target", language="German"))
    comparison = compare_one(CompareConfig(str(base), str(cand), str(tmp_path / "out")))
    assert comparison.verdict.passed is True
    stored = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert stored == comparison_row(comparison)
    assert stored["sets"]["s"]["test"]["delta_percent"] == -25.0
    assert (stored["verdict"]["word"], stored["normalizer"]) == ("passed", "qasr-1")
    assert "gate: passed" in comparison_summary(comparison, "out")


def test_another_normaliser_scores_both_anew(tmp_path):
    write_predictions(tmp_path / "predictions.jsonl", _rows(["A b c d"]))
    write_scores(tmp_path, score_predictions(_rows(["A b c d"]), get_normalizer("none")))
    assert load_run(tmp_path).rows[0].counts.substitutions == 1
    assert load_run(tmp_path, get_normalizer("qasr-1")).rows[0].counts.substitutions == 0
    (tmp_path / "predictions.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"was scored by none, and has no predictions\.jsonl to score by qasr-1"):
        load_run(tmp_path, get_normalizer("qasr-1"))


def test_damaged_run_folders_are_named(tmp_path):
    (tmp_path / "scores.json").write_text("[]")
    with pytest.raises(DataError, match=r"scores\.json: is not the scores\.json of a run"):
        load_run(tmp_path)
    (tmp_path / "scores.json").write_text('{"normalizer": "none"}')
    (tmp_path / "utterances.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(DataError, match=r"utterances\.jsonl:1: has no `set`; score the run again"):
        load_run(tmp_path)
    with pytest.raises(
        DataError, match="nope: no such file or folder; expected the folder of a run, a predictions.jsonl"
    ):
        load_run(tmp_path / "nope")


def test_a_note_stands_at_the_head_of_the_report(tmp_path):
    from qasr_train.evaluation.report.content import write_comparison_report

    for name, hypotheses in (("a", ["a b c x"]), ("b", ["a b c d"])):
        write_predictions(tmp_path / name / "predictions.jsonl", _rows(hypotheses))
    config = CompareConfig(
        str(tmp_path / "a"),
        str(tmp_path / "b"),
        str(tmp_path / "out"),
        note="Synthetic <voices> only.",
    )
    write_comparison_report(config.out, compare_one(config))
    html = (tmp_path / "out" / "report.html").read_text()
    assert html.index("Synthetic &lt;voices&gt; only.") < html.index("<table")


def test_a_set_of_few_units_is_undecided_and_says_what_would_have_shown():
    before, after = (
        _run("base", _rows(["a b c x"] * 4, role="target")),
        _run("cand", _rows(["a b c d"] * 4, role="target")),
    )
    verdict = compare_runs(before, after).verdict
    assert (verdict.word, verdict.passed, verdict.exit_status) == ("undecided", None, 3)
    assert verdict.checks[0].sentence.startswith("undecided: 4 utterances, gate.min_units=5; with so few only")
    # Four of four better: 2 / 2**4 = 0.125 even where it is judged.
    assert compare_runs(before, after, GateConfig(min_units=2)).verdict.exit_status == 1
    enough = [_run(name, _rows([text] * 7, role="target")) for name, text in (("base", "a b c x"), ("cand", "a b c d"))]
    assert compare_runs(*enough).verdict.exit_status == 0
