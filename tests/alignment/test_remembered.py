"""What was aligned so far, through kills."""

from pathlib import Path

from qasr_train.alignment.remembered import Remembered
from qasr_train.alignment.text import Alignment
from qasr_train.timed.base import TimedWord

FIRST = Alignment((TimedWord("ein", 0.1, 0.25, 0.5), TimedWord("Häuschen", None, None, 0.125)), 0.25, 1.0625)
SECOND = Alignment((), 0.0)


def test_a_line_that_a_kill_cut_short_costs_its_text_alone(tmp_path: Path) -> None:
    path = tmp_path / "words.jsonl"
    with Remembered(path) as remembered:
        remembered.add("a", FIRST)
        remembered.add("b", FIRST)
    path.write_bytes(path.read_bytes()[:-9])
    with Remembered(path) as remembered:
        assert (remembered.get("a"), remembered.get("b")) == (FIRST, None)
        remembered.add("c", SECOND)  # not glued to what was cut short
    with Remembered(path) as remembered:
        assert [remembered.get(key) for key in "abc"] == [FIRST, None, SECOND]


def test_what_is_added_later_under_a_key_counts(tmp_path: Path) -> None:
    path = tmp_path / "words.jsonl"
    path.write_text('{"key": "a", "doubt": 0.25, "words": []}\n')  # of a version that told no duration
    with Remembered(path) as remembered:
        assert remembered.get("a") == Alignment((), 0.25, None)
        assert remembered.add("a", FIRST) == remembered.get("a") == FIRST
    with Remembered(path) as remembered:
        assert remembered.get("a") == FIRST
