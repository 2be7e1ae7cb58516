"""When words of a stream came to stand, worked out by hand."""

from typing import Any

import pytest

from qasr_train.evaluation.latency import figures
from qasr_train.evaluation.latency.figures import Estimate
from qasr_train.evaluation.latency.tables import stream_tables
from qasr_train.evaluation.latency.words import StreamedWords, streamed_words
from qasr_train.evaluation.report.tables import text_tables
from qasr_train.evaluation.scoring.run_files import scores_row
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.pages.table import ABSENT
from qasr_train.streaming.shown import Shown, Streamed
from qasr_train.text.normalize import Normalizer, get_normalizer
from qasr_train.timed.base import TimedWord
from qasr_train.transcription.predictions import Prediction

NORMALIZER = get_normalizer("qasr-2")
COLOURS = "red green blue black"
ENDS_S = [1.0, 2.0, 3.0, 4.0]
GROWING = [(2.0, "Red grin."), (4.0, "Red, green blue!"), (6.0, COLOURS), (6.5, COLOURS)]


def heard(updates: list[tuple[float, str]], ends_s: list[float] | None = None, **fields: Any) -> Prediction:
    """A prediction of the colours; each word takes half a second."""
    words = [
        TimedWord(word, end_s - 0.5, end_s)
        for word, end_s in zip(fields.get("text", COLOURS).split(), ends_s or [], strict=False)
    ]
    shown = tuple(Shown(heard_s, text, 0) for heard_s, text in updates)
    defaults: dict[str, Any] = {"id": "u1", "set": "a", "language": "English", "text": COLOURS, "time_s": 1.3}
    return Prediction(
        **{"audio_filepath": None, "duration_s": 6.5, "pred_text": updates[-1][1]} | defaults | fields,
        streamed=Streamed(shown, tuple(words)),
    )


def scored(*predictions: Prediction) -> ScoredRun:
    return score_predictions(predictions, NORMALIZER)


def test_a_word_stands_from_when_it_changes_no_more() -> None:
    """ "grin" gave way to "green" at 4 s; "red" stood at 2 s, "blue" at 4, "black" at 6. Of 5 words shown one went again."""
    words = streamed_words(scored(heard(GROWING, ENDS_S)).rows[0], NORMALIZER)
    assert words is not None
    assert words.delays_s == (2.0 - 1.0, 4.0 - 2.0, 4.0 - 3.0, 6.0 - 4.0)
    assert (words.first_delay_s, words.num_shown, words.num_changed) == (1.0, 5, 1)


def test_a_word_put_in_front_moves_the_others_and_changes_none() -> None:
    updates = [(2.0, "green blue"), (4.0, "red green blue"), (6.0, COLOURS)]
    words = streamed_words(scored(heard(updates, ENDS_S)).rows[0], NORMALIZER)
    assert words is not None and words.delays_s == (3.0, 0.0, -1.0, 2.0) and words.num_changed == 0


def test_a_word_that_goes_and_comes_again_stands_from_when_it_came() -> None:
    updates = [(2.0, "red"), (4.0, "read green"), (6.0, "red green"), (7.0, "red green")]
    words = streamed_words(scored(heard(updates, ENDS_S)).rows[0], NORMALIZER)
    assert words is not None and words.delays_s == (5.0, 2.0)
    assert (words.num_shown, words.num_changed) == (4, 2)  # red, read, green, red


def test_words_that_were_not_recognised_have_no_delay_and_their_errors_are_counted_elsewhere() -> None:
    words = streamed_words(scored(heard([(5.0, "red grin blue"), (6.0, "red grin blue")], ENDS_S)).rows[0], NORMALIZER)
    assert words is not None and words.delays_s == (4.0, 2.0)


def test_the_characters_of_a_word_share_its_time_where_characters_are_counted() -> None:
    prediction = heard([(2.0, "你好"), (4.0, "你好吗")], text="你好 吗", language="Chinese", pred_text="你好吗")
    prediction.streamed = Streamed(
        prediction.streamed.updates, (TimedWord("你好", 1.0, 1.5), TimedWord("吗", 1.5, 2.0))
    )  # type: ignore[union-attr]
    words = streamed_words(scored(prediction).rows[0], NORMALIZER)
    assert words is not None and words.delays_s == (2.0 - 1.25, 2.0 - 1.5, 4.0 - 2.0)


def test_without_times_only_changes_are_known() -> None:
    run = scored(heard(GROWING))
    scores = run.streaming
    assert scores is not None
    [score] = scores.sets.values()
    assert score.first_word_delay_s is score.mean_delay_s is score.p95_delay_s is None
    assert score.changed_percent == Estimate(20.0, None, None) and score.num_words == 0
    [table] = stream_tables(run)
    assert table.rows == [["a", *[ABSENT] * 6, "20.00", ABSENT, "0", "0.20"]]


def test_recordings_that_failed_and_those_heard_whole_are_left_out() -> None:
    failed = heard(GROWING, ENDS_S, failed="no sound", pred_text="")
    whole = Prediction(None, 1.0, 1.0, COLOURS, COLOURS, id="u2", set="a", language="English")
    run = scored(failed, whole)
    assert run.streaming is None and stream_tables(run) == [] and "streaming" not in scores_row(run)


def test_figures_pool_words_and_intervals_draw_utterances() -> None:
    """Delays of 1, 2, 1, 2 s and of 3, 4, 3, 4 s: drawn twice of two, they mean 1.5, 2.5 or 3.5 s (1, 2, 1 of 4)."""
    late = heard([(at + 2.0, text) for at, text in GROWING], ENDS_S, id="u2", time_s=5.2)
    scores = (run := scored(heard(GROWING, ENDS_S), late)).streaming
    assert scores is not None and scores.overall == scores.sets["a"]
    score = scores.overall
    assert score.mean_delay_s == Estimate(2.5, 1.5, 3.5)
    assert score.p95_delay_s == Estimate(4.0, 2.0, 4.0)  # 8 words: the least up to which lie 7.6 of them
    assert score.first_word_delay_s == Estimate(2.0, 1.0, 3.0)
    assert score.changed_percent == Estimate(20.0, 20.0, 20.0)
    assert score.compute_s_per_s == pytest.approx((1.3 + 5.2) / 13.0)
    assert scores_row(run)["streaming"]["sets"]["a"]["mean_delay_s"] == {"value": 2.5, "low": 1.5, "high": 3.5}


def test_figures_are_made_once_for_all_who_show_them(monkeypatch: pytest.MonkeyPatch) -> None:
    run, asked = scored(heard(GROWING, ENDS_S)), list[int]()

    def counted(row: UtteranceScore, normalizer: Normalizer) -> StreamedWords | None:
        asked.append(1)
        return streamed_words(row, normalizer)

    monkeypatch.setattr(figures, "streamed_words", counted)
    scores_row(run), stream_tables(run), text_tables(run)
    assert asked == [1]
