"""The column `words`: when the words of a transcript were said, from manifests to utterances and back."""

import json
from pathlib import Path

import pytest

from qasr_train.errors import DataError
from qasr_train.manifest import write_manifest
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_table, load_utterances
from qasr_train.timed.base import TimedWord
from tests.helpers import write_wav

ROW = {"audio": "a.wav", "text": "two pills", "duration": 1.0}
WORDS = [{"text": "two", "start": 0.1, "end": 0.4}, {"text": "pills", "start": None, "end": 0.9}]


def written(tmp_path: Path, *rows: dict) -> SourceConfig:
    path = tmp_path / "m.jsonl"
    write_wav(tmp_path / "a.wav")
    path.write_text("".join(json.dumps(ROW | row) + "\n" for row in rows))
    return SourceConfig(path=str(path))


def test_words_come_with_their_times_and_go_back_as_they_came(tmp_path: Path) -> None:
    [first, second] = load_table(written(tmp_path, {"id": "a", "words": WORDS}, {"id": "b"}), "main", key="x")
    assert first.words == (TimedWord("two", 0.1, 0.4), TimedWord("pills", None, 0.9)) and second.words == ()
    write_manifest(tmp_path / "again.jsonl", [first, second])
    rows = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    assert rows[0]["words"] == WORDS and "words" not in rows[1]


def test_a_column_of_that_name_that_holds_another_thing_is_left_alone_unless_asked_for(tmp_path: Path) -> None:
    source = written(tmp_path, {"words": ["two", "pills"]}, {"words": ["x"]})
    assert [one.words for one in load_utterances(source, "main")] == [(), ()]
    asked = SourceConfig(path=source.path, columns={"words": "words"})
    with pytest.raises(
        DataError, match=r"m.jsonl:1: words: a word is 'two'; expected an object with text, start and end"
    ):
        load_utterances(asked, "main")


def test_a_word_that_ends_before_it_begins_is_refused_by_its_line(tmp_path: Path) -> None:
    source = written(tmp_path, {"words": [{"text": "two", "start": 0.4, "end": 0.1}]})
    with pytest.raises(DataError, match=r"m.jsonl:1: words: word 'two'"):
        load_utterances(source, "main")
