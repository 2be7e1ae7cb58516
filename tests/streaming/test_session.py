"""Streaming sessions over a model that is known to the letter: what is kept, said anew, promised, held in memory."""

from dataclasses import replace

import numpy as np
import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.models.settings import Capability
from qasr_train.streaming.session import StreamSession, Update, open_stream
from qasr_train.streaming.settings import StreamPolicy
from tests.helpers_fake_model import FakeModel
from tests.helpers_streaming import RATE, HearingModel, speech

WORDS = [f"w{number:03}" for number in range(1000)]
POLICY = StreamPolicy(chunk_s=2.5, unfixed_chunks=2, unfixed_tokens=5, window_s=30.0)


def heard(session: StreamSession, waveform: np.ndarray, *, portion: int = 7_919) -> list[Update]:
    """All updates of a recording that comes in portions which fit no chunk."""
    updates = [
        update
        for start in range(0, len(waveform), portion)
        for update in session.feed(waveform[start : start + portion])
    ]
    return [*updates, session.finish()]


def test_the_first_updates_are_free_and_the_later_ones_begin_with_all_but_the_last_tokens() -> None:
    model = HearingModel(WORDS)
    updates = heard(open_stream(model, POLICY), speech(9))
    # After 2.5 s a word is cut in the middle and misheard; a token is a letter, so "w002" and the space before it are open.
    assert [(one.heard_s, one.text) for one in updates] == [
        (2.5, "w000 w001 um"),
        (5.0, "w000 w001 w002 w003 w004"),
        (7.5, "w000 w001 w002 w003 w004 w005 w006 um"),
        (9.0, "w000 w001 w002 w003 w004 w005 w006 w007 w008"),
    ]
    assert model.begun == ["", "", "w000 w001 w002 w003", "w000 w001 w002 w003 w004 w005 w0"]


def test_a_stream_that_only_appends_keeps_what_it_misheard() -> None:
    updates = heard(open_stream(HearingModel(WORDS), replace(POLICY, unfixed_chunks=0, unfixed_tokens=0)), speech(5))
    assert updates[-1].text == "w000 w001 um w003 w004"


def test_a_beginning_never_ends_inside_a_letter() -> None:
    model = HearingModel(["ä€", "öü", "日本", "語語"] * 3)  # letters of two and three bytes
    policy = replace(POLICY, chunk_s=2.0, unfixed_chunks=0, unfixed_tokens=2)
    updates = heard(open_stream(model, policy), speech(8))
    # "ä€ öü" less two bytes is "ä€ ö"; "ä€ öü 日本 語語" would lose two of the three bytes of its last letter: all three go.
    assert model.begun[:3] == ["", "ä€ ö", "ä€ öü 日本 語"]
    assert updates[-1].text == "ä€ öü 日本 語語 ä€ öü 日本 語語"


@pytest.mark.parametrize("duration_s", [7, 10, 75])
@pytest.mark.parametrize(
    "policy", [POLICY, replace(POLICY, chunk_s=1.0, window_s=8.0), replace(POLICY, unfixed_tokens=0)]
)
def test_what_is_called_stable_never_changes(policy: StreamPolicy, duration_s: int) -> None:
    updates = heard(open_stream(HearingModel(WORDS), policy), speech(duration_s))
    promised = [one.text[: one.num_stable] for one in updates]
    for number, promise in enumerate(promised):
        assert all(later.text.startswith(promise) for later in updates[number:])
    assert updates[-1].num_stable == len(updates[-1].text)
    assert any(0 < one.num_stable < len(one.text) for one in updates) or not policy.unfixed_tokens
    assert all(one.num_stable for one in updates[policy.unfixed_chunks :])


def test_an_hour_is_heard_with_bounded_audio_and_every_word_of_it_stands_once() -> None:
    model = HearingModel(words := [f"w{number}" for number in range(3600)])
    session = open_stream(model, replace(POLICY, chunk_s=10.0))
    most_held, last = 0, ""
    for first in range(0, 3600, 10):
        for update in session.feed(speech(10, first)):
            last = update.text
        held = [one for one in vars(session).values() if isinstance(one, np.ndarray)]
        most_held = max(most_held, sum(map(len, held)) + len(session._window.waveform))
    assert most_held <= 40 * RATE and max(model.heard_s) <= 30.0
    assert last.split() == session.finish().text.split() == words
    assert session.finals[0][1][0] == 0 and session.finals[-1][1][1] == 3600 * RATE


