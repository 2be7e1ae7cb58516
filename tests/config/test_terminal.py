"""What a manifest holds cannot command the terminal that a recipe prints to."""

import io
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from qasr_train.config.command_line import exit_status
from qasr_train.config.terminal import PlainStream
from qasr_train.errors import DataError
from qasr_train.files import Styled, visible, write_whole


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mRED\x1b]0;title\x07\x1b[2J", r"\x1b[31mRED\x1b]0;title\x07\x1b[2J"),
        ("\x9b31m \x7f \x00", r"\x9b31m \x7f \x00"),  # the one-byte form of ESC [
        ("one\rtwo", r"one\x0dtwo"),  # would write over what stands in the line
        ("abc\u202edef\u2069\u200f", r"abc\u202edef\u2069\u200f"),
        ("\ud800", r"\ud800"),
        ("na\u200cme é 中\tx\n\u0301", "na\u200cme é 中\tx\n\u0301"),  # joiners and accents are text
    ],
)
def test_characters_that_command_are_shown_as_escapes(text: str, shown: str, tmp_path: Path) -> None:
    assert visible(text) == shown
    stream = io.StringIO()
    assert PlainStream(stream).write(text) == len(text)
    assert stream.getvalue() == shown
    write_whole(tmp_path / "a.md", text)
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == shown


def test_data_files_keep_their_text(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.jsonl", "\x1b")
    assert (tmp_path / "a.jsonl").read_bytes() == b"\x1b"


def test_progress_bars_and_colours_of_ours_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, plain = io.StringIO(), io.StringIO()
    for target, out in ((stream, PlainStream(stream)), (plain, plain)):
        for position in (0, 1):
            bar = tqdm(total=2, file=out, position=position, mininterval=0, bar_format="{n}")  # type: ignore[call-overload]
            bar.update()
            bar.close()
        assert target.getvalue()
    assert stream.getvalue() == plain.getvalue()
    PlainStream(stream).write(Styled("\x1b[2mgrey"))
    assert stream.getvalue().endswith("\x1b[2mgrey")


def test_a_recipe_prints_and_ends_without_raw_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    def action() -> int:
        print("set \x1b[2J", file=sys.stdout)
        raise DataError("m.jsonl:1: the id '\x1b]0;x\x07' stands twice")

    before = sys.stdout
    assert exit_status(action) == 2
    assert sys.stdout is before
    said = capsys.readouterr()
    assert said.out == "set \\x1b[2J\n"
    assert said.err == "error: m.jsonl:1: the id '\\x1b]0;x\\x07' stands twice\n"
