"""Exports: each layout loads with the weights it should have, the card says where it comes from, mistakes leave nothing."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qasr_train.config.command_line import exit_status, run_command_line
from qasr_train.errors import CheckpointError, ConfigError, UserError
from qasr_train.jobs.export import export
from qasr_train.jobs.recipes import PROJECT, load_config
from qasr_train.jobs.settings.export import ExportConfig, ExportDtype, ExportLayout
from qasr_train.models.adapt import apply_adaptation, parameter_groups
from qasr_train.models.lora_files import merge_adapter, save_adapter
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.qwen3_asr.layouts import (
    Layout,
    detect_layout,
    load_checkpoint,
    load_checkpoint_with_adapter,
    save_native,
)
from qasr_train.models.settings import AdaptConfig, LoraSettings
from tests.helpers import ROOT
from tests.helpers_copies import start_script
from tests.helpers_model import tiny_model, tiny_processor

LAYER = "model.language_model.layers.0.self_attn.q_proj.weight"
EMBEDDINGS = "model.language_model.embed_tokens.weight"  # tied to the head


def adapted_model() -> torch.nn.Module:
    model = apply_adaptation(tiny_model(), AdaptConfig(lora=LoraSettings(rank=2, alpha=4.0, decoder=["q_proj"])), PARTS)
    with torch.no_grad():
        for _, parameter in parameter_groups(model, PARTS)["adapters"]:
            parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(5))
    return model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory as finetune.py leaves it: run.json, and a checkpoint with merged weights, adapter and state."""
    folder = tmp_path_factory.mktemp("work")
    save_native(tiny_model(), tiny_processor(), folder / "base")
    checkpoint = folder / "run" / "checkpoints" / "step_000100"
    save_native(merge_adapter(adapted_model()), tiny_processor(), checkpoint)
    save_adapter(adapted_model(), checkpoint / "adapter", base=str(folder / "base"))
    (checkpoint / "state").mkdir()
    state = {"step": 100, "audio_s": 5400.0, "num_utterances": 1250}
    (checkpoint / "state" / "train_state.json").write_text(json.dumps(state))
    (checkpoint.parent / "best").symlink_to("step_000100")
    source = {
        "path": "/secret/clinic/train.jsonl",
        "language": None,
        "passes_per_epoch": 2.0,
        "new_languages": ["Welsh"],
    }
    lora = {"rank": 2, "alpha": 4.0, "decoder": ["q_proj"], "encoder": [], "use_dora": False, "use_rslora": False}
    config = {
        "model": {"path": "Qwen/Qwen3-ASR-0.6B"},
        "data": {"train": {"target": source}},
        "adapt": {"trainable": [], "frozen": [], "lora": lora},
        "optim": {"lr": 2e-4},
        "seed": 7,
    }
    record = {"recipe": "finetune", "config": config, "git": {"commit": "0123456789abcdef", "is_dirty": True}}
    (folder / "run" / "run.json").write_text(json.dumps(record | {"versions": {"torch": "2.13.0", "peft": "0.21"}}))
    return folder / "run"


def make(run: Path, out: Path, **settings: object) -> Path:
    return export(ExportConfig(checkpoint=str(run / "checkpoints" / "best"), out=str(out), **settings))