def test_a_language_without_spaces_is_joined_without() -> None:
    model = HearingModel(["語"] * 40, heard_language="Japanese")
    model._rest = lambda before, words: "".join(words[len(before) :])  # type: ignore[method-assign]
    assert heard(open_stream(model, replace(POLICY, window_s=10.0)), speech(40))[-1].text == "語" * 40


def test_an_answer_that_met_its_limit_is_neither_shown_nor_carried_on() -> None:
    model = HearingModel(WORDS, looping_s=7.5)
    updates = heard(open_stream(model, replace(POLICY, unfixed_chunks=0)), speech(10))
    assert updates[2].text == updates[1].text == "w000 w001 w002 w003 w004"
    assert "la" not in model.begun[3] and updates[-1].text.split() == WORDS[:10]


def test_an_answer_that_meets_its_limit_at_the_end_is_kept_as_it_is() -> None:
    session = open_stream(HearingModel(WORDS, looping_s=5.0), POLICY)
    assert heard(session, speech(5))[-1].text.endswith("la la") and session.finals[0][0].is_truncated


def test_a_clip_within_a_chunk_is_heard_once() -> None:
    model = HearingModel(WORDS)
    assert [one.text for one in heard(open_stream(model, POLICY), speech(2))] == ["w000 w001"]
    assert model.begun == [""]


def test_an_empty_stream_ends_empty() -> None:
    update = open_stream(HearingModel(WORDS, heard_language=None), POLICY).finish()
    assert (update.heard_s, update.text, update.num_stable, update.language) == (0.0, "", 0, None)


def test_a_chunk_as_long_as_the_window_is_cut_where_it_ends() -> None:
    session = open_stream(HearingModel(WORDS), replace(POLICY, chunk_s=4.0, window_s=4.0))
    assert heard(session, speech(10))[-1].text.split() == WORDS[:10]
    assert [end for _, (_, end) in session.finals][:: len(session.finals) - 1] == [4 * RATE, 10 * RATE]


def test_a_language_that_is_not_said_is_told_once_a_beginning_stands() -> None:
    model = HearingModel(
        WORDS, heard_language="German", capabilities=frozenset(Capability) - {Capability.SAYS_LANGUAGE}
    )
    heard(open_stream(model, POLICY), speech(9))
    assert model.collator.languages == [None, None, "German", "German"]
    forced = HearingModel(WORDS)
    updates = heard(open_stream(forced, POLICY, language="French", context="pills"), speech(5))
    assert forced.collator.languages == ["French"] * 2 and forced.collator.contexts == [["pills"]] * 2
    assert updates[-1].language == "French"


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(10), r"float32 \[S\] at 16 kHz, one channel; got float64 \[10\]"),
        (np.zeros((10, 2), dtype=np.float32), r"got float32 \[10, 2\]"),
        (np.array([0.0, np.nan], dtype=np.float32), "not finite"),
    ],
)
def test_other_samples_are_refused(samples: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_stream(HearingModel(WORDS), POLICY).feed(samples)


def test_a_finished_stream_takes_no_more() -> None:
    session = open_stream(HearingModel(WORDS), POLICY)
    session.finish()
    with pytest.raises(DataError, match="finished"):
        session.feed(speech(1))


def test_models_that_cannot_are_refused() -> None:
    with pytest.raises(ConfigError, match="fake models do not go on with a beginning"):
        open_stream(FakeModel(), POLICY)
    silent = HearingModel(WORDS, capabilities=frozenset({Capability.STREAMING}))
    with pytest.raises(ConfigError, match="cannot be told the language"):
        open_stream(silent, POLICY, language="French")
    with pytest.raises(ConfigError, match="take none"):
        open_stream(silent, POLICY, context="pills")
