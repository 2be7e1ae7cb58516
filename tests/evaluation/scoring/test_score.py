"""Scores: pooled counts by hand, what is left out and why, other ways to go wrong, and the files written."""

import json

import jiwer
import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.report.tables import score_summary
from qasr_train.evaluation.scoring.alignment import score_utterances
from qasr_train.evaluation.scoring.run_files import scores_row, write_scores
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.scoring.significance import interval_text
from qasr_train.jobs.score import score_saved
from qasr_train.jobs.settings.score import ScoreConfig
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction, write_predictions
from tests.helpers import SHARED, needs_shared


def _prediction(text, pred_text, **fields):
    defaults = {"language": "English", "set": "s", "id": f"u{_prediction.count}", "duration_s": 2.0, "time_s": 0.5}
    _prediction.count += 1
    values = defaults | fields
    return Prediction(None, values.pop("duration_s"), values.pop("time_s"), text, pred_text, **values)


_prediction.count = 0


def test_counts_are_pooled_over_the_set_not_averaged():
    scores = score_predictions(
        [_prediction("a cat", "dog"), _prediction("one big red ball there", "one big red ball there")],
        get_normalizer("none"),
    )
    group = scores.sets["s"]
    # "a cat" -> "dog": one substitution, one deletion of 7 reference words in all: 28.57 %, not the mean of 100 % and 0 %.
    assert (group["substitutions"], group["deletions"], group["insertions"], group["num_reference_words"]) == (
        1,
        1,
        0,
        7,
    )
    assert group["wer_percent"] == 28.57
    assert group["rtfx"] == 4.0


def test_macro_average_is_of_the_rounded_figures():
    # 1/3 -> 33.33, 1/7 -> 14.29: their mean is 23.81, while the unrounded mean is 23.8095.
    rows = [_prediction("a b c", "a b x", set="one"), _prediction("a b c d e f g", "a b c d e f x", set="two")]
    scores = score_predictions(rows, get_normalizer("none"))
    assert scores.macro_wer_percent == 23.81
    assert scores.overall["wer_percent"] == 20.0


def test_cer_counts_no_spaces_in_languages_without_them():
    rows = [
        _prediction("今天 天气", "今天天汽", language="Chinese", set="zh"),
        _prediction("a b", "ab", set="en"),
    ]
    scores = score_predictions(rows, get_normalizer("qasr-1"))
    chinese, english = scores.languages["Chinese"], scores.languages["English"]
    assert (chinese["num_character_errors"], chinese["num_reference_characters"], chinese.primary_metric) == (
        1,
        4,
        "cer",
    )
    assert (english["num_character_errors"], english["num_reference_characters"], english.primary_metric) == (
        1,
        3,
        "wer",
    )
    assert chinese.primary_percent == 25.0
    # English: "a b" to "ab" is 1 substitution and 1 deletion of 2 words: WER 100; mean over languages of CER 25 and WER 100.
    assert scores.macro_primary_percent == 62.5


def test_leaderboard_merges_compounds_and_ours_does_not():
    row = _prediction("the white paper", "the whitepaper")
    assert score_predictions([row], get_normalizer("leaderboard-2026-08")).overall["wer_percent"] == 0.0
    assert score_predictions([row], get_normalizer("qasr-1")).overall["wer_percent"] == 66.67


def test_leaderboard_leaves_out_empty_references_and_keeps_their_rows():
    scores = score_predictions(
        [_prediction("Uh, um.", "the"), _prediction("one", "one")], get_normalizer("leaderboard-2026-08")
    )
    assert scores.overall["insertions"] == 0
    assert scores.overall["not_scored"] == {"reference is empty or ignored": 1}
    dropped = scores.rows[0]
    assert (dropped.is_scored, dropped.counts.insertions, dropped.counts.num_reference_words) == (False, 1, 0)


def test_ours_counts_insertions_against_an_empty_reference():
    scores = score_predictions(
        [_prediction("", "the end"), _prediction("red dog", "red dog")], get_normalizer("qasr-1")
    )
    assert (scores.overall["insertions"], scores.overall["wer_percent"]) == (2, 100.0)
    assert (
        scores.overall["num_nonspeech"],
        scores.overall["hallucination_percent"],
        scores.overall["num_nonspeech_words"],
    ) == (
        1,
        100.0,
        2,
    )


