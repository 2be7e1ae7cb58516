"""Aligning a text with a recording of any length, with an aligner that knows where its clicks are."""

from collections.abc import Sequence

import numpy as np
import pytest

from qasr_train.alignment.text import align_text
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


def test_a_text_longer_than_a_clip_keeps_its_words_in_order_and_none_is_lost() -> None:
    aligner, text = Clicks(), " ".join(f"w{number}" for number in range(40))
    found = align_text(aligner, recording(40, 0.7), text, "English")
    assert [word.text for word in found.words] == text.split()
    assert [word.start_s for word in found.words] == pytest.approx(
        [0.2 + 0.7 * number for number in range(40)], abs=1e-3
    )
    assert len(aligner.given) > 6 and max(aligner.given) < 40, "in clips, each with a part of the text"
    assert found.doubt == pytest.approx(0.1) and not found.is_doubtful


def test_a_long_silence_in_front_takes_no_words() -> None:
    waveform = np.concatenate([np.zeros(9 * RATE_HZ, np.float32), recording(3, 0.5)])
    found = align_text(Clicks(), waveform, "one two three", "English")
    assert [word.start_s for word in found.words] == pytest.approx([9.2, 9.7, 10.2], abs=1e-3)


def test_words_past_the_end_are_marked_and_not_guessed() -> None:
    found = align_text(Clicks(), recording(3, 0.5), "one two three four five", "English")
    assert [word.is_placed for word in found.words] == [True, True, True, False, False]
    assert found.num_unplaced == 2 and found.doubt == pytest.approx(1 - 3 * 0.9 / 5)


def test_a_text_that_is_nowhere_sure_is_doubted() -> None:
    found = align_text(Clicks(confidence=0.1), recording(3, 0.5), "other words here", "English")
    assert found.is_doubtful and found.num_unplaced == 3


def test_no_words_are_no_doubt() -> None:
    assert align_text(Clicks(), recording(1, 0.5), "", "English").words == ()
