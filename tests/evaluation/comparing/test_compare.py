"""Comparing two runs: pairing, what is refused, differences, and the gate's verdict."""

import json
from dataclasses import replace

import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.comparing.compare import compare_runs, comparison_row
from qasr_train.evaluation.comparing.gate import Evidence, judge
from qasr_train.evaluation.comparing.paired import PairedTest
from qasr_train.evaluation.report.comparison_tables import comparison_summary
from qasr_train.evaluation.report.content import comparison_report, scores_report
from qasr_train.evaluation.report.document import render_markdown
from qasr_train.evaluation.scoring.run_files import load_run, scores_row, write_scores
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.scoring.significance import Interval
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
    return PairedTest(10.0, 10.0 + delta, delta, interval, upper, p_value, 1.0, 3.0, 7)


def test_differences_are_of_pooled_rates_on_shared_utterances():
    baseline = _run("base", _rows(["a b c x", "a b c d", "a b c d"]))
    candidate = _run("cand", _rows(["a b c d", "a b x x"]))
    comparison = compare_runs(baseline, candidate)
    # Of 8 shared reference words the baseline has 1 wrong, the candidate 2.
    test = comparison.sets["s"].test
    assert (test.baseline_percent, test.candidate_percent, test.delta_percent) == (12.5, 25.0, 12.5)
    assert (comparison.sets["s"].num_better, comparison.sets["s"].num_worse) == (1, 1)
    assert comparison.warnings == ["1 utterances stand only in base; they are left out"]


def test_runs_by_other_prompts_are_told_apart_in_scores_comparison_and_report(tmp_path):
    rows = _rows(["a b c x", "a b c d"])
    own, served = _run("base", rows), _run("cand", [replace(row, prompt="served") for row in rows])
    said = "the baseline was transcribed with decode.prompt=own, the candidate with decode.prompt=served"
    [warning] = compare_runs(own, served).warnings
    assert warning.startswith(said) and "evaluate both with the same one" in warning
    assert compare_runs(served, served).warnings == compare_runs(own, own).warnings == []
    write_scores(tmp_path / "served", served)
    assert json.loads((tmp_path / "served" / "scores.json").read_text())["prompts"] == ["served"]
    assert "prompts" not in scores_row(own)  # a run by the systems' own prompts says what it always said
    read = load_run(tmp_path / "served")
    assert read.prompts == ["served"]
    assert compare_runs(own, read).warnings == [warning]
    assert warning.split(":")[0] in render_markdown(comparison_report(compare_runs(own, read))).replace("\\", "")
    shown = render_markdown(scores_report(read))
    assert (
        "Prompts: served" in shown and "a system turn only where a row has a context, as vllm serve sends it" in shown
    )
    assert "Prompts:" not in render_markdown(scores_report(own))


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
    assert sentences["maybe"] == (
        "2.00 points better, but that may be chance (two-sided p 0.200); some 7 utterances more like these would decide"
    )
    # One point of room with a standard error of 1 from 10 units: scipy's noncentral t says 64 in all (tests of more_units).
    assert sentences["unsure"] == (
        "cannot be told from a loss beyond the margin (+2.00 points, one-sided 95 % bound +3.10; allowed +3.00); "
        "some 54 utterances more like these would decide"
    )
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
        base, score_predictions(_rows(["a b c x"] * 20, role="target", language="German"), get_normalizer("qasr-2"))
    )
    write_predictions(cand / "predictions.jsonl", _rows(["a b c d"] * 20, role="target", language="German"))
    comparison = compare_one(CompareConfig(str(base), str(cand), str(tmp_path / "out")))
    assert comparison.verdict.passed is True
    stored = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert stored == comparison_row(comparison)
    assert stored["sets"]["s"]["test"]["delta_percent"] == -25.0
    assert (stored["verdict"]["word"], stored["normalizer"]) == ("passed", "qasr-2")
    assert "gate: passed" in comparison_summary(comparison, "out")


