"""MER against jiwer on tokens cut by a regular expression, and errors by script and at switches worked out by hand."""

import random
import re

import jiwer
import pytest

from qasr_train.errors import DataError
from qasr_train.evaluation.comparing.compare import compare_runs
from qasr_train.evaluation.mixed.counts import count_mixed, script_shares
from qasr_train.evaluation.report.content import comparison_report, scores_report
from qasr_train.evaluation.scoring.run_files import load_run, scores_row, write_scores
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.evaluation.scoring.utterance import MixedErrors
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.tokens import mixed_tokens, script_of_token
from qasr_train.transcription.predictions import Prediction

NONE = get_normalizer("none")
TOKEN = re.compile(r"[\u4e00-\u9fff\u3040-\u30ff\uac00-\ud7a3]|[^\s\u4e00-\u9fff\u3040-\u30ff\uac00-\ud7a3]+")


def _run(*pairs, set_="s", normalizer=NONE):
    rows = [
        Prediction(None, None, None, *pair, id=f"{set_}{n}", set=set_, language="Chinese", speaker=f"p{n % 6}")
        for n, pair in enumerate(pairs)
    ]
    run = score_predictions(rows, normalizer)
    return ScoredRun(run.normalizer, count_mixed(run.rows))


def _one(reference, hypothesis):
    return _run((reference, hypothesis)).rows[0].mixed


@pytest.mark.parametrize(
    ("text", "tokens", "scripts"),
    [
        ("打开 wifi然后", ["打", "开", "wifi", "然", "后"], ["CJK", "CJK", "LATIN", "CJK", "CJK"]),
        ("我 5g 用 25 吧", ["我", "5g", "用", "25", "吧"], ["CJK", "LATIN", "CJK", "none", "CJK"]),
        ("カメラis ok 네", ["カ", "メ", "ラ", "is", "ok", "네"], ["CJK"] * 3 + ["LATIN"] * 2 + ["HANGUL"]),
        ("मैं office जा", ["मैं", "office", "जा"], ["DEVANAGARI", "LATIN", "DEVANAGARI"]),
        ("ดี hello", ["ด", "ี", "hello"], ["THAI", "THAI", "LATIN"]),
        ("", [], []),
    ],
)
def test_tokens_are_characters_of_one_script_and_words_of_the_other(text, tokens, scripts):
    assert mixed_tokens(text) == tokens
    assert [script_of_token(token) for token in tokens] == scripts


def test_mer_equals_jiwer_on_tokens_cut_by_an_expression():
    rng = random.Random(5)
    words = ["打开", "wifi", "然后", "restart", "一下", "ok", "カメラ", "네", "the", "会议", "5g", "12"]
    pairs = [("打开 wifi", "打开 wifi")]
    for _ in range(200):
        said = rng.choices(words, k=rng.randint(1, 9))
        heard = [rng.choice(words) if rng.random() < 0.2 else word for word in said if rng.random() > 0.1]
        join = rng.choice(["", " "])
        pairs.append((" ".join(said), join.join(heard)))
    theirs = jiwer.process_words(*([" ".join(TOKEN.findall(pair[side])) for pair in pairs] for side in (0, 1)))
    overall = _run(*pairs).overall
    assert overall["mer_percent"] == round(100 * theirs.wer, 2)
    assert overall["num_mixed_tokens"] == theirs.hits + theirs.substitutions + theirs.deletions
    interval = overall["mer_interval"]
    assert interval.low_percent < overall["mer_percent"] < interval.high_percent and interval.num_units == 6


def test_errors_by_script_and_at_switches():
    # 我 们 | meeting | 几 点 start: switches 们-meeting, meeting-几, 点-start.
    assert _one("我们 meeting 几点 start", "我们 meeting 几点 start") == MixedErrors(
        {"CJK": (4, 0), "LATIN": (2, 0)}, 3, 5, 0
    )
    wrong = _one(
        "我们 meeting 几点 start", "你们 meetings 几 started"
    )  # 我>你, meeting>meetings, 点 gone, start>started
    assert wrong == MixedErrors({"CJK": (4, 2), "LATIN": (2, 2)}, 3, 5, 3)
    assert (wrong.num_tokens, wrong.num_errors) == (6, 4)


