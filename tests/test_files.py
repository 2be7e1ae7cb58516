"""Files written all or nothing: what stood there stays when writing fails, and no half file is left beside it."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qasr_train.files import (
    FreeNames,
    files_below,
    open_lines,
    os_error_sentence,
    parse_json,
    whole_file,
    without_moving_links,
    write_json,
    write_rows,
    write_whole,
)


def test_the_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path, is_synced=True) as out:
        out.write("ß")
        out.flush()
        assert not path.exists()
    assert path.read_bytes() == "ß".encode()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("in the middle"), KeyboardInterrupt()], ids=repr)
def test_what_stood_there_stays_where_writing_fails(tmp_path: Path, error: BaseException) -> None:
    def rows() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        raise error

    path = tmp_path / "rows.jsonl"
    assert write_rows(path, [{"text": "é"}, {}]) == 2
    with pytest.raises(type(error)):
        write_rows(path, rows())
    assert path.read_text(encoding="utf-8") == '{"text": "é"}\n{}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_none_is_the_error_and_not_the_tidying_up(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        write_whole(tmp_path / "file" / "a.txt", "x")


def test_half_a_surrogate_pair_is_an_error_unless_it_may_be_replaced(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "a.txt", "\ud800")
    write_whole(tmp_path / "a.txt", "\ud800", errors="replace")
    assert (tmp_path / "a.txt").read_text() == "?"


def test_json_is_indented_unicode_with_a_line_end(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"text": "é", "rate": 0.5, "list": [1]})
    assert path.read_bytes() == '{\n  "text": "é",\n  "rate": 0.5,\n  "list": [\n    1\n  ]\n}\n'.encode()


def test_no_number_is_an_error_where_it_may_not_be(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("inf")}, allow_nan=False)
    assert path.read_text() == '{\n  "a": NaN\n}\n'


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "x.txt: no space left on the disk; free some, or choose another output folder"),
        (errno.EROFS, "x.txt: cannot be read or written (Read-only file system); choose a place where you may"),
        (errno.EISDIR, "x.txt: is a folder; choose another path"),
        (errno.EIO, None),
    ],
)
def test_what_a_failure_of_the_disk_says(number: int, sentence: str | None) -> None:
    assert os_error_sentence(OSError(number, os.strerror(number), "x.txt")) == sentence
    assert os_error_sentence(OSError(number, os.strerror(number)), Path("x.txt")) == sentence


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deep"),
        ("[" + "9" * 5000 + "]", "a whole number of thousands of digits"),
        (b'{"a": "\xff"}', "no UTF-8 text"),
        ("{", "Expecting property name"),
    ],
    ids=["arrays", "objects", "digits", "bytes", "cut off"],
)
def test_json_of_any_kind_of_wrong_is_one_kind_of_error(text: str | bytes, words: str) -> None:
    with pytest.raises(json.JSONDecodeError, match=words):
        parse_json(text)


def test_links_that_move_on_give_way_to_the_folder_they_lead_to(tmp_path: Path) -> None:
    step, elsewhere = tmp_path / "checkpoints" / "step_000100", tmp_path / "disk"
    (step / "adapter").mkdir(parents=True)
    (tmp_path / "checkpoints" / "last").symlink_to("step_000100")
    elsewhere.symlink_to(tmp_path / "checkpoints")
    for typed, recorded in {
        "checkpoints/last": "checkpoints/step_000100",
        "checkpoints/last/adapter": "checkpoints/step_000100/adapter",
        "disk/last": "disk/step_000100",
        "disk": "disk",  # leads to another place
        "checkpoints/gone": "checkpoints/gone",
    }.items():
        assert without_moving_links(f"{tmp_path}/{typed}") == f"{tmp_path}/{recorded}"
    assert without_moving_links("bundled:tiny") == "bundled:tiny"


def test_a_name_is_given_out_once() -> None:
    names = FreeNames()
    assert [names.take(one) for one in ("a", "a-2", "a", "b", "a")] == ["a", "a-2", "a-3", "b", "a-4"]


def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.wav").touch()
    scandir = os.scandir

    def closed(path: str) -> object:  # root may read whatever its mode says
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(PermissionError, match="closed"):
        files_below(tmp_path, [".wav"])


def test_folders_are_read_without_what_is_hidden_and_through_links(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.wav", "._a.wav", "b.WAV", "notes.txt", ".git/c.wav", "__MACOSX/d.wav", "deep/e.wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "f.wav").touch()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "elsewhere").symlink_to(tmp_path / "in")  # a circle
    (tmp_path / "in" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    with caplog.at_level("INFO"):
        found = files_below(tmp_path / "in", [".wav"])
    assert [str(path.relative_to(tmp_path / "in")) for path in found] == [
        "a.wav",
        "b.WAV",
        "deep/e.wav",
        "linked/f.wav",
    ]
    assert caplog.messages == [f"{tmp_path / 'in'}: 1 hidden files are left out, such as ._a.wav"]


def test_a_line_that_a_kill_cut_short_does_not_take_the_next_one_along(tmp_path: Path) -> None:
    path = tmp_path / "done.jsonl"
    for row in ("{}", '{"text": "é"}'):
        with open_lines(path) as lines:
            lines.write(f"{row}\n")
    path.write_bytes(path.read_bytes()[:-3])
    with open_lines(path) as lines:
        lines.write("[]\n")
    assert path.read_bytes() == '{}\n{"text": "é\n[]\n'.encode()
