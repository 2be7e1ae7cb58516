"""What a stream showed, as predictions.jsonl holds it: each update by what is new in it."""

from typing import Any

import pytest

from qasr_train.errors import DataError
from qasr_train.streaming.shown import Shown, Streamed
from qasr_train.timed.base import TimedWord
from qasr_train.transcription.predictions import Prediction, parse_prediction, prediction_to_row

UPDATES = (Shown(2.0, "good mourn", 0), Shown(4.0, "good morning all", 4), Shown(4.75, "good", 4))
WORDS = (TimedWord("good", 0.25, 0.5), TimedWord("morning", None, None))
ROW = {
    "updates": [[2.0, 0, "good mourn", 0], [4.0, 7, "rning all", 4], [4.75, 4, "", 4]],
    "words": [{"text": "good", "start": 0.25, "end": 0.5}, {"text": "morning", "start": None, "end": None}],
}


def test_a_row_holds_what_is_new_and_gives_all_of_it_back() -> None:
    row = Streamed(UPDATES, WORDS).row()
    assert row == ROW
    assert Streamed.parse(row, "x:1") == Streamed(UPDATES, WORDS)


def test_predictions_carry_it_and_those_heard_whole_do_not_name_it() -> None:
    heard = Prediction(None, 4.75, 1.0, "good morning", "good", streamed=Streamed(UPDATES, WORDS))
    assert parse_prediction(prediction_to_row(heard), "").streamed == heard.streamed
    assert "streamed" not in prediction_to_row(Prediction(None, 4.75, 1.0, "good morning", "good"))


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("chunks", "expected an object with `updates`"),
        ({"updates": [[2.0, 0, "a"]]}, "an update is"),
        ({"updates": [[2.0, 1, "a", 0]]}, "an update is"),  # keeps a letter of nothing
        ({"updates": [[2.0, 0, "a", 2]]}, "an update is"),  # is sure of more than there is
        ({"updates": [[2.0, 0, "a", 0], [1.0, 1, "", 0]]}, "an update is"),  # goes back in time
        ({"updates": [[True, 0, "a", 0]]}, "an update is"),
        ({"updates": [], "words": 5}, "`words` is 5"),
        ({"updates": [], "words": ["good"]}, "a word is 'good'"),
    ],
)
def test_what_was_not_written_by_us_is_refused(field: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"x:1: .*{message}"):
        Streamed.parse(field, "x:1")
