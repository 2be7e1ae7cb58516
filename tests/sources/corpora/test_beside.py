"""Files of times beside recordings."""

import logging
from pathlib import Path

import pytest

from qasr_train.errors import DataError
from qasr_train.manifest import Utterance
from qasr_train.sources.settings import SourceConfig, SourceFormat
from qasr_train.sources.source import load_utterances
from qasr_train.timed.base import TimedSegment, TimedWord
from qasr_train.timed.formats import write_timed
from tests.helpers import tone, write_wav

SEGMENTS = [
    TimedSegment(0.5, 1.5, "one\nline", (TimedWord("one", 0.5, 0.9), TimedWord("line", 1.0, 1.5)), "anna"),
    TimedSegment(3.0, 3.75, "two", (TimedWord("two", 3.0, 3.75),), "anna"),
]


def load(path: Path) -> list[Utterance]:
    return load_utterances(SourceConfig(path=str(path)), "s")


@pytest.mark.parametrize(
    ("suffix", "name"),
    [(".srt", "srt"), (".vtt", "vtt"), (".ctm", "ctm"), (".stm", "stm"), (".TextGrid", "textgrid")],
)
def test_a_segment_is_an_utterance_of_the_recording_beside_it(suffix: str, name: str, tmp_path: Path) -> None:
    write_wav(tmp_path / "in" / "call.wav", tone(4.0))
    write_timed(tmp_path / "in" / f"call{suffix}", SEGMENTS, name, "call")
    for path in (tmp_path, tmp_path / "in" / f"call{suffix}"):  # a folder, the file
        first, second = load(path)
        assert (first.text, first.start_s, first.end_s, first.speaker) == ("one line", 0.5, 1.5, "anna")
        assert (second.text, second.duration_s, second.audio) == ("two", 0.75, str(tmp_path / "in" / "call.wav"))
    assert (first.id, load(tmp_path)[0].id) == ("call-0001", "in/call-0001")


def test_words_of_a_ctm_and_a_textgrid_keep_their_times(tmp_path: Path) -> None:
    for name, suffix in (("ctm", ".ctm"), ("textgrid", ".TextGrid")):
        write_wav(tmp_path / name / "call.wav", tone(4.0))
        write_timed(tmp_path / name / f"call{suffix}", SEGMENTS, name, "call")
        assert [one.words for one in load(tmp_path / name)] == [one.words for one in SEGMENTS]


EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT><TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="t1" TIME_VALUE="500"/><TIME_SLOT TIME_SLOT_ID="t2" TIME_VALUE="1500"/><TIME_SLOT TIME_SLOT_ID="t3"/>
</TIME_ORDER><TIER TIER_ID="A_utt" PARTICIPANT="Anna"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1"
TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t2"><ANNOTATION_VALUE>so &amp; so</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="t2" TIME_SLOT_REF2="t3"><ANNOTATION_VALUE>lost
</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER><TIER TIER_ID="A_en" PARENT_REF="A_utt"><ANNOTATION>
<REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1"><ANNOTATION_VALUE>thus</ANNOTATION_VALUE></REF_ANNOTATION>
</ANNOTATION></TIER></ANNOTATION_DOCUMENT>"""


def test_elan_gives_its_independent_tiers(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(2.0))
    (tmp_path / "a.eaf").write_text(EAF)
    [one] = load(tmp_path / "a.eaf")
    assert (one.text, one.speaker, one.start_s, one.end_s) == ("so & so", "Anna", 0.5, 1.5)
    (tmp_path / "a.eaf").write_text(EAF.replace('REF2="t2"', 'REF2="t9"'))
    with pytest.raises(DataError, match=r"a\.eaf: annotation a1: names the time 't9'"):
        load(tmp_path / "a.eaf")
    (tmp_path / "a.eaf").write_text("<x>")
    with pytest.raises(DataError, match=r"a\.eaf:1: is no XML"):
        load(tmp_path / "a.eaf")


def test_pympi_writes_what_we_read(tmp_path: Path) -> None:
    pympi = pytest.importorskip("pympi", reason="the package pympi-ling is not installed (extra dev)")
    elan = pympi.Elan.Eaf(author="")
    elan.add_tier("anna")
    elan.add_annotation("anna", 250, 1500, "Ünlü <söz>")
    elan.to_file(str(tmp_path / "a.eaf"))
    write_wav(tmp_path / "a.wav", tone(2.0))
    [one] = load(tmp_path / "a.eaf")
    assert (one.text, one.speaker, one.start_s, one.end_s) == ("Ünlü <söz>", "anna", 0.25, 1.5)


def test_tiers_are_named_in_the_source_and_only_where_there_are_any(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(4.0))
    (tmp_path / "a.eaf").write_text(EAF)
    [one] = load_utterances(SourceConfig(path=str(tmp_path), tiers=["*_en"]), "s")
    assert (one.text, one.speaker, one.start_s) == ("thus", "Anna", 0.5)
    write_timed(tmp_path / "b.srt", SEGMENTS, "srt", "b")
    write_timed(tmp_path / "b.ctm", SEGMENTS, "ctm", "b")
    (tmp_path / "b.jsonl").write_text("")
    for name in ("b.srt", "b.ctm", "b.jsonl"):
        with pytest.raises(DataError, match=rf"{name}: has no tiers; leave tiers out"):
            load_utterances(SourceConfig(path=str(tmp_path / name), tiers=["x"]), "s")


def test_a_ctm_of_several_recordings_finds_each_by_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_wav(tmp_path / f"{name}.flac", tone(2.0))
    (tmp_path / "all.ctm").write_text("a 1 0.5 0.5 yes\nb 1 0.25 0.5 no\n")
    assert [(one.text, Path(str(one.audio)).name) for one in load(tmp_path)] == [("yes", "a.flac"), ("no", "b.flac")]


def test_a_cue_that_outlasts_the_sound_ends_with_it(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(2.0))
    write_timed(tmp_path / "a.srt", [TimedSegment(1.0, 3.5, "bye")], "srt", "a")
    assert load(tmp_path)[0].end_s == 2.0


def test_japanese_lines_are_joined_without_a_space(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(2.0))
    write_timed(tmp_path / "a.srt", [TimedSegment(0.0, 1.0, "今日は\nいい天気")], "srt", "a")
    assert load(tmp_path)[0].text == "今日はいい天気"


def test_what_is_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_wav(tmp_path / "a.wav", tone(2.0))
    write_wav(tmp_path / "b.wav", tone(2.0))
    write_timed(tmp_path / "a.srt", [TimedSegment(0.0, 1.0, "x"), TimedSegment(1.0, 1.0, "y")], "srt", "a")
    write_timed(tmp_path / "c.srt", [TimedSegment(0.0, 1.0, "x")], "srt", "c")
    with caplog.at_level(logging.WARNING):
        assert len(load(tmp_path)) == 1
    for told in ("1 segments without text or length", "1 transcripts without a recording are left out, such as c.srt",
                 "1 recordings without a transcript are left out, such as b.wav"):  # fmt: skip
        assert told in caplog.text


def test_two_files_about_one_recording_are_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(2.0))
    for name in ("srt", "vtt"):
        write_timed(tmp_path / f"a.{name}", [TimedSegment(0.0, 1.0, "x")], name, "a")
    with pytest.raises(DataError, match=r"a\.vtt: speaks of a\.wav, as a\.srt does; keep one of the two"):
        load(tmp_path)
    assert len(load(tmp_path / "a.vtt")) == 1


@pytest.mark.parametrize(("name", "language"), [("jsonl", "German"), ("tsv", None)])
def test_json_lines_and_tsv_of_segments_are_read_where_the_format_is_named(
    name: str, language: str | None, tmp_path: Path
) -> None:
    write_wav(tmp_path / "a.wav", tone(2.0))
    write_timed(tmp_path / f"a.{name}", [TimedSegment(0.5, 1.0, "ja", language="German")], name, "a")
    source = SourceConfig(path=str(tmp_path / f"a.{name}"), format=SourceFormat.timed)
    [one] = load_utterances(source, "s")
    assert (one.text, one.start_s, one.end_s, one.language) == ("ja", 0.5, 1.0, language)


def test_a_transcript_alone_is_refused(tmp_path: Path) -> None:
    write_timed(tmp_path / "c.srt", [TimedSegment(0.0, 1.0, "x")], "srt", "c")
    with pytest.raises(DataError, match=r"no recording lies beside c\.srt"):
        load(tmp_path / "c.srt")
