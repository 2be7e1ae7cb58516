"""What we write, read by programs of others; what they write, read by us."""

from pathlib import Path

import pytest

from qasr_train.timed.base import TimedSegment, TimedWord
from qasr_train.timed.formats import read_timed, write_timed

WORDS = (TimedWord("Ünlü", 0.25, 0.5), TimedWord('"söz"', 0.75, 1.0))
SEGMENTS = [
    TimedSegment(0.25, 1.5, 'Ünlü "söz"', WORDS, "anna"),
    TimedSegment(3661.001, 3662.0, "今日は\n<いい> & 天気", (), "anna"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_timed(tmp_path / "a.srt", SEGMENTS, "srt", "a")
    write_timed(tmp_path / "a.vtt", SEGMENTS, "vtt", "a")
    write_timed(tmp_path / "a.TextGrid", SEGMENTS, "textgrid", "a")
    return tmp_path


def test_the_package_srt_reads_and_writes_the_same(folder: Path) -> None:
    srt = pytest.importorskip("srt", reason="the package srt is not installed (extra dev)")
    cues = list(srt.parse((folder / "a.srt").read_text(encoding="utf-8")))
    assert [(one.index, one.start.total_seconds(), one.end.total_seconds()) for one in cues] == [
        (1, 0.25, 1.5),
        (2, 3661.001, 3662.0),
    ]
    assert [one.content for one in cues] == ['[anna]: Ünlü "söz"', "[anna]: 今日は\n<いい> & 天気"]
    (folder / "b.srt").write_text(srt.compose(cues), encoding="utf-8")
    assert read_timed(folder / "b.srt") == read_timed(folder / "a.srt")


def test_webvtt_py_reads_and_writes_the_same(folder: Path) -> None:
    webvtt = pytest.importorskip("webvtt", reason="the package webvtt-py is not installed (extra dev)")
    cues = webvtt.read(folder / "a.vtt")
    assert [(one.start, one.end, one.voice) for one in cues] == [
        ("00:00:00.250", "00:00:01.500", "anna"),
        ("01:01:01.001", "01:01:02.000", "anna"),
    ]
    assert cues[0].text == 'Ünlü "söz"'
    cues.save(str(folder / "b.vtt"))
    assert read_timed(folder / "b.vtt") == read_timed(folder / "a.vtt")


@pytest.mark.parametrize("form", ["long_textgrid", "short_textgrid"])
def test_praatio_reads_and_writes_the_same(folder: Path, form: str) -> None:
    textgrid = pytest.importorskip("praatio.textgrid", reason="the package praatio is not installed (extra dev)")
    grid = textgrid.openTextgrid(str(folder / "a.TextGrid"), includeEmptyIntervals=False)
    assert grid.tierNames == ("anna", "anna - words")
    assert list(map(tuple, grid.getTier("anna").entries)) == [
        (0.25, 1.5, 'Ünlü "söz"'),
        (3661.001, 3662.0, "今日は <いい> & 天気"),
    ]
    assert list(map(tuple, grid.getTier("anna - words").entries)) == [(0.25, 0.5, "Ünlü"), (0.75, 1.0, '"söz"')]
    grid.save(str(folder / "b.TextGrid"), form, includeBlankSpaces=True)
    assert read_timed(folder / "b.TextGrid") == read_timed(folder / "a.TextGrid")
    text = (folder / "b.TextGrid").read_text(encoding="utf-8")
    (folder / "c.TextGrid").write_text(text, encoding="utf-16")  # as Praat saves what is not ASCII
    assert read_timed(folder / "c.TextGrid") == read_timed(folder / "a.TextGrid")
