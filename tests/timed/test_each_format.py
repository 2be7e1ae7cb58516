"""Files as other programs write them, and what is wrong in a file."""

import json
from collections.abc import Callable

import pytest

from qasr_train.errors import DataError
from qasr_train.timed import ctm, jsonl, srt, stm, tsv, txt, vtt
from qasr_train.timed.base import TimedSegment, TimedWord
from qasr_train.timed.tiers import textgrid


def test_srt_as_players_write_it() -> None:
    text = (
        "1\n00:00:01.000 --> 00:00:02,5 X1:40 X2:600\n{\\an8}<i>One</i>\ntwo < three\n\n\n"
        "00:00:03,000 --> 00:00:04,000\nfour\n"
    )
    assert srt.segments_of(text, "a") == [
        TimedSegment(1.0, 2.5, "One\ntwo < three"),
        TimedSegment(3.0, 4.0, "four"),
    ]


def test_an_empty_cue_of_srt_has_no_text() -> None:
    assert (
        srt.segments_of("1\n00:00:01,000 --> 00:00:02,000\n\n2\n00:00:02,000 --> 00:00:03,000\nb\n", "a")[0].text == ""
    )


def test_a_blank_line_in_a_text_does_not_end_the_cue() -> None:
    assert srt.segments_of(srt.text_of([TimedSegment(0.0, 1.0, "a\n\nb")]), "a") == [TimedSegment(0.0, 1.0, "a\nb")]


def test_vtt_with_notes_styles_settings_and_voices() -> None:
    text = (
        "WEBVTT - a title\nKind: captions\n\nNOTE\nnot a cue\n\nSTYLE\n::cue { color: red }\n\n"
        "intro\n00:01.000 --> 00:02.000 line:0\n<v.loud Anna Bell>Q&amp;A <00:00:01.500><c>now</c></v>\n"
    )
    assert vtt.segments_of(text, "a") == [TimedSegment(1.0, 2.0, "Q&A now", speaker="Anna Bell")]


def test_vtt_escapes_what_would_be_markup() -> None:
    segment = TimedSegment(0.0, 1.0, "a <b> & c --> d", speaker="x > y")
    text = vtt.text_of([segment])
    assert "a &lt;b&gt; &amp; c --&gt; d" in text
    assert vtt.segments_of(text, "a") == [segment]


def test_ctm_of_several_recordings_and_channels() -> None:
    text = ";; made by hand\na A 0.5 0.25 yes 0.9\na B 0.75 0.25 no\nb 1 1 0.5 well\n"
    recordings = ctm.recordings_of(text, "x")
    assert [(one.speaker, one.text, one.words) for one in recordings["a"]] == [
        ("A", "yes", (TimedWord("yes", 0.5, 0.75, 0.9),)),
        ("B", "no", (TimedWord("no", 0.75, 1.0),)),
    ]
    assert recordings["b"][0].speaker == ""
    with pytest.raises(DataError, match=r"x: is about 2 recordings \(a, b, \.\.\.\); expected one"):
        ctm.segments_of(text, "x")


def test_ctm_marks_what_it_does_not_know() -> None:
    text = ctm.text_of([TimedSegment(1.0, 3.0, "two words")], "my call")
    assert text == (
        ";; segments without word times: each of their words carries the times of its segment\n"
        "my_call 1 1.000 2.000 two\nmy_call 1 1.000 2.000 words\n"
    )
    unplaced = TimedSegment(1.0, 3.0, "b c", (TimedWord("b", None, None), TimedWord("c", 1.0, 2.0)))
    assert ctm.text_of([unplaced], "a") == ";; unplaced a 1 b\na 1 1.000 1.000 c\n"


def test_stm_as_tedlium_has_it() -> None:
    text = (
        ";; CATEGORY\ntalk 1 talk 0.00 4.00 <o,f0,unknown> ignore_time_segment_in_scoring\n"
        "talk 1 Anna 4.00 5.5 <o,f0,female> so it is\ntalk 1 unknown 6 7\n"
    )
    assert stm.segments_of(text, "a") == [
        TimedSegment(4.0, 5.5, "so it is", speaker="Anna"),
        TimedSegment(6.0, 7.0, ""),
    ]


