"""A composition that was made before is taken again, and never where it would be another one now."""

import os
from pathlib import Path

import pytest

from qasr_train.config.compose import compose_config, open_folders
from qasr_train.config.load import Tables, load_config, register_schemas
from qasr_train.config.loader import RecordingLoader
from qasr_train.errors import ConfigError
from tests.config.test_load import GIVEN, write_tables
from tests.example_job import FILES, RECIPES, SCHEMAS


def max_steps(tables: Tables) -> int:
    return load_config("example", ["experiment=wide", *GIVEN], tables).trainer.max_steps


def write(path: Path, text: str) -> None:
    """Write a file whose time stamp differs from that of the one before it, however quickly that came."""
    last = path.stat().st_mtime_ns if path.exists() else 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(last + 10**9, last + 10**9))


def test_what_was_composed_before_is_not_composed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = write_tables(tmp_path, {})
    assert max_steps(tables) == 99
    monkeypatch.setattr(RecordingLoader, "load_configuration", None)
    assert max_steps(tables) == 99


def test_a_group_not_chosen_is_refused_though_its_help_was_shown_before(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {"example.yaml": FILES["example.yaml"].replace("model: small", "model: ???")})
    register_schemas("example", tables)
    with open_folders("example", tables.search_dirs) as folders:
        for _ in range(2):
            assert compose_config(folders, [], is_complete=False).choices["model"] == "???"
            with pytest.raises(ConfigError, match="model is missing: choose"):
                compose_config(folders, [])


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {"experiment/other.yaml": "# @package _global_\nseed: 1\n"})
    wide = tables.search_dirs[0] / "experiment" / "wide.yaml"
    assert max_steps(tables) == 99
    write(wide, "# @package _global_\ntrainer: {max_steps: 98}\n")
    assert max_steps(tables) == 98
    write(wide, "# @package _global_\ntrainer: {max_steps: 97}\n")  # as long as the one before
    assert max_steps(tables) == 97
    wide.unlink()
    with pytest.raises(ConfigError, match="experiment=wide: no such experiment"):
        max_steps(tables)


def test_a_file_that_comes_to_lie_in_front_of_another_is_read(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {})
    own = tmp_path / "own"
    write(own / "experiment" / "mine.yaml", "# @package _global_\ntrainer: {max_steps: 5}\n")
    both = Tables(RECIPES, SCHEMAS, (*tables.search_dirs, own))
    given = ["experiment=mine", *GIVEN]
    assert load_config("example", given, both).trainer.max_steps == 5
    write(tables.search_dirs[0] / "experiment" / "mine.yaml", "# @package _global_\ntrainer: {max_steps: 6}\n")
    assert load_config("example", given, both).trainer.max_steps == 6


def test_what_is_done_to_a_composed_tree_is_not_seen_by_the_next(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {})
    changed = ["trainer.max_steps=7", "data.train.main.columns.text=words", "+data.train.new.path=y"]
    before = load_config("example", GIVEN, tables)
    assert load_config("example", [*changed, *GIVEN], tables) != before
    assert load_config("example", GIVEN, tables) == before
    register_schemas("example", tables)
    with open_folders("example", tables.search_dirs) as folders:
        compose_config(folders, []).choices["model"] = "other"
        assert compose_config(folders, []).choices["model"] == "small"


def test_settings_of_hydra_itself_are_refused_in_a_file_too(tmp_path: Path) -> None:
    tables = write_tables(
        tmp_path,
        {
            "experiment/key.yaml": "# @package _global_\nhydra: {run: {dir: x}}\n",
            "experiment/group.yaml": "# @package _global_\ndefaults:\n- override /hydra/launcher: basic\n",
        },
    )
    with pytest.raises(ConfigError, match=r"experiment/key.yaml: unknown key hydra"):
        load_config("example", ["experiment=key", *GIVEN], tables)
    with pytest.raises(ConfigError, match=r"experiment/group.yaml: example has no group hydra/launcher"):
        load_config("example", ["experiment=group", *GIVEN], tables)
