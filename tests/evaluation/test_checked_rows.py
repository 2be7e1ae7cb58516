"""A manifest beside what a model heard: each row's own error rate, the verdict of the limits, the order."""

from dataclasses import replace

from qasr_train.evaluation.checked_rows import CheckedRow, check_rows, rank
from qasr_train.evaluation.scoring.alignment import score_utterances
from qasr_train.manifest import Utterance
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction
from tests.helpers import utterance

NO_RULES = get_normalizer("none")


def heard(name: str, text: str, said: str, **fields: object) -> Prediction:
    given = Prediction(None, 1.0, 0.1, text, said, id=name, set="s", language="English", predicted_language="English")
    return replace(given, **fields)


def checked(*predictions: Prediction, wer: float | None = None, cer: float | None = None) -> list[CheckedRow]:
    utterances: list[Utterance] = [utterance(id=one.id, text=one.text, language=one.language) for one in predictions]
    scores = score_utterances(predictions, NO_RULES)
    return check_rows(utterances, scores, NO_RULES, {"wer": wer, "cer": cer})


def test_a_row_has_the_error_rate_of_its_language_and_the_verdict_of_that_limit() -> None:
    words, characters = checked(
        heard("w", "a b c d", "a b x d"),  # 1 of 4 words
        heard("c", "你好世界", "你好时间", language="Chinese"),  # 2 of 4 characters
        wer=20,
        cer=50,
    )
    assert (words.metric, words.percent) == ("wer", 25)
    assert words.rejected == "WER 25 %, more than max_wer_percent=20"
    assert (characters.metric, characters.percent, characters.rejected) == ("cer", 50, None)
    assert characters.remarks == ["heard as English"]


def test_a_row_without_a_language_is_scored_by_the_one_that_was_heard() -> None:
    [row] = checked(heard("c", "你好世界", "你好时间", language=None, predicted_language="Chinese"), cer=40)
    assert (row.metric, row.percent, row.utterance.language) == ("cer", 50, None)
    assert row.rejected == "CER 50 %, more than max_cer_percent=40"
    [row] = checked(heard("n", "a b", "a c", language=None, predicted_language=None))
    assert (row.metric, row.percent) == ("wer", 50)


def test_what_could_not_be_read_has_no_rate_and_is_rejected_for_that() -> None:
    [row] = checked(heard("f", "a b", "", failed="no such file"))
    assert (row.percent, row.rejected) == (None, "no such file")


def test_remarks_stand_behind_the_verdict() -> None:
    [row] = checked(heard("e", "a b", "", is_truncated=True), wer=50)
    assert row.rejected == "WER 100 %, more than max_wer_percent=50 (the hypothesis is cut short, nothing was heard)"


def test_the_worst_come_first_of_equals_the_longer_and_the_unreadable_last() -> None:
    rows = checked(
        heard("unread", "a", "", failed="gone"),
        heard("good", "a b", "a b"),
        heard("short", "a", "x"),
        heard("long", "a b c", "x y z"),
    )
    assert [row.utterance.id for row in rank(rows)] == ["long", "short", "good", "unread"]
