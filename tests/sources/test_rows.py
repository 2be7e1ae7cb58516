"""A row of any table: which column is which field, ids, languages, spans, and a sentence for each mistake."""

from pathlib import Path
from typing import Any

import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.manifest import Utterance
from tests.helpers_sources import fields, load, write_rows


def test_our_own_manifest_gives_every_field(folder: Path) -> None:
    row = {
        "version": 1,
        "id": "u1",
        "audio": "wav/a.wav",
        "text": " good day ",
        "language": "en-US",
        "speaker": 7,
        "start_s": 0.02,
        "end_s": 0.08,
        "context": ["aspirin", "ibuprofen"],
        "split": "train",
    }
    (utterance,) = load(write_rows(folder / "m.jsonl", row))
    assert utterance == Utterance(
        id="u1",
        audio=str(folder / "wav/a.wav"),
        text="good day",
        language="English",
        speaker="7",
        duration_s=0.06,
        start_s=0.02,
        end_s=0.08,
        context="aspirin, ibuprofen",
        split="train",
        origin=f"{folder / 'm.jsonl'}:1",
    )


def test_official_text_prefix_states_the_language(folder: Path) -> None:
    path = write_rows(
        folder / "official.jsonl",
        {"audio": "wav/a.wav", "text": "language English<asr_text>good day"},
        {"audio": "wav/b.wav", "text": "language None<asr_text>who knows"},
        {"audio": "wav/c.wav", "text": "language None<asr_text>"},
        {"audio": "wav/a.wav", "text": "no prefix"},
    )
    # An explicit None stays unknown; the default is for rows that state nothing.
    assert fields(load(path, language="de"), "text", "language") == [
        ("good day", "English"),
        ("who knows", None),
        ("", None),
        ("no prefix", "German"),
    ]


def test_prefix_and_column_that_disagree_are_refused(folder: Path) -> None:
    row = {"audio": "wav/a.wav", "text": "language English<asr_text>good day", "language": "fr"}
    with pytest.raises(DataError, match=r"m.jsonl:1: the text says language 'English', the language column 'fr'"):
        load(write_rows(folder / "m.jsonl", row))


def test_nemo_offset_and_duration_cut_the_recording(folder: Path) -> None:
    path = write_rows(
        folder / "nemo.json",
        {"audio_filepath": "wav/c.wav", "duration": 0.1, "text": "one", "offset": 0.15},
        {"audio_filepath": "wav/c.wav", "duration": 0.3, "text": "two"},
    )
    assert fields(load(path), "id", "start_s", "end_s", "duration_s") == [
        ("c", 0.15, 0.25, 0.1),
        ("c-2", None, None, 0.3),
    ]


def test_empty_text_is_no_speech_and_null_text_is_not_known(folder: Path) -> None:
    path = write_rows(
        folder / "m.jsonl",
        {"audio": "wav/a.wav", "text": ""},
        {"audio": "wav/b.wav", "text": None},
    )
    assert fields(load(path), "text") == [("",), (None,)]


def test_a_named_column_wins_over_a_guessed_one(folder: Path) -> None:
    path = write_rows(folder / "m.jsonl", {"audio": "wav/a.wav", "text": "Good day.", "normalized": "good day"})
    assert load(path, columns={"text": "normalized"})[0].text == "good day"


def test_a_missing_column_lists_those_there_are(folder: Path) -> None:
    path = write_rows(folder / "m.jsonl", {"audio": "wav/a.wav", "words": "good day", "who": "x"})
    with pytest.raises(DataError) as error:
        load(path)
    assert str(error.value) == (
        f"{path}:1: lacks a column for `text`; it has audio, words, who; name the right one with columns.text=COLUMN"
    )
    with pytest.raises(DataError, match=r"lacks the column 'wrds' that columns.text names; it has audio, words, who"):
        load(path, columns={"text": "wrds"})
    with pytest.raises(DataError, match=r"no row has the column 'spaeker' that columns.speaker names"):
        load(path, columns={"text": "words", "speaker": "spaeker"})
    with pytest.raises(ConfigError, match=r"source.columns.txet: no such field; choose from id, audio, text"):
        load(path, columns={"txet": "words"})


def test_ids_are_the_rows_own_or_the_file_names(folder: Path) -> None:
    path = write_rows(
        folder / "m.jsonl",
        {"audio": "wav/a.wav", "text": "1"},
        {"audio": "other/a.wav", "text": "2"},
        {"audio": "wav/b.wav", "text": "3", "id": "a-3"},
        {"audio": "wav/a.wav", "text": "4"},
    )
    assert [u.id for u in load(path)] == ["a", "a-2", "a-3", "a-4"]


