"""Every format gives back what it was given, as far as it has a place for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from qasr_train.errors import DataError
from qasr_train.timed.base import TimedSegment, TimedWord
from qasr_train.timed.formats import FORMATS, read_timed, write_timed

FIRST = TimedSegment(
    0.5,
    2.25,
    "Hello, wide world",
    (TimedWord("Hello,", 0.5, 0.9, 0.75), TimedWord("wide", None, None), TimedWord("world", 1.75, 2.25, 0.5)),
    "anna",
    "English",
)
SECOND = TimedSegment(3661.001, 3662.0, "今日は", (TimedWord("今日は", 3661.001, 3662.0),), "ben", "Japanese")
SEGMENTS = [FIRST, SECOND]
# What a format has no place for.
LOST = {
    "jsonl": [],
    "srt": ["words", "language"],
    "vtt": ["words", "language"],
    "tsv": ["words", "language"],
    "stm": ["words", "language"],
    "textgrid": ["language"],
    "ctm": ["language"],
}


def without(segment: TimedSegment, names: list[str]) -> TimedSegment:
    empty = {"words": (), "language": None}
    return replace(segment, **{name: empty[name] for name in names})


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.segments_of])
def test_a_format_gives_back_what_it_holds(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{FORMATS[name].suffix}"
    write_timed(path, SEGMENTS, name, "a")
    expected = [without(segment, LOST[name]) for segment in SEGMENTS]
    if name == "textgrid":  # a tier of words holds no word without times, and no confidence
        expected = [
            replace(one, words=tuple(replace(word, confidence=None) for word in one.words if word.is_placed))
            for one in expected
        ]
    assert read_timed(path) == expected


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.segments_of])
def test_what_a_format_reads_it_writes_again_to_the_byte(name: str) -> None:
    one = FORMATS[name]
    text = one.text_of([replace(FIRST, words=FIRST.words[::2], text="Hello, world", speaker=""), SECOND], "a")
    assert one.segments_of is not None
    assert one.text_of(one.segments_of(text, "a"), "a") == text


@pytest.mark.parametrize("name", list(FORMATS))
def test_no_segments_are_a_file_too(name: str) -> None:
    text = FORMATS[name].text_of([], "a")
    read = FORMATS[name].segments_of
    assert read is None or read(text, "a") == []


def test_another_suffix_is_refused_with_those_that_are_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.doc: is no file of timed segments that is read; expected one of .*\.srt"):
        read_timed(tmp_path / "a.doc")


def test_the_suffix_may_be_in_any_case(tmp_path: Path) -> None:
    write_timed(tmp_path / "a.SRT", SEGMENTS[:1], "srt", "a")
    assert read_timed(tmp_path / "a.SRT")[0].text == "Hello, wide world"


def test_a_file_in_another_encoding_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_bytes("1\n00:00:01,000 --> 00:00:02,000\nGrüße\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"is not UTF-8 text .* save it in UTF-8"):
        read_timed(tmp_path / "a.srt")


def test_utf_16_with_its_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text("1\r\n00:00:01,000 --> 00:00:02,000\r\nGrüße\r\n", encoding="utf-16")
    assert read_timed(tmp_path / "a.srt") == [TimedSegment(1.0, 2.0, "Grüße")]
