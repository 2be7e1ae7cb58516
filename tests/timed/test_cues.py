"""Subtitles fit the screen, can be read, and lose no character."""

import pytest

from qasr_train.timed.base import TimedSegment, TimedWord
from qasr_train.timed.cues import CueLayout, laid_out, num_too_fast
from qasr_train.timed.text_units import width

LAYOUT = CueLayout(max_line_length=42, max_lines=2, max_characters_per_s=17.0, min_duration_s=1.0, max_duration_s=7.0)
LONG = (
    "This is the first sentence of a long recording, and it goes on for a while. Then another one begins; it is longer "
    "than a line can hold, so that it has to be broken somewhere in between, doesn't it? Yes."
)
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で泣いていた。"
ARABIC = "الدليل على ذلك أن الاجتماع الأول لم يكن كافيا، ولهذا نطلب اجتماعا آخر في الأسبوع القادم؟ نعم."


@pytest.mark.parametrize("text", [LONG, JAPANESE, ARABIC, "x" * 200, "ไทย" * 60, "word " * 90])
def test_no_line_is_too_long_no_cue_too_tall_and_no_character_is_lost(text: str) -> None:
    cues = laid_out([TimedSegment(1.0, 14.0, text)], LAYOUT)
    assert "".join("".join(cue.text.split()) for cue in cues) == "".join(text.split())
    for cue in cues:
        lines = cue.text.split("\n")
        assert len(lines) <= 2 and max(map(width, lines)) <= 42
        assert 0 < cue.end_s - cue.start_s <= 7.0 + 1e-6


def test_cues_end_with_sentences_and_lines_with_clauses_where_that_is_near_the_middle() -> None:
    cues = laid_out([TimedSegment(0.0, 9.0, JAPANESE)], LAYOUT)
    assert cues[0].text == "吾輩は猫である。名前はまだ無い。\nどこで生れたかとんと見当がつかぬ。"
    assert laid_out([TimedSegment(0.0, 14.0, LONG)], LAYOUT)[0].text.endswith("goes on for a while.")


def test_without_words_time_is_shared_by_length_of_text() -> None:
    layout = CueLayout(10, 1, 17.0, 0.0, 7.0)
    first, second = laid_out([TimedSegment(2.0, 4.0, "aaaa. bbbb.")], layout)
    assert (first.text, second.text) == ("aaaa.", "bbbb.")
    assert first.end_s == pytest.approx(2.0 + 2.0 * 5 / 11)
    assert (first.start_s, second.end_s) == (2.0, 4.0)


def test_words_give_cues_their_times_also_where_they_lack_the_texts_punctuation() -> None:
    words = (TimedWord("Well", 1.0, 1.5), TimedWord("lost", None, None), TimedWord("done", 5.0, 5.5))
    layout = CueLayout(10, 1, 17.0, 0.0, 7.0)
    cues = laid_out([TimedSegment(0.0, 9.0, "Well, lost. Done!", words)], layout)
    assert [cue.text for cue in cues] == ["Well,", "lost.", "Done!"]
    assert [cue.start_s for cue in cues] == pytest.approx([1.0, cues[1].start_s, 5.0])
    assert 1.5 < cues[1].start_s < 5.0


def test_words_that_an_aligner_put_on_one_spot_make_no_cue_of_no_length() -> None:
    said = "one two three four five six seven eight nine ten"
    words = tuple(TimedWord(word, 2.0, 2.0) for word in said.split())
    layout = CueLayout(20, 1, 1000.0, 0.0, 7.0)
    cues = laid_out([TimedSegment(0.0, 6.0, said, words)], layout)
    assert [cue.start_s for cue in cues] == sorted({cue.start_s for cue in cues})
    assert min(cue.end_s - cue.start_s for cue in cues) > 13 / 40
    good = tuple(TimedWord(word, 0.5 * place, 0.5 * place + 0.4) for place, word in enumerate(said.split()))
    starts = [cue.start_s for cue in laid_out([TimedSegment(0.0, 6.0, said, good)], layout)]
    assert set(starts) <= {word.start_s for word in good}  # times that can be said stay to the digit


def test_a_short_cue_stays_until_it_is_read_or_the_next_one_comes() -> None:
    alone = laid_out([TimedSegment(1.0, 1.2, "Yes."), TimedSegment(1.8, 2.0, "No, thank you very much")], LAYOUT)
    assert [cue.end_s for cue in alone] == pytest.approx([1.8, 1.8 + 23 / 17])


def test_two_speakers_may_overlap_and_one_may_not() -> None:
    one = laid_out([TimedSegment(0.0, 3.0, "a", speaker="x"), TimedSegment(2.0, 4.0, "b", speaker="x")], LAYOUT)
    two = laid_out([TimedSegment(0.0, 3.0, "a", speaker="x"), TimedSegment(2.0, 4.0, "b", speaker="y")], LAYOUT)
    assert [cue.end_s for cue in one] == [2.0, 4.0]
    assert [cue.end_s for cue in two] == [3.0, 4.0]


def test_what_is_faster_than_can_be_read_is_counted() -> None:
    assert num_too_fast([TimedSegment(0.0, 1.0, "x" * 18), TimedSegment(0.0, 1.0, "x" * 17)], LAYOUT) == 1


def test_nothing_said_gives_no_cue() -> None:
    assert laid_out([TimedSegment(0.0, 1.0, " ")], LAYOUT) == []
