"""Where a checkpoint comes from: back through runs to a published model and its commit; what lies here alone stays unnamed."""

import json
from pathlib import Path
from typing import Any

import pytest

from qasr_train.models.exporting.origin import Published, find_origin, is_public

COMMIT = "5ac4e1fcae6fcb5ad4b0f9c1d5a7b4c0f0a7c001"


def make_run(folder: Path, path: str, **record: Any) -> Path:
    """A fine-tune of the model at `path`; returns its checkpoint."""
    checkpoint = folder / "checkpoints" / "step_1"
    checkpoint.mkdir(parents=True)
    content = {"recipe": "finetune", "config": {"model": {"path": path}}} | record
    (folder / "run.json").write_text(json.dumps(content))
    return checkpoint


def test_a_run_over_a_run_leads_to_the_commit_the_first_one_loaded(tmp_path: Path) -> None:
    first = make_run(tmp_path / "first", "owner/base", model={"path": "owner/base", "commit": COMMIT})
    second = make_run(tmp_path / "second", str(first), model={"path": str(first), "commit": None})
    assert find_origin(str(second), second, None).base == Published("owner/base", COMMIT)


def test_an_older_run_recorded_no_commit(tmp_path: Path) -> None:
    checkpoint = make_run(tmp_path / "run", "owner/base")
    assert find_origin(str(checkpoint), checkpoint, None).base == Published("owner/base", None)


def test_an_adapter_names_its_base_itself(tmp_path: Path) -> None:
    origin = find_origin("adapter", tmp_path, "owner/base", COMMIT)
    assert (origin.base, origin.base_hub_id, origin.run) == (Published("owner/base", COMMIT), "owner/base", {})
    bundled = find_origin("adapter", tmp_path, "bundled:tiny")
    assert (bundled.base_name, bundled.base_hub_id) == ("bundled:tiny", None)


def test_a_model_of_the_hub_s_cache_is_known_by_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "models--owner--base" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    assert find_origin("owner/base", folder, None).base == Published("owner/base", COMMIT)
    assert find_origin(str(tmp_path), tmp_path, None).base is None


def test_a_folder_here_that_reads_like_a_hub_id_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_public("clinic/model")
    (tmp_path / "clinic" / "model").mkdir(parents=True)
    assert not is_public("clinic/model") and not is_public(str(tmp_path)) and not is_public("None")
    assert is_public("bundled:tiny")


def test_hours_are_summed_and_languages_are_those_declared(tmp_path: Path) -> None:
    sources = {
        "a": {"path": "/x"},
        "b": {"path": "/y", "language": "cy", "new_languages": ["Welsh"]},
        "c": {"path": "/z"},
    }
    records = {
        "a": {"dataset": None, "hours": {"French": 1.0, "unknown": 5.0}},
        "c": {"dataset": "o/c", "hours": {"French": 0.5}},
    }
    data = {"model": {"path": "o/b"}, "data": {"train": sources}}
    checkpoint = make_run(tmp_path / "run", "o/b", config=data, sources=records)
    origin = find_origin(str(checkpoint), checkpoint, None)
    assert list(origin.hours.items()) == [("unknown", 5.0), ("French", 1.5)]
    assert origin.languages == ["French", "Welsh"] and origin.datasets == ["o/c"]