def test_an_id_that_repeats_is_refused_and_the_way_out_works(folder: Path) -> None:
    path = write_rows(
        folder / "m.jsonl",
        {"id": 5, "audio": "wav/a.wav", "text": "1"},
        {"id": 5, "audio": "wav/b.wav", "text": "2"},
    )
    with pytest.raises(DataError, match=r"m.jsonl:2: the id '5' stands twice in this source"):
        load(path)
    assert [u.id for u in load(path, columns={"id": ""})] == ["a", "b"]


def test_an_unknown_language_is_named_and_can_be_added(folder: Path) -> None:
    path = write_rows(folder / "m.jsonl", {"audio": "wav/a.wav", "text": "x", "lang": "Swahili"})
    with pytest.raises(DataError, match=r"m.jsonl:1: unknown language 'Swahili'; use one of Chinese, English"):
        load(path)
    assert load(path, new_languages=["Swahili"])[0].language == "Swahili"
    with pytest.raises(ConfigError, match=r"source.language: unknown language 'Klingon'"):
        load(path, language="Klingon")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{oops", r":2: this line is not JSON .*; expected one JSON object a line"),
        ("[1, 2]", r":2: expected a JSON object, got list"),
        ({"audio": "wav/b.wav", "text": 5}, r":2: the transcript is 5 \(int\); expected text"),
        (
            {"audio": "wav/b.wav", "text": "x", "duration": -1},
            r":2: utterance 'b' has duration_s=-1.0; expected seconds",
        ),
        ({"audio": "wav/b.wav", "text": "x", "duration": "long"}, r":2: duration='long' \(str\); expected seconds"),
        ('{"audio": "wav/b.wav", "text": "x", "duration": NaN}', r":2: utterance 'b' has duration_s=nan"),
        (
            {"audio": "wav/b.wav", "text": "x", "start": 2, "end": 1},
            r":2: utterance 'b' ends at 1.0 s, not after its start",
        ),
        ({"audio": "", "text": "x"}, r":2: audio='' \(str\); expected the path or the bytes"),
        ({"audio": 3, "text": "x"}, r":2: audio=3 \(int\); expected the path or the bytes"),
        ({"audio": {"array": [0.1], "sampling_rate": 16000}, "text": "x"}, r":2: audio=.*dict.*expected the path"),
        ({"audio": "wav/b.wav", "text": "x", "speaker": {"name": "y"}}, r":2: speaker=.*expected text or a number"),
        ({"audio": "wav/b.wav", "text": "x", "language": 3}, r":2: the language is 3 \(int\); expected a name"),
        ({"audio": "wav/b.wav", "text": "x", "context": 3}, r":2: the context is 3 \(int\); expected text or a list"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(folder: Path, row: Any, words: str) -> None:
    path = write_rows(folder / "m.jsonl", {"audio": "wav/a.wav", "text": "fine"}, row)
    with pytest.raises(DataError, match=r"m.jsonl" + words) as error:
        load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@pytest.mark.parametrize(
    ("column", "stated", "channels"),
    [
        ("channel", [0, 1, ""], [0, 1, None]),
        ("channel_selector", [1, "average", 0.0], [1, None, 0]),
        ("channel_id", ["A", "b", " B "], [0, 1, 1]),
        ("Channel", ["left", "right", "2"], [0, 1, 2]),
    ],
)
def test_a_channel_is_found_under_its_names_and_spellings(
    folder: Path, kind: str, column: str, stated: list[Any], channels: list[int | None]
) -> None:
    rows = [{"audio": f"wav/{'abc'[i]}.wav", "text": "x", column: value} for i, value in enumerate(stated)]
    path = folder / f"m.{kind}"
    if kind == "jsonl":
        write_rows(path, *rows)
    else:
        path.write_text(f"audio,text,{column}\n" + "".join(f"{r['audio']},x,{r[column]}\n" for r in rows))
    assert fields(load(path), "channel") == [(channel,) for channel in channels]
    assert fields(load(path, columns={"channel": ""}), "channel") == [(None,)] * 3


def test_columns_that_may_be_spans_are_named_once_and_not_where_they_are_used(folder: Path, caplog: Any) -> None:
    row = {"audio": "wav/a.wav", "text": "x", "begin_time": 0.0, "end_time": 0.05}
    path = write_rows(folder / "m.jsonl", row, row)  # the name repeats, so the rows are read a second time
    load(path)
    assert [r.getMessage().partition(";")[0] for r in caplog.records] == [
        "source main: columns that are not used: begin_time, end_time"
    ]
    caplog.clear()
    load(path, columns={"start_s": "begin_time", "end_s": "end_time"})
    assert not caplog.records