def test_an_insertion_is_of_its_own_script_and_at_a_switch_only_between_the_two():
    assert _one("我们 meeting", "我们 the meeting") == MixedErrors({"CJK": (2, 0), "LATIN": (1, 1)}, 1, 2, 1)
    assert _one("我们 meeting", "我们 meeting now") == MixedErrors({"CJK": (2, 0), "LATIN": (1, 1)}, 1, 2, 0)
    assert _one("我 25 ok", "我 26 new ok") == MixedErrors({"CJK": (1, 0), "LATIN": (1, 1), "none": (1, 1)}, 1, 2, 1)


def test_utterances_of_one_language_count_as_well_and_make_no_switch():
    run = _run(("会议 ok", "会议 ok"), ("会议", "会"))
    assert run.overall["mer_percent"] == 20 and run.overall["num_switches"] == 1
    assert [(one.script, one.num_tokens, one.num_errors) for one in script_shares(run.rows)] == [
        ("CJK", 4, 1),
        ("LATIN", 1, 0),
    ]
    assert run.overall["switch_error_percent"] == 0 and run.overall["other_error_percent"] == 33.33


def test_a_comparison_has_the_paired_change_of_mer(tmp_path):
    said = ["我们 meeting 几点", "打开 wifi", "会议 ok 吧", "好 start", "看 email 了", "我 call 你"]
    worse, better = (
        _run(*((text, heard(text)) for text in said)) for heard in (lambda text: text[1:], lambda text: text)
    )
    comparison = compare_runs(worse, better)
    changes = {(one.set, one.rate): one.test for one in comparison.terms}
    num_tokens = worse.overall["num_mixed_tokens"]
    assert (
        changes["s", "MER"].baseline_percent
        == round(100 * len(said) / num_tokens, 4)
        == -changes["s", "MER"].delta_percent
    )
    assert changes["s", "MER"].interval.num_units == 6 and ("s", "errors at switches") in changes
    [table] = [one for one in comparison_report(comparison).tables if one.title == "Mixed languages: gain and loss"]
    assert [row[0] for row in table.rows] == ["MER", "errors at switches", "errors elsewhere"]


def test_sets_without_a_second_script_are_refused():
    rows = score_predictions([Prediction(None, None, None, "hallo the meeting", "x", id="1", set="s")], NONE).rows
    with pytest.raises(DataError, match="^mixed=true: no reference holds letters of two scripts"):
        count_mixed(rows)


def test_figures_are_written_read_and_reported(tmp_path):
    run = _run(("我们 meeting 几点", "我们 meeting 几"), ("ok", "ok"))
    write_scores(tmp_path, run)
    read = load_run(tmp_path)
    assert [row.mixed for row in read.rows] == [row.mixed for row in run.rows]
    overall = scores_row(read)["overall"]
    assert (overall["mer_percent"], overall["num_switches"], overall["switch_error_percent"]) == (16.67, 2, 0.0)
    tables = {table.title: table for table in scores_report(read).tables}
    assert [row[:3] for row in tables["Mixed languages"].rows] == [["s", "6", "16.67"]]
    assert tables["Errors by script"].rows == [
        ["Chinese characters, kana", "4", "66.67", "1", "100.00", "25.00"],
        ["Latin", "2", "33.33", "0", "0.00", "0.00"],
    ]


def test_without_being_asked_for_there_are_no_such_figures():
    run = score_predictions(
        [Prediction(None, None, None, "会议 ok", "会议", id="1", set="s", language="Chinese")], NONE
    )
    assert not any("mer" in name or "switch" in name for name in scores_row(run)["overall"])
    assert "Mixed languages" not in {table.title for table in scores_report(run).tables}
