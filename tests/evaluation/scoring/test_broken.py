"""Outputs that are broken rather than wrong: what counts as which, row by row, by hand."""

import pytest

from qasr_train.evaluation.scoring.alignment import score_utterances
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.scoring.utterance import ANY, broken_outputs
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

SIX = "red cat sits down at noon"
ARABIC = "بيت شمس يوم طريق كلب قطة"


def ways(text, heard, normalizer="qasr-1", **fields):
    """The ways in which the output of one utterance is broken."""
    row = Prediction(None, 1.0, 0.1, text, heard, id="u", set="s", **({"language": "English"} | fields))
    (score,) = score_utterances([row], get_normalizer(normalizer))
    found = [way for way, (is_so,) in broken_outputs([score]).items() if is_so]
    assert (ANY in found) is bool(found)
    return found[:-1]


@pytest.mark.parametrize(
    ("text", "heard", "fields", "expected"),
    [
        (SIX, SIX, {}, []),
        (SIX, "red cap sit down noon", {}, []),  # wrong words are no broken output
        (SIX, "", {}, ["empty"]),
        (SIX, " ... ", {}, ["empty"]),  # nothing is left after normalising
        ("", "", {}, []),  # nobody spoke
        (SIX, "", {"failed": "no audio"}, []),  # no output at all is counted as failed
        (SIX, "red cat sits down at no\ufffd", {}, ["garbled"]),
        (SIX, "red cat sits down at noon\x07", {}, ["garbled"]),
        ("caf\ufffd is open", "caf\ufffd is open", {}, []),  # the reference has it too
        (SIX, "\ufffd", {}, ["empty", "garbled"]),
        (SIX, "go " * 8, {}, ["looping"]),
        (SIX, SIX, {"is_truncated": True}, ["cut off"]),
        (SIX, "red", {}, ["cut off"]),  # 3 * 1 < 6
        (SIX, "red cat", {}, []),  # 3 * 2 = 6: a third is no end too early
        ("red cat sits down now", "red", {}, []),  # of five words one may well be all that was understood
        (ARABIC, "what a nice day it is", {"language": "Arabic"}, ["in another language"]),
        (ARABIC, "day", {"language": "Arabic"}, ["in another language"]),  # and not cut off as well
        (SIX, "die Mieze ruht sich aus", {"predicted_language": "German"}, ["in another language"]),
        (SIX, SIX, {"predicted_language": "German"}, []),  # told another language, and written right
        # Kana for characters is one script.
        ("有り難う御座います", "ありがとうございます", {"language": "Japanese"}, []),
        ("今天天气很好我们去", "今天天", {"language": "Chinese"}, []),  # characters are its tokens: 3 * 3 = 9
        ("今天天气很好我们去", "今天", {"language": "Chinese"}, ["cut off"]),
    ],
)
def test_what_is_broken_and_what_is_merely_wrong(text, heard, fields, expected):
    assert ways(text, heard, **fields) == expected


def test_figures_are_shares_of_the_outputs_there_are():
    heard = ["", "\ufffd", "go " * 8, "red", "день ночь утро", SIX, SIX, SIX]
    rows = [Prediction(None, 1.0, 0.1, SIX, one, id=str(n), set="s", language="English") for n, one in enumerate(heard)]
    rows.append(Prediction(None, 1.0, 0.1, SIX, "", id="lost", set="s", language="English", failed="no audio"))
    group = score_predictions(rows, get_normalizer("qasr-1")).overall
    # Of eight outputs: two empty (one of them garbled), one loops, one is cut off, one is Russian; five are broken.
    figures = ("empty_output", "garbled", "loop", "cut_off", "other_language", "broken")
    assert [group[f"{name}_percent"] for name in figures] == [25.0, 12.5, 12.5, 12.5, 12.5, 62.5]
