"""Long recordings: where they are cut, and that the joined text has every word of it once, whatever was cut."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from qasr_train.batch import Batch, Recording
from qasr_train.models.base import Hypothesis
from qasr_train.models.blocks.joined_text import join_pieces, join_texts, piece_texts
from qasr_train.models.blocks.text_pieces import TextPiece
from qasr_train.transcription.long_audio import heard_range, overlaps_of, split_at_silences
from tests.helpers import tone, utterance, write_wav
from tests.helpers_fake_model import FakeCollator, FakeModel
from tests.helpers_transcription import transcribe_all

RATE = 16_000


def speech_with_pauses(duration_s: float, pauses_s: Sequence[float], *, pause_s: float = 0.4) -> np.ndarray:
    """A loud tone with silences centred at each of the moments; float32 [S]."""
    waveform = tone(duration_s)
    for moment_s in pauses_s:
        waveform[int((moment_s - pause_s / 2) * RATE) : int((moment_s + pause_s / 2) * RATE)] = 0.0
    return waveform


# --- cutting ----------------------------------------------------------------------------------------------------------


def test_cuts_fall_into_silences_and_pieces_cover_the_recording_once() -> None:
    waveform = speech_with_pauses(25.0, [8.5, 17.0])
    ranges = split_at_silences(waveform, max_duration_s=10.0)
    assert [start for start, _ in ranges] == [0, *[end for _, end in ranges[:-1]]]
    assert ranges[-1][1] == len(waveform)
    assert [end / RATE for _, end in ranges[:-1]] == pytest.approx([8.5, 17.0], abs=0.06)
    assert max(end - start for start, end in ranges) <= 10 * RATE


def test_a_recording_without_any_silence_is_still_cut_within_the_limit() -> None:
    ranges = split_at_silences(tone(10.2), max_duration_s=5.0)
    lengths_s = [(end - start) / RATE for start, end in ranges]
    assert sum(lengths_s) == pytest.approx(10.2)
    assert max(lengths_s) <= 5.0
    assert min(lengths_s) >= 0.5


def test_a_short_recording_is_one_piece() -> None:
    assert split_at_silences(tone(1.0), max_duration_s=5.0, overlap_s=1.0) == [(0, RATE)]


@pytest.mark.parametrize("duration_s", [20.1, 21.0, 37.3, 63.0])
def test_overlapping_pieces_keep_the_limit_leave_nothing_out_and_overlap_no_more_than_asked(duration_s: float) -> None:
    waveform = (0.1 * np.random.default_rng(0).standard_normal(int(duration_s * RATE))).astype(np.float32)
    ranges = split_at_silences(waveform, max_duration_s=20.0, overlap_s=4.0)
    assert (ranges[0][0], ranges[-1][1]) == (0, len(waveform))
    assert all(0.5 * RATE <= end - start <= 20 * RATE for start, end in ranges)
    overlaps_s = overlaps_of(ranges)
    assert len(overlaps_s) == len(ranges) - 1 > 0
    assert all(1.0 <= one <= 4.0 for one in overlaps_s)


def test_the_overlap_is_at_most_a_fifth_of_a_piece() -> None:
    assert max(overlaps_of(split_at_silences(tone(20.0), max_duration_s=5.0, overlap_s=4.0))) <= 1.0


def test_pieces_meet_without_overlap_where_nothing_is_to_be_heard() -> None:
    waveform = speech_with_pauses(28.0, [16.0], pause_s=9.0)
    waveform[int(11.5 * RATE) : int(20.5 * RATE)] += 1e-4  # the noise of a recorder, 70 dB down
    [overlap_s] = overlaps_of(split_at_silences(waveform, max_duration_s=20.0, overlap_s=4.0))
    assert overlap_s == 0.0
    waveform[int(14.5 * RATE) : int(14.8 * RATE)] = 0.05 * tone(0.3) / 0.5  # a word, 20 dB down
    [overlap_s] = overlaps_of(split_at_silences(waveform, max_duration_s=20.0, overlap_s=4.0))
    assert overlap_s > 0.0


def test_the_heard_part_of_a_piece_begins_and_ends_with_its_sound() -> None:
    waveform = np.concatenate([np.zeros(RATE, np.float32), tone(0.5), np.zeros(RATE, np.float32)])
    assert heard_range(waveform) == pytest.approx((RATE, 1.5 * RATE), abs=0.02 * RATE)
    assert heard_range(np.zeros(RATE, np.float32)) == (0, RATE)
    assert heard_range(np.zeros(5, np.float32)) == (0, 5)


# --- joining ----------------------------------------------------------------------------------------------------------

JOINS = [
    # what both heard stands once
    (
        "English",
        "we gave her two small pills",
        "two small pills and some water",
        "we gave her two small pills and some water",
    ),
    # a word cut on either side is taken from the side that heard it whole
    ("English", "we gave her two small pi", "ave her two small pills", "we gave her two small pills"),
    ("English", "take aspirin in the mourn", "spring in the morning and rest", "take aspirin in the morning and rest"),
    # letters' case and punctuation are no difference; a full stop at the end of a piece is none
    ("English", "He said: wait, I am coming.", "Wait I am coming home.", "He said: wait, I am coming home."),
    ("English", "it was the end.", "The end of the day.", "it was the end of the day."),
    # nothing in common: nothing is taken away
    ("English", "it was the dog", "a cat sat here", "it was the dog a cat sat here"),
    ("English", "", "a cat", "a cat"),
    ("English", "a cat", "", "a cat"),
    # a word one side missed, or heard in another way
    ("English", "one two three four five six", "three for five six seven", "one two three four five six seven"),
    ("English", "one two three five six", "three four five six seven eight", "one two three five six seven eight"),
    # no spaces between words
    ("Chinese", "今天的天气很好我们去公园", "我们去公园散步吧。", "今天的天气很好我们去公园散步吧。"),
    ("Chinese", "今天，我用iPhone打电", "用iPhone打电话给你", "今天，我用iPhone打电话给你"),
    ("Thai", "วันนี้อากาศดีมาก", "อากาศดีมากเลยครับ", "วันนี้อากาศดีมากเลยครับ"),
    ("Japanese", "今日は天気がいい", "すごく寒い", "今日は天気がいいすごく寒い"),
    # with spaces, though scored by characters; combining marks
    (
        "Korean",
        "오늘 날씨가 아주 좋습니다",
        "아주 좋습니다 그래서 나갑니다",
        "오늘 날씨가 아주 좋습니다 그래서 나갑니다",
    ),
    ("Hindi", "आज मौसम बहुत अच्छा", "बहुत अच्छा है", "आज मौसम बहुत अच्छा है"),
]


@pytest.mark.parametrize(("language", "left", "right", "expected"), JOINS)
def test_what_two_pieces_both_heard_stands_once(language: str, left: str, right: str, expected: str) -> None:
    assert join_texts([left, right], language, [3.0]) == expected
    heard = [(text, tuple(TextPiece(1, -float(n)) for n in range(1, len(text) + 1))) for text in (left, right)]
    joined = join_pieces(heard, language, [3.0]) or ()
    assert len(joined) == len(expected), "a piece for each character"
    for letter, (_, log_prob) in zip(expected, joined, strict=True):
        place = int(-log_prob) - 1
        assert letter == " " if place < 0 else letter in (text[place : place + 1] for text in (left, right))


def test_pieces_that_are_not_known_of_one_part_are_not_known() -> None:
    assert join_pieces([("a b", (TextPiece(3, -1.0),)), ("c", None)], "English", [0.0]) is None
    assert join_pieces([("", None)], "English") is None
    parts = [
        ("one two.", (TextPiece(4, -1.0), TextPiece(4, -2.0))),
        ("two three", (TextPiece(3, -3.0), TextPiece(6, -4.0))),
    ]
    assert join_texts([text for text, _ in parts], "English", [1.0]) == "one two three"
    assert join_pieces(parts, "English", [1.0]) == ((3, -1.0), (1, 0.0), (3, -3.0), (6, -4.0))


def test_without_an_overlap_equal_words_are_two() -> None:
    assert join_texts(["he said no", "no he did not"], "English", [0.0]) == "he said no no he did not"


def test_only_what_the_overlap_can_hold_is_compared() -> None:
    left = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
    assert join_texts([left, "a b c"], "English", [1.0]) == f"{left} a b c"


@pytest.mark.parametrize(
    ("language", "expected"),
    [("English", "a b"), ("Chinese", "ab"), ("Japanese", "ab"), ("Thai", "ab"), ("Korean", "a b"), (None, "a b")],
)
def test_pieces_join_as_the_language_is_written(language: str | None, expected: str) -> None:
    assert join_texts(["a ", "", " b"], language) == expected


# --- the whole way, with a model that hears words by their moments ------------------------------------------------------


@dataclass(frozen=True)
class Word:
    """A word of a made-up recording."""

    text: str
    start_s: float
    end_s: float


@dataclass
class HearingCollator(FakeCollator):
    """Finds where in the recording each piece lies."""

    recording: np.ndarray = field(default_factory=lambda: np.zeros(0))
    heard_from_s: dict[str, tuple[float, float]] = field(default_factory=dict)

    def for_transcription(self, recordings: Sequence[Recording], **settings: object) -> Batch:
        for one in recordings:
            piece, places = one.waveform, np.flatnonzero(self.recording == one.waveform[0])
            [begin] = [at for at in places if np.array_equal(self.recording[at : at + len(piece)], piece)]
            self.heard_from_s[one.utterance.id] = (begin / RATE, (begin + len(piece)) / RATE)
        return super().for_transcription(recordings, **settings)  # type: ignore[arg-type]


@dataclass
class HearingModel(FakeModel):
    """Hears the words that lie in a piece; of a cut one, a garbled rest or nothing."""

    words: Sequence[Word] = ()
    separator: str = " "
    cut_word: str = ""

    def transcribe(self, batch: Batch, *, max_new_tokens: int) -> list[Hypothesis]:
        assert isinstance(self.collator, HearingCollator)
        return [self._hear(one, *self.collator.heard_from_s[one]) for one in batch.ids]

    def _hear(self, name: str, start_s: float, end_s: float) -> Hypothesis:
        heard = []
        for word in self.words:
            if start_s <= word.start_s and word.end_s <= end_s:
                heard.append(word.text)
            elif word.start_s < end_s and word.end_s > start_s and self.cut_word:
                heard.append(self.cut_word)
        text = self.separator.join(heard)
        return Hypothesis(name, text, self.heard_language, text, len(heard) + 1, False)


VOCABULARY = [f"{a}{b}" for a in ("ba", "de", "ki", "lo", "mu", "ne") for b in ("r", "st", "n", "lm", "x")]
CHARACTERS = [chr(0x4E00 + 7 * i) for i in range(60)]


def talk(rng: random.Random, vocabulary: Sequence[str], duration_s: float, *, longest_gap_s: float) -> list[Word]:
    """Random words of 0.15 to 0.7 s and the gaps between them."""
    words, now_s = [], 0.0
    while now_s < duration_s - 1.0:
        length_s = rng.uniform(0.15, 0.7)
        words.append(Word(rng.choice(vocabulary), now_s, now_s + length_s))
        now_s += length_s + rng.uniform(0.0, longest_gap_s)
    return words


def sound(words: Sequence[Word], duration_s: float) -> np.ndarray:
    """Noise, loud in the words and 60 dB under that between them; float32 [S]."""
    rng = np.random.default_rng(0)
    envelope = np.full(int(duration_s * RATE), 2e-4)
    for word in words:
        envelope[int(word.start_s * RATE) : int(word.end_s * RATE)] = 0.2
    return (envelope * rng.uniform(-1, 1, len(envelope))).astype(np.float32)


@pytest.mark.parametrize(
    "cut_word", ["", "hm", "bar"]
)  # of a cut word: nothing, something else, a word of the vocabulary
@pytest.mark.parametrize("longest_gap_s", [0.0, 0.5])  # no silence at all: every cut is inside a word, or at its edge
@pytest.mark.parametrize("language", ["English", "Chinese"])
def test_every_word_of_a_long_recording_stands_once(
    language: str, longest_gap_s: float, cut_word: str, tmp_path: Path
) -> None:
    separator, vocabulary = (" ", VOCABULARY) if language == "English" else ("", CHARACTERS)
    for seed in range(2):
        words = talk(random.Random(seed), vocabulary, 40.0, longest_gap_s=longest_gap_s)
        waveform = sound(words, 40.0)
        path = write_wav(tmp_path / f"{seed}.wav", waveform, subtype="FLOAT")
        collator = HearingCollator(recording=waveform)
        model = HearingModel(
            words=words, separator=separator, cut_word=cut_word, heard_language=language, collator=collator
        )
        [prediction] = transcribe_all(
            model, [utterance(id="talk", audio=str(path), duration_s=40.0)], max_duration_s=15.0
        )
        assert len(collator.heard_from_s) >= 3
        assert prediction.pred_text == separator.join(word.text for word in words)
        assert prediction.duration_s == pytest.approx(40.0)


@pytest.mark.parametrize("language", ["English", "Chinese"])
def test_what_each_piece_gives_is_together_the_joined_text(language: str) -> None:
    texts, overlaps_s = ["one two three four", "three four five", "", "six"], [1.0, 0.0, 0.0]
    parts = piece_texts(texts, language, overlaps_s)
    assert "".join(parts) == join_texts(texts, language, overlaps_s)
    assert len(parts) == 4 and parts[2] == ""