def test_no_reference_words_gives_no_rate_and_says_why():
    group = score_predictions([_prediction("", "the")], get_normalizer("none")).overall
    assert group["wer_percent"] is None
    assert group["undefined_because"] == "no reference words (the leaderboard's scorer says inf)"
    assert group["interval"] is None


def test_failed_rows_and_rows_without_reference_are_left_out_by_reason():
    rows = [
        _prediction("a b", "", failed="not audio", time_s=None),
        _prediction(None, "x"),
        _prediction("a b", "a b"),
    ]
    scores = score_predictions(rows, get_normalizer("none"))
    assert scores.overall["not_scored"] == {"failed": 1, "no reference": 1}
    assert (scores.overall["wer_percent"], scores.overall["num_failed"], scores.overall["rtfx"]) == (0.0, 1, 4.0)
    assert scores.warnings == [f"1 of 3 rows failed; the first is {rows[0].id!r}: not audio"]
    assert score_predictions(rows, get_normalizer("none"), failed_as_empty=True).overall["wer_percent"] == 50.0


def test_language_accuracy_empty_output_loops_and_truncation():
    rows = [
        _prediction("hello there", "", predicted_language="English"),
        _prediction(
            "hello there", "so it goes on " * 3 + "so it goes on", predicted_language="German", is_truncated=True
        ),
        _prediction("go go go go go go go go", "go go go go go go go go"),  # the speaker did say it eight times
        _prediction("no way", "no no no no no no no"),  # seven times: too few
    ]
    group = score_predictions(rows, get_normalizer("none")).overall
    assert (group["num_with_predicted_language"], group["language_accuracy_percent"]) == (2, 50.0)
    assert (group["empty_output_percent"], group["loop_percent"], group["num_truncated"]) == (25.0, 25.0, 1)


def test_rtfx_needs_times_of_all_rows_that_did_not_fail():
    rows = [_prediction("a", "a"), _prediction("b", "b", time_s=None)]
    assert score_predictions(rows, get_normalizer("none")).overall["rtfx"] is None


def test_roles_and_set_languages_are_scored_apart():
    rows = [
        _prediction("a", "a", role="target", set="m"),
        _prediction("a", "x", role="guard", set="g"),
        _prediction("a", "x", role="guard", set="g", language="German"),
    ]
    scores = score_predictions(rows, get_normalizer("none"))
    assert {role: group["wer_percent"] for role, group in scores.roles.items()} == {"target": 0.0, "guard": 100.0}
    assert list(scores.set_languages) == [("g", "English"), ("g", "German"), ("m", "English")]


def test_totals_equal_jiwers_without_merging():
    texts = [("the cat sat on the mat", "the cat sit on mat today"), ("a b c", "c b a a"), ("one", "two three")]
    group = score_predictions([_prediction(*pair) for pair in texts], get_normalizer("none")).overall
    output = jiwer.process_words([text for text, _ in texts], [text for _, text in texts])
    assert (
        group["substitutions"] + group["deletions"] + group["insertions"]
        == output.substitutions + output.deletions + output.insertions
    )
    characters = jiwer.process_characters([text for text, _ in texts], [text for _, text in texts])
    assert group["num_character_errors"] == characters.substitutions + characters.deletions + characters.insertions


@needs_shared
def test_the_leaderboards_example_of_chunked_manifests(tmp_path):
    example = json.loads((SHARED / "scoring" / "leaderboard_manifest_example.json").read_text(encoding="utf-8"))
    name, other = (key.split(" | ")[1] for key in example["result"])
    lines = [json.dumps({"audio_filepath": "x", **chunk}) for chunk in example["chunks"]]
    (tmp_path / f"MODEL_org-model-x_DATASET_{name}.jsonl").write_text("\n".join(lines))
    clean = {"audio_filepath": "a", "duration": 4.0, "time": 0.04, "text": "yes", "pred_text": "Yes."}
    (tmp_path / f"MODEL_org-model-x_DATASET_{other}.jsonl").write_text(json.dumps(clean))
    scores = score_saved(ScoreConfig(str(tmp_path), str(tmp_path / "out"), "leaderboard-2026-08"))
    expected = example["result"][f"org/model-x | {name}"]
    group = scores.sets[name]
    assert (group["wer_percent"], group["rtfx"]) == (expected["wer"], expected["rtfx"])
    assert (group["insertions"], group["deletions"], group["substitutions"]) == (
        expected["ins"],
        expected["del"],
        expected["sub"],
    )
    assert scores.macro_wer_percent == pytest.approx(example["composite_wer"], abs=0.005)  # printed to two places
    rows = [row.counts[:2] for row in scores.rows if row.prediction.set == name]
    assert rows == [tuple(pair) for pair in example["normalised"]]


