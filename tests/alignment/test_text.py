"""Aligning a text with a recording of any length, with an aligner that knows where its clicks are."""

from collections.abc import Sequence

import numpy as np
import pytest

from qasr_train.alignment.text import MAX_DOUBT, Hear, align_text, shares
from qasr_train.errors import DataError
from qasr_train.timed.base import TimedWord

RATE_HZ = 16_000


class Clicks:
    """Hears word N of a clip where its Nth burst of sound is; surplus words stand at the clip's end, unsure."""

    family, longest_s, languages = "clicks", 4.0, ("English",)

    def __init__(self, confidence: float = 0.9) -> None:
        self.confidence, self.given = confidence, list[int]()

    def split(self, text: str, language: str | None) -> list[str]:
        return text.split()

    def align(self, waveform: np.ndarray, words: Sequence[str], language: str | None) -> tuple[TimedWord, ...]:
        self.given.append(len(words))
        assert len(waveform) <= self.longest_s * RATE_HZ
        loud = np.flatnonzero(np.abs(waveform) > 0.1) / RATE_HZ
        begins = loud[np.diff(loud, prepend=-9.0) > 0.05]
        spans = [(float(at), float(at) + 0.1) for at in begins]
        end_s = len(waveform) / RATE_HZ
        spans += [(end_s, end_s)] * max(0, len(words) - len(spans))
        sure = [self.confidence] * len(begins) + [0.01] * len(words)
        return tuple(TimedWord(word, *span, one) for word, span, one in zip(words, spans, sure, strict=False))


def recording(num_words: int, every_s: float) -> np.ndarray:
    """A burst of 0.1 s at 0.2 s, and every so many seconds after it."""
    waveform = np.zeros(int((num_words * every_s + 0.5) * RATE_HZ), np.float32)
    for number in range(num_words):
        begin = int((0.2 + number * every_s) * RATE_HZ)
        waveform[begin : begin + RATE_HZ // 10] = 0.5
    return waveform


def hears(by_clip: Sequence[str]) -> Hear:
    """A recogniser that says this of the clips, whatever they hold."""
    return lambda clips, language: [*by_clip, *[""] * len(clips)][: len(clips)]


def test_a_text_longer_than_a_clip_keeps_its_words_in_order_and_none_is_lost() -> None:
    aligner, text = Clicks(), [f"w{number}" for number in range(40)]
    begins = np.array([0.2 + 0.7 * number for number in range(40)])

    def hear(clips: Sequence[np.ndarray], language: str | None) -> list[str]:
        ends = np.cumsum([len(clip) for clip in clips]) / RATE_HZ
        return [" ".join(text[n] for n in np.flatnonzero((begins < end) & (begins >= start)))
                for start, end in zip([0.0, *ends[:-1]], ends, strict=True)]  # fmt: skip

    found = align_text(aligner, recording(40, 0.7), " ".join(text), "English", hear=hear)
    assert [word.text for word in found.words] == text
    assert [word.start_s for word in found.words] == pytest.approx(begins.tolist(), abs=1e-3)
    assert len(aligner.given) > 6 and max(aligner.given) < 10, "in clips, each with its part of the text"
    assert found.doubt == 0.0, "every word was heard"


def test_a_recording_too_long_needs_a_recogniser() -> None:
    with pytest.raises(
        DataError, match="a recording of 6 s is longer than the 4 s the aligner takes at once, and is cut only"
    ):
        align_text(Clicks(), recording(6, 1.0), "one", "English")


def test_words_go_to_the_clip_in_which_they_were_heard() -> None:
    text = "the old man buys two, small pills today".split()
    assert shares(text, [["The", "old"], ["man", "buys"], ["two", "small", "pills", "today"]]) == [2, 4, 8]
    # "man buys" misheard: the words between the anchors go by how many were heard on either side.
    assert shares(text, [["the", "old", "ham"], ["bus", "two"], ["small", "pills", "today"]]) == [3, 5, 8]
    assert shares(text, [[], [], []]) == [4, 4, 8]
    assert shares(text, [["nothing"], []]) == [8, 8]


def test_words_past_the_end_are_marked_and_not_guessed() -> None:
    found = align_text(Clicks(), recording(3, 0.5), "one two three four five", "English")
    assert [word.is_placed for word in found.words] == [True, True, True, False, False]
    assert found.num_unplaced == 2 and found.doubt == pytest.approx(1 - 3 * 0.9 / 5)


def test_a_text_that_is_nowhere_sure_is_doubted() -> None:
    found = align_text(Clicks(confidence=0.1), recording(3, 0.5), "other words here", "English")
    assert found.doubt > MAX_DOUBT and found.num_unplaced == 3


def test_a_recogniser_that_hears_other_words_doubts_a_text_however_sure_its_times_are() -> None:
    text = "one two three four"
    assert align_text(Clicks(), recording(4, 0.5), text, "English", hear=hears(["One, two three"])).doubt == 0.25
    other = align_text(Clicks(), recording(4, 0.5), text, "English", hear=hears(["what four men"]))
    assert other.doubt == 0.75 > MAX_DOUBT and other.num_unplaced == 0


def test_no_words_are_no_doubt() -> None:
    assert align_text(Clicks(), recording(1, 0.5), "", "English").words == ()