def test_tsv_is_whispers() -> None:
    assert tsv.text_of([TimedSegment(0.0, 1.5, "a\tb")]) == "start\tend\ttext\n0\t1500\ta b\n"


def test_txt_names_speakers_and_leaves_out_silence() -> None:
    segments = [
        TimedSegment(0.0, 1.0, "a\nb"),
        TimedSegment(1.0, 2.0, " "),
        TimedSegment(2.0, 3.0, "c", speaker="anna"),
    ]
    assert txt.text_of(segments) == "a b\nanna: c\n"


SHORT_TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
2.5
<exists>
3
"IntervalTier"
"anna - words"
0
2.5
3
0
0.5
""
0.5
1
"say"
1
2.5
"""


def test_textgrid_of_the_short_form_with_words_phones_and_points() -> None:
    text = (
        SHORT_TEXTGRID
        + '"""x"""\n"IntervalTier"\n"anna - phones"\n0\n2.5\n1\n0\n2.5\n"s"\n"TextTier"\n"click"\n0\n2.5\n1\n0.3\n"!"\n'
    )
    assert textgrid.segments_of(text, "a") == [
        TimedSegment(0.5, 2.5, 'say "x"', (TimedWord("say", 0.5, 1.0), TimedWord('"x"', 1.0, 2.5)), "anna")
    ]


def test_textgrid_has_no_overlap_and_no_interval_without_length() -> None:
    words = (TimedWord("a", 1.0, 1.0), TimedWord("b", 1.0, 2.0), TimedWord("c", None, None))
    text = textgrid.text_of([TimedSegment(0.0, 2.0, "a b c", words), TimedSegment(1.5, 3.0, "d")])
    first, second = textgrid.segments_of(text, "a")
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (0.0, 2.0, 2.0, 3.0)
    assert first.words == (TimedWord("a", 1.0, 1.001), TimedWord("b", 1.001, 2.0))
    assert '"unplaced"' in text and '"c"' in text


@pytest.mark.parametrize(
    ("read", "text", "sentence"),
    [
        (srt.segments_of, "hello\n", r"a:1: 'hello' starts no cue"),
        (srt.segments_of, "1\n00:00:02,000 --> 00:00:01,000\nx\n", r"a:2: ends at 1 s, before its start at 2 s"),
        (srt.segments_of, "1\n00:00:02,000 -->\nx\n", r"a:2: '' is no time"),
        (vtt.segments_of, "1\n", r"a:1: does not begin with WEBVTT"),
        (vtt.segments_of, "WEBVTT\n\nhello\n", r"a:3: 'hello' starts no cue"),
        (ctm.segments_of, "a 1 0.5\n", r"a:1: has 3 fields"),
        (ctm.segments_of, "a 1 x 0.5 b\n", r"a:1: 'x' is no time"),
        (stm.segments_of, "a 1 b 0\n", r"a:1: 'a 1 b 0' is too short"),
        (stm.segments_of, "a 1 b nan 1 c\n", r"a:1: 'nan' is no time"),
        (tsv.segments_of, "from\tto\n", r"a:1: has the columns 'from, to'"),
        (tsv.segments_of, "start\tend\ttext\n0\t1\n", r"a:2: has 2 columns, the first line 3"),
        (jsonl.segments_of, "{\n", r"a:1: is no JSON"),
        (jsonl.segments_of, '{"start": 0, "text": "x"}\n', r"a:1: has no start, end or text"),
        (
            jsonl.segments_of,
            '{"start": 0, "end": 1, "text": "x", "words": [{"text": "x", "start": "0"}]}',
            r"a:1: start is '0'",
        ),
        (textgrid.segments_of, "hello", r"a: is no TextGrid of text"),
        (textgrid.segments_of, SHORT_TEXTGRID, r"a: ends too early"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(read: Callable[[str, str], object], text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read(text, "a")


def test_json_lines_keep_how_sure_a_segment_is() -> None:
    segment = TimedSegment(0.0, 1.0, "a", language="English", confidence=0.75)
    text = jsonl.text_of([segment], "r")
    assert json.loads(text) == {
        "recording": "r", "start": 0.0, "end": 1.0, "text": "a", "language": "English", "confidence": 0.75
    }  # fmt: skip
    assert jsonl.segments_of(text, "x") == [segment]