def test_files_hold_what_the_contract_names(tmp_path):
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, [_prediction("one </script>", "won </script>", id="u1", speaker="x")])
    out = tmp_path / "out"
    score_saved(ScoreConfig(str(path), str(out), "none"))
    stored = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    (cell,) = stored["set_languages"]
    for name in ("set", "language", "wer_percent", "cer_percent", "substitutions", "deletions", "insertions",
                 "num_reference_words", "num_utterances", "interval", "rtfx", "normalizer", "versions"):  # fmt: skip
        assert name in cell, name
    assert cell["interval"]["unit"] == "utterance"
    assert stored["versions"]["kaldialign"]
    (row,) = [json.loads(line) for line in (out / "utterances.jsonl").read_text(encoding="utf-8").splitlines()]
    wanted = {
        "id": "u1", "set": "s", "language": "English", "reference": "one </script>", "hypothesis": "won </script>",
        "normalized_reference": "one </script>", "normalized_hypothesis": "won </script>", "substitutions": 1,
        "deletions": 0, "insertions": 0, "num_reference_words": 2, "num_character_errors": 2, "is_scored": True,
    }  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted


def test_means_have_an_interval_in_scores_and_table(tmp_path):
    rows = [
        _prediction("a b c d", ("a b c d", "a b c x")[n % 2], id=str(n), set=name, language=language)
        for name, language in (("s", "English"), ("t", "German"))
        for n in range(10)
    ]
    run = score_predictions(rows, get_normalizer("none"))
    interval = run.macro_wer_interval
    assert interval.low_percent < run.macro_wer_percent == 12.5 < interval.high_percent
    stored = scores_row(run)
    assert stored["macro_wer_interval"]["high_percent"] == interval.high_percent
    assert stored["macro_primary_interval"] == stored["macro_wer_interval"]  # a set a language
    text = f"12.50  {interval_text(interval)}"
    lines = [line for line in score_summary(run, "out").splitlines() if line.startswith("mean over")]
    assert len(lines) == 2 and all(" ".join(text.split()) in " ".join(line.split()) for line in lines)
    nothing = score_predictions([_prediction("", "a")], get_normalizer("none"))
    assert nothing.macro_wer_interval is None and scores_row(nothing)["macro_wer_interval"] is None


def test_processes_give_the_same_scores_in_the_same_order():
    rows = [_prediction(f"number {number} of these", f"number {number % 7} of") for number in range(4500)]
    alone = score_utterances(rows, get_normalizer("qasr-1"))
    assert score_utterances(rows, get_normalizer("qasr-1"), num_workers=2) == alone
    assert [row.prediction.id for row in alone] == [row.id for row in rows]


def test_a_hypothesis_of_ten_thousand_words_is_scored():
    group = score_predictions(
        [_prediction("a short one", "and so on " * 3334)], get_normalizer("leaderboard-2026-08")
    ).overall
    assert group["insertions"] > 9_990
    assert group["loop_percent"] == 100.0


def test_mistakes_are_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="normalizer=whisper: unknown"):
        ScoreConfig("p", "o", "whisper")
    with pytest.raises(DataError, match="no predictions to score"):
        score_predictions([], get_normalizer("none"))
    blocked = tmp_path / "file"
    blocked.write_text("")
    scores = score_predictions([_prediction("a", "a")], get_normalizer("none"))
    with pytest.raises(ConfigError, match=r"out=.*file: cannot be written \(.*\); choose another directory"):
        write_scores(blocked, scores)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_scores_json_has_no_nan_or_infinity():
    scores = score_predictions([_prediction("", "the")], get_normalizer("leaderboard-2026-08"))
    assert json.dumps(scores_row(scores), allow_nan=False)
