"""What is checked of an export once it is written: every tensor reads back, and it is not its base in another place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qasr_train.errors import CheckpointError
from qasr_train.jobs.export import run as run_job
from qasr_train.jobs.settings.export import ExportConfig
from qasr_train.models import safetensors_files
from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.exporting.weights import Export
from qasr_train.models.exporting.write import write_export
from qasr_train.models.lora_files import save_adapter
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.qwen3_asr.layouts import save_native
from qasr_train.models.settings import AdaptConfig, ExportDtype, ExportLayout, LoraSettings
from tests.helpers_model import tiny_model, tiny_processor

LAYER = "model.language_model.layers.1.mlp.up_proj.weight"


def trained(folder: Path, change: Callable[[torch.Tensor], object]) -> Path:
    """The checkpoint of a run over folder/base, which differs from that by what `change` does to LAYER."""
    save_native(tiny_model(), tiny_processor(), folder / "base")
    model = tiny_model()
    with torch.no_grad():
        change(model.get_parameter(LAYER))
    save_native(model, tiny_processor(), folder / "run/checkpoints/step_1")
    record = {"recipe": "finetune", "config": {"model": {"path": str(folder / "base")}}}
    (folder / "run/run.json").write_text(json.dumps(record))
    return folder / "run/checkpoints/step_1"


def exported(checkpoint: Path, out: Path, **settings: Any) -> None:
    run_job(ExportConfig(checkpoint=str(checkpoint), out=str(out), **settings))


@pytest.mark.parametrize("layout", ["native", "original"])
def test_what_differs_from_the_base_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, layout: str
) -> None:
    exported(trained(tmp_path, lambda w: w.add_(0.5)), tmp_path / "out", layout=ExportLayout(layout))
    assert capsys.readouterr().out.endswith("weights in bfloat16; 1 of 69 tensors differ from the base's\n")
    assert caplog.text == ""


def test_a_run_that_learned_nothing_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    exported(trained(tmp_path, lambda w: w), tmp_path / "out", dtype=ExportDtype.float32)
    assert "; 0 of 69 tensors differ from the base's\n" in capsys.readouterr().out
    assert caplog.text.endswith("no weight differs from the base's: the run has learned nothing\n")


def test_what_rounding_takes_away_is_said_with_the_format_that_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = trained(tmp_path, lambda w: w[0, 0].mul_(1 + 2**-20))  # bfloat16 keeps 8 bits
    exported(checkpoint, tmp_path / "rounded")
    assert "learned nothing, or what it learned is lost in bfloat16 (try dtype=float32)" in caplog.text
    exported(checkpoint, tmp_path / "whole", dtype=ExportDtype.float32)
    assert "1 of 69 tensors differ" in capsys.readouterr().out


def test_strength_0_is_the_base(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exported(trained(tmp_path, lambda w: w.add_(0.5)), tmp_path / "out", strength=0.0)
    assert "this is the base itself, as strength=0 says" in caplog.text


def test_an_adapter_without_an_update_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    save_native(tiny_model(), tiny_processor(), tmp_path / "base")
    lora = AdaptConfig(lora=LoraSettings(rank=2, decoder=["q_proj"]))  # B begins as zero
    save_adapter(apply_adaptation(tiny_model(), lora, PARTS), tmp_path / "adapter", base="../base")
    exported(tmp_path / "adapter", tmp_path / "out", layout=ExportLayout.adapter)
    assert "; 0 of 2 updates are not zero\n" in capsys.readouterr().out
    assert "the run has learned nothing" in caplog.text


def test_a_base_that_is_not_here_is_not_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = trained(tmp_path, lambda w: w.add_(0.5))
    record = {"recipe": "finetune", "config": {"model": {"path": "no/where"}}}
    (tmp_path / "run/run.json").write_text(json.dumps(record))
    exported(checkpoint, tmp_path / "out")
    assert capsys.readouterr().out.endswith("weights in bfloat16\n")


@pytest.mark.parametrize("layout", ["native", "original"])
def test_an_export_that_reads_back_otherwise_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    checkpoint = trained(tmp_path / "work", lambda w: w.add_(0.5))
    write = safetensors_files.write_tensors

    def flip(tensors: dict[str, torch.Tensor], file: Path, **settings: Any) -> None:
        changed = next(name for name in tensors if name.endswith("layers.1.mlp.up_proj.weight"))
        write({**tensors, changed: tensors[changed] * -1}, file, **settings)

    monkeypatch.setattr(safetensors_files, "write_tensors", flip)
    with pytest.raises(CheckpointError, match=f"{LAYER} does not read back as it was written; nothing is kept"):
        exported(checkpoint, tmp_path / "out", layout=ExportLayout(layout))
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_a_check_sees_the_finished_folder_and_what_it_refuses_is_not_kept(tmp_path: Path) -> None:
    checkpoint = trained(tmp_path / "work", lambda w: w.add_(0.5))

    def check(folder: Path, written: Export) -> None:
        assert (written.layout, written.dtype) == (ExportLayout.native, ExportDtype.bfloat16)
        assert (folder / "README.md").is_file() and (folder / "model.safetensors").is_file()
        raise CheckpointError("no")

    export = Export(str(checkpoint), None, ExportDtype.auto, [], 1.0, None, None)
    with pytest.raises(CheckpointError, match="no"):
        write_export(export, tmp_path / "out", check)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
