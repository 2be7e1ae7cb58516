"""Words of a command line that are files."""

from pathlib import Path

import pytest

from qasr_train.config.command_line import run_command_line
from qasr_train.config.compose import parse_override
from qasr_train.config.positional import files_as_setting
from qasr_train.errors import ConfigError
from qasr_train.jobs.recipes import PROJECT

KEYS = {"model", "decode", "out", "files"}


@pytest.mark.parametrize("name", ["a b.wav", "a=b,c.wav", "it's.wav", "back\\slash\\", "${x}.wav", "[1].wav", "ü{.wav"])
def test_a_path_is_kept_to_the_letter(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    [override] = files_as_setting([name], "files", KEYS)
    assert parse_override(override).value() == [name.replace("${", "\\${")]
    assert run_command_line("transcribe", [name, "model=tiny", "--cfg", "job"], PROJECT) == 0
    assert "files:\n- " in capsys.readouterr().out


def test_what_begins_like_a_setting_is_one_and_all_else_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model=1.wav").touch()
    words = ["model.path=x", "call.wav", "+decode.language=de", "./model=1.wav", "out=y"]
    assert files_as_setting(words, "files", KEYS) == [
        "model.path=x",
        "+decode.language=de",
        "out=y",
        "files=['call.wav','./model=1.wav']",
    ]


def test_a_misspelt_setting_is_no_file() -> None:
    with pytest.raises(
        ConfigError,
        match=r"modle\.path=x: no such file or folder, and no setting is called modle\.path \(did you mean model",
    ):
        files_as_setting(["modle.path=x"], "files", KEYS)


def test_files_are_given_in_one_way() -> None:
    with pytest.raises(ConfigError, match=r"'a\.wav' and files=\.\.\. both name files"):
        files_as_setting(["a.wav", "files=[b.wav]"], "files", KEYS)