def test_a_native_export_holds_the_merged_weights_in_bfloat16_and_every_file(run: Path, tmp_path: Path) -> None:
    out = make(run, tmp_path / "deep" / "out")
    assert {path.name for path in out.iterdir()} == {
        *("config.json", "model.safetensors", "generation_config.json", "processor_config.json", "README.md"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
    }
    stored = load_file(out / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    expected = merge_adapter(adapted_model()).state_dict()[LAYER]
    assert torch.equal(stored[LAYER], expected.to(torch.bfloat16))
    assert load_checkpoint(out)[0].dtype == torch.float32
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_an_original_export_holds_the_same_weights_and_the_new_language(run: Path, tmp_path: Path) -> None:
    out = make(run, tmp_path / "out", layout=ExportLayout.original, dtype=ExportDtype.float32)
    assert detect_layout(out) is Layout.ORIGINAL
    model, _ = load_checkpoint(out)
    expected = load_checkpoint(run / "checkpoints" / "best")[0].state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    languages = json.loads((out / "config.json").read_text())["support_languages"]
    assert len(languages) == 31 and languages[-1] == "Welsh"


@pytest.mark.parametrize("scale", [0.0, 0.5])
def test_a_weakened_export_lies_between_base_and_fine_tuned(run: Path, tmp_path: Path, scale: float) -> None:
    out = make(run, tmp_path / "out", strength=scale, dtype=ExportDtype.float32)
    base, tuned = tiny_model().state_dict()[LAYER], merge_adapter(adapted_model()).state_dict()[LAYER]
    torch.testing.assert_close(load_file(out / "model.safetensors")[LAYER], base + scale * (tuned - base))
    assert f"What training changed counts {scale:g} times as much" in (out / "README.md").read_text()


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_an_adapter_export_says_the_same_as_the_merged_one(run: Path, tmp_path: Path, scale: float) -> None:
    adapter = make(run, tmp_path / "a", layout=ExportLayout.adapter, strength=scale, dtype=ExportDtype.float32)
    assert {p.name for p in adapter.iterdir()} == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    merged = make(run, tmp_path / "m", strength=scale, dtype=ExportDtype.float32)
    opened, _ = load_checkpoint_with_adapter(adapter)
    ids = torch.arange(7)[None]
    with torch.no_grad():
        torch.testing.assert_close(opened(input_ids=ids).logits, load_checkpoint(merged)[0](input_ids=ids).logits)


def whole_checkpoint(folder: Path, seed: int) -> torch.Tensor:
    """A checkpoint without adapters, whose weights all differ from the base's; returns those of LAYER."""
    model = tiny_model()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    save_native(model, tiny_processor(), folder)
    return model.state_dict()[LAYER].clone()


def test_whole_checkpoints_are_averaged_and_pulled_towards_the_base_of_the_run(tmp_path: Path) -> None:
    save_native(tiny_model(), tiny_processor(), tmp_path / "base")
    steps = [tmp_path / "run" / "checkpoints" / f"step_{number}" for number in (1, 2, 3)]
    layers = torch.stack([whole_checkpoint(folder, seed) for seed, folder in enumerate(steps)])
    record = {"recipe": "finetune", "config": {"model": {"path": str(tmp_path / "base")}}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    settings = {"checkpoint": str(steps[0]), "average": [str(step) for step in steps[1:]], "dtype": ExportDtype.float32}
    export(ExportConfig(**settings, out=str(tmp_path / "mean")))
    stored = load_file(tmp_path / "mean" / "model.safetensors")
    torch.testing.assert_close(stored[LAYER], layers.mean(dim=0))
    export(ExportConfig(**settings, strength=0.25, out=str(tmp_path / "weak")))
    base = tiny_model().state_dict()
    weak = load_file(tmp_path / "weak" / "model.safetensors")
    torch.testing.assert_close(weak[LAYER], 0.75 * base[LAYER] + 0.25 * layers.mean(dim=0))
    torch.testing.assert_close(weak[EMBEDDINGS], base[EMBEDDINGS] + 0.25 * (stored[EMBEDDINGS] - base[EMBEDDINGS]))
    card = (tmp_path / "weak" / "README.md").read_text()
    assert "mean of 3 checkpoints; What training changed counts 0.25 times" in card


def test_an_adapter_cannot_hold_an_average(run: Path, tmp_path: Path) -> None:
    best = str(run / "checkpoints" / "best")
    with pytest.raises(ConfigError, match="average: gives whole weights"):
        make(run, tmp_path / "out", average=[best], layout=ExportLayout.adapter)
    with pytest.raises(ConfigError, match="is an adapter alone; name the checkpoints of the run"):
        export(ExportConfig(checkpoint=f"{best}/adapter", average=[best], out=str(tmp_path / "out")))


def test_checkpoints_of_another_run_are_not_averaged(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="average: bundled:tiny is not of the run of .*best; average checkpoints of one run"
    ):
        make(run, tmp_path / "out", average=["bundled:tiny"])
    assert not (tmp_path / "out").exists()


def test_models_of_other_sizes_are_not_blended(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="tiny: is not of the same architecture and sizes .* weights differ"):
        export(
            ExportConfig(
                checkpoint=str(run.parent / "base"), base="bundled:tiny", strength=0.5, out=str(tmp_path / "o")
            )
        )


def test_an_adapter_directory_is_merged_over_its_base(run: Path, tmp_path: Path) -> None:
    adapter = run / "checkpoints" / "best" / "adapter"
    config = ExportConfig(checkpoint=str(adapter), out=str(tmp_path / "out"), dtype=ExportDtype.float32)
    expected = merge_adapter(adapted_model()).state_dict()[LAYER]
    torch.testing.assert_close(load_file(export(config) / "model.safetensors")[LAYER], expected)


def test_the_card_tells_the_origin_and_no_path(run: Path, tmp_path: Path) -> None:
    text = (make(run, tmp_path / "out") / "README.md").read_text()
    assert "library_name: transformers\nlicense: apache-2.0\n" in text and "base_model: Qwen/Qwen3-ASR-0.6B\n" in text
    assert "100 steps over 1.50 hours of audio in 1,250 utterances" in text
    assert "source `target`: passes an epoch 2" in text
    assert "LoRA of rank 2, alpha 4, in decoder" in text
    assert "commit 0123456789ab with local changes; torch 2.13.0, peft 0.21" in text
    assert "consent of the speakers" in text
    assert "secret" not in text and str(tmp_path) not in text and str(run) not in text


def test_the_base_is_followed_back_through_runs_and_a_local_one_stays_unnamed(run: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    (second / "checkpoints").mkdir(parents=True)
    save_native(tiny_model(), tiny_processor(), second / "checkpoints" / "step_000001")
    record = {"recipe": "finetune", "config": {"model": {"path": str(run / "checkpoints" / "best")}}}
    (second / "run.json").write_text(json.dumps(record))
    out = export(ExportConfig(checkpoint=str(second / "checkpoints" / "step_000001"), out=str(tmp_path / "out")))
    assert "base_model: Qwen/Qwen3-ASR-0.6B" in (out / "README.md").read_text()
    (second / "run.json").unlink()
    out = export(ExportConfig(checkpoint=str(second / "checkpoints" / "step_000001"), out=str(tmp_path / "out2")))
    text = (out / "README.md").read_text()
    assert "made from a local Qwen3-ASR checkpoint" in text and "base_model" not in text and "## Training" not in text


def without_adapter(run: Path, tmp_path: Path) -> str:
    save_native(tiny_model(), tiny_processor(), tmp_path / "whole")
    return str(tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layout": ExportLayout.adapter}, "layout=adapter: .*whole holds no LoRA adapter"),
        ({"strength": 0.7}, "whole: lies in no run .* give it with base=PATH_OR_HUB_ID"),
        ({"base": "Qwen/Qwen3-ASR-0.6B"}, "base=Qwen/Qwen3-ASR-0.6B: .*whole is a whole model and needs none"),
        ({"results": ["nowhere"]}, "results: nowhere holds neither scores.json nor comparison.json"),
        ({"checkpoint": "runs/gone"}, "runs/gone: .*correct the path"),
        (
            {"dtype": ExportDtype.float16},
            "dtype=float16: Qwen3-ASR's decoder overflows in it .* export bfloat16 or float32",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(
    run: Path, tmp_path: Path, settings: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    settings = {"checkpoint": without_adapter(run, tmp_path)} | settings
    with pytest.raises(UserError, match=message):
        export(ExportConfig(out=str(tmp_path / "out"), **settings))
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_taken_folder_is_refused_and_an_empty_one_is_used(run: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"out=.*taken: exists and is not an empty folder; nothing is overwritten"):
        make(run, tmp_path / "taken")
    with pytest.raises(ConfigError, match=r"notes.txt: exists and is not an empty folder"):
        make(run, tmp_path / "taken" / "notes.txt")
    (tmp_path / "empty").mkdir()
    assert (make(run, tmp_path / "empty") / "config.json").is_file()


def test_a_full_disk_leaves_nothing_behind(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: object, file: Path, **_: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    monkeypatch.setattr("qasr_train.models.safetensors_files.write_tensors", full)
    with pytest.raises(OSError, match="No space left"):
        make(run, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_adapter_is_not_exported(run: Path, tmp_path: Path) -> None:
    model = adapted_model()
    with torch.no_grad():
        parameter_groups(model, PARTS)["adapters"][0][1].fill_(float("inf"))
    save_adapter(model, tmp_path / "bad", base="x")
    with pytest.raises(CheckpointError, match="lora_A.weight holds NaN or infinite numbers"):
        export(ExportConfig(checkpoint=str(tmp_path / "bad"), out=str(tmp_path / "out"), layout=ExportLayout.adapter))


def test_the_config_checks_its_values() -> None:
    config = load_config("export", ["checkpoint=a", "out=b", "layout=original", "strength=0.7"])
    assert config == ExportConfig(checkpoint="a", out="b", layout=ExportLayout.original, strength=0.7)
    assert load_config("export", ["checkpoint=a", "out=b", "target=qwen_asr"]).layout is None  # left to the target
    with pytest.raises(ConfigError, match=r"strength=3.0: expected at least 0 and at most 2"):
        load_config("export", ["checkpoint=a", "out=b", "strength=3.0"])
    with pytest.raises(ConfigError, match=r"dtype.*float64.*bfloat16"):
        load_config("export", ["checkpoint=a", "out=b", "dtype=float64"])


def fresh(script: Path, arguments: list[str], cwd: Path) -> tuple[int, str, str]:
    """What a script ends with and says, from a new interpreter; libraries may talk while they are imported."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    return done.returncode, done.stdout, done.stderr


def copied(script: Path, arguments: list[str], cwd: Path) -> tuple[int, str, str]:
    """The same in a copy of this process."""
    copy = start_script(script, arguments, cwd=cwd)
    out, err = copy.communicate(timeout=120)
    return copy.wait(), out, err


@pytest.mark.parametrize("call", [copied, pytest.param(fresh, marks=pytest.mark.slow)])  # .ci/run runs both
def test_the_recipe_exports_and_says_so_and_nothing_else(run: Path, tmp_path: Path, call: Callable) -> None:
    given = [f"checkpoint={run}/checkpoints/best", "layout=original", f"out={tmp_path}/out"]
    said = "layout original, weights in bfloat16; 2 of 69 tensors differ from the base's"
    told = f"exported {run}/checkpoints/best to {tmp_path}/out: {said}\n"
    assert call(ROOT / "recipes" / "export.py", given, tmp_path) == (0, told, "")


def test_a_mistake_ends_the_recipe_with_status_2_and_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = run / "checkpoints"
    arguments = [f"checkpoint={checkpoints}", f"out={tmp_path}/out"]
    assert exit_status(lambda: run_command_line("export", arguments, PROJECT)) == 2
    hint = "did you mean best, step_000100 inside it?"
    told = f"error: {checkpoints}: no config.json, so this is not a model directory; {hint}\n"
    assert capsys.readouterr().err == told


def test_the_card_of_an_original_export_asks_for_the_attention_that_hears_windows(run: Path, tmp_path: Path) -> None:
    out = make(run, tmp_path / "out", layout=ExportLayout.original, dtype=ExportDtype.float32)
    assert 'attn_implementation="flash_attention_2"' in (out / "README.md").read_text()
