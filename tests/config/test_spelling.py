"""Text stays text: a text setting is taken as it was typed or written, wherever from; numbers and booleans stay what they are."""

from pathlib import Path

import pytest

from qasr_train.config.compose import expand_sweeps, open_folders
from qasr_train.config.load import load_config, register_schemas
from tests.config.test_load import sentence, write_tables

GIVEN = ["data.train.main.path=x.jsonl", "run_dir=r"]
# Each would be another text, or none, had it passed through a number, a boolean or null: 12, 5400 seconds, false, 202401, 1000.0.
SPELLINGS = ["0012", "1:30", "no", "2024_01", "1e3", "1.50", "+5", "True", "off", ".5", "0x1F", "1_000.0"]
OVERLAY = "# @package _global_\n"


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_text_in_yaml_is_taken_as_written(tmp_path: Path, spelling: str) -> None:
    overlay = f"{OVERLAY}run_dir: {spelling}\ndata: {{train: {{main: {{path: x, columns: {{text: {spelling}}}}}}}}}\n"
    config = load_config("example", ["experiment=e"], write_tables(tmp_path, {"experiment/e.yaml": overlay}))
    assert config.run_dir == spelling
    assert config.data.train["main"].columns == {"text": spelling}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_text_on_the_command_line_is_taken_as_typed(tmp_path: Path, spelling: str) -> None:
    tables = write_tables(tmp_path, {})
    typed = [f"run_dir={spelling}", "data.train.main.path=x", f"data.train.main.columns.text={spelling}"]
    config = load_config("example", typed, tables)
    assert (config.run_dir, config.data.train["main"].columns) == (spelling, {"text": spelling})
    if ":" not in spelling:  # within braces the grammar's own mark
        whole = [*GIVEN, f"data.train.main.columns={{text: {spelling}, 2024_01: b}}"]
        assert load_config("example", whole, tables).data.train["main"].columns == {"text": spelling, "2024_01": "b"}


def test_text_of_a_sweep_is_taken_as_typed(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {})
    register_schemas("example", tables)
    with open_folders("example", tables.search_dirs) as folders:
        jobs = expand_sweeps(folders, ["run_dir=0012,1e3,2024_01,True", "seed=range(1,3)"])
        chosen = expand_sweeps(folders, ["run_dir=choice(1e3,no)"])
    assert [job[0] for job in jobs[::2]] == ["run_dir=0012", "run_dir=1e3", "run_dir=2024_01", "run_dir=True"]
    assert [job[1] for job in jobs[:2]] == ["seed=1", "seed=2"]
    assert chosen == [["run_dir=1e3"], ["run_dir=no"]]


def test_numbers_and_booleans_are_still_read_as_such(tmp_path: Path) -> None:
    tables = write_tables(
        tmp_path, {"trainer/odd.yaml": "defaults: [trainer_schema, _self_]\nmax_steps: 1_000\nis_logged: no\n"}
    )
    written = load_config("example", [*GIVEN, "trainer=odd"], tables).trainer
    assert (written.max_steps, written.is_logged) == (1000, False)
    typed = load_config(
        "example", [*GIVEN, "trainer.max_steps=1_000", "trainer.betas=[0,5e-1]", "trainer.is_logged=false"], tables
    )
    assert (typed.trainer.max_steps, typed.trainer.betas, typed.trainer.is_logged) == (1000, [0.0, 0.5], False)


def test_the_file_merged_last_gives_the_spelling(tmp_path: Path) -> None:
    files = {
        "source/clips.yaml": "defaults: [source_schema, _self_]\npath: 0012\n",
        "experiment/e.yaml": OVERLAY + "data: {train: {main: {path: 012}}}\n",
        "experiment/same.yaml": OVERLAY + 'data: {train: {main: {path: "12"}}}\n',
    }
    tables = write_tables(tmp_path, files)
    for overrides, path in ([], "0012"), (["experiment=e"], "012"), (["experiment=same"], "12"):
        assert load_config("example", ["run_dir=r", *overrides], tables).data.train["main"].path == path


def test_a_name_that_yaml_reads_as_something_else_is_to_be_quoted(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {"experiment/e.yaml": f"{OVERLAY}data:\n  train:\n    no: {{path: x}}\n"})
    said = sentence(tables, "experiment=e")
    assert said.endswith("e.yaml:4: the key no reads as false, where a name is meant; put it in quotes")


def test_null_is_no_text_unless_quoted(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, {"experiment/e.yaml": f"{OVERLAY}run_dir: null\n"})
    meaning = "expected text (folder; where the run is written); if the word null is meant, put it in quotes"
    assert sentence(tables, GIVEN[0], "run_dir=null") == f"run_dir=null: {meaning}"
    assert sentence(tables, "experiment=e").endswith(f"experiment/e.yaml: run_dir=None: {meaning}")
    assert load_config("example", [GIVEN[0], "run_dir='null'"], tables).run_dir == "null"


def test_a_choice_is_named_as_typed(tmp_path: Path) -> None:
    trainer = "defaults: [trainer_schema, _self_]\nmax_steps: 3\n"
    tables = write_tables(tmp_path, {"trainer/2024_01.yaml": trainer})
    assert load_config("example", [*GIVEN, "trainer=2024_01"], tables).trainer.max_steps == 3


def test_a_text_by_an_alias_keeps_its_spelling(tmp_path: Path) -> None:
    overlay = f"{OVERLAY}run_dir: &name 0012\ndata: {{train: {{main: {{path: *name}}}}}}\n"
    config = load_config("example", ["experiment=e"], write_tables(tmp_path, {"experiment/e.yaml": overlay}))
    assert (config.run_dir, config.data.train["main"].path) == ("0012", "0012")