def test_another_normaliser_scores_both_anew(tmp_path):
    write_predictions(tmp_path / "predictions.jsonl", _rows(["A b c d"]))
    write_scores(tmp_path, score_predictions(_rows(["A b c d"]), get_normalizer("none")))
    assert load_run(tmp_path).rows[0].counts.substitutions == 1
    assert load_run(tmp_path, get_normalizer("qasr-1")).rows[0].counts.substitutions == 0
    (tmp_path / "predictions.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"was scored by none, and has no predictions\.jsonl to score by qasr-1"):
        load_run(tmp_path, get_normalizer("qasr-1"))


def test_a_run_without_scores_is_scored_by_the_rules_of_its_record(tmp_path):
    write_predictions(tmp_path / "predictions.jsonl", _rows(["A b c d"]))
    assert load_run(tmp_path).normalizer.name == "qasr-2"
    (tmp_path / "run.json").write_text('{"config": {"suite": {"normalizer": "qasr-1"}}}')
    assert load_run(tmp_path).normalizer.name == "qasr-1"


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
    # All differ alike: the test of signs needs 2 / 2**n < 0.05, six utterances.
    assert verdict.checks[0].sentence == (
        "undecided: 4 utterances, gate.min_units=5; so few show no difference, however large; "
        "some 2 utterances more like these would decide"
    )
    # Four of four better: 2 / 2**4 = 0.125 even where it is judged.
    assert compare_runs(before, after, GateConfig(min_units=2)).verdict.exit_status == 1
    enough = [_run(name, _rows([text] * 7, role="target")) for name, text in (("base", "a b c x"), ("cand", "a b c d"))]
    assert compare_runs(*enough).verdict.exit_status == 0


def test_what_would_decide_stands_in_table_report_and_json():
    # Of 9 utterances of 4 words five get better by one word, two worse: -3 / 36 words.
    before = _run("base", _rows(["a b c x"] * 5 + ["a b c d"] * 4, role="target"))
    after = _run("cand", _rows(["a b c d"] * 5 + ["a b c d"] * 2 + ["a b c x"] * 2, role="target"))
    comparison = compare_runs(before, after)
    test = comparison.sets["s"].test
    # Differences -1 x5, 0 x2, 1 x2 of 4 words: mean -1/3, sample deviation 0.866, so a change of -8.333 points with a standard
    # error of 100 * 0.866 / 3 / 4 = 7.217. scipy: t(8) is 2.306 at 97.5 % and 0.889 at 80 %, so 23.06 points are detectable; the
    # noncentral t reaches a power of 80 % with 55 units, 46 more.
    assert test.error_points == pytest.approx(7.217, abs=1e-3)
    assert test.detectable_points == pytest.approx(23.06, abs=0.01)
    assert test.num_more_units == 46
    row = comparison_row(comparison)["sets"]["s"]["test"]
    assert (row["detectable_points"], row["num_more_units"]) == (test.detectable_points, 46)
    text = comparison_summary(comparison, "out")
    headers, cells = text.splitlines()[:2]
    assert headers.split()[-4:] == ["MDE", "more", "units", "better/worse"] and "two-sided interval" in headers
    assert cells.split()[-5:] == ["9", "utterances", "23.06", "46", "5/2"]
    assert "some 46 utterances more like these would decide" in text
    page = render_markdown(comparison_report(comparison))
    assert (
        "A target is decided by the p of its row, a guard by the one-sided bound" in page and "| 23.06 | 46 |" in page
    )


def test_a_set_that_can_show_nothing_says_so_in_the_table():
    rows = [_rows([text] * 3) for text in ("a b c x", "a b c d")]
    comparison = compare_runs(_run("base", rows[0]), _run("cand", rows[1]))
    assert comparison.sets["s"].test.detectable_points is None
    assert comparison_summary(comparison, "out").splitlines()[1].split()[-4:] == ["utterances", "none", "3", "3/0"]


def test_a_small_guard_says_how_many_more_would_decide_and_a_lost_one_that_none_would():
    def sentence(worse):
        before, after = _rows(["a b c d"] * 3, role="guard"), _rows(["a b c d"] * 3, role="guard")
        after[0].pred_text = worse
        return compare_runs(_run("base", before), _run("cand", after)).verdict.checks[0].sentence

    assert sentence("a b c x").endswith(
        "so few show no difference, however large; at least 2 utterances more are needed"
    )
    assert sentence("a b c d").endswith("some 2 utterances more like these would decide")
