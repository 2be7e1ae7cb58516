"""The sweep: chosen by hand-made figures, and run whole on random models whose strengths can be told apart."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from qasr_train.errors import ConfigError
from qasr_train.evaluation.report.plots import TradePoint, trade_plot
from qasr_train.jobs.recipes import load_config
from qasr_train.jobs.settings.sweep_strength import SweepConfig
from qasr_train.jobs.sweep_strength import Sweep, SweepPoint, sweep_strength
from qasr_train.models.families import load_trainable
from qasr_train.models.qwen3_asr.layouts import save_native
from qasr_train.models.whisper.config import WhisperConfig
from qasr_train.transcription.settings import DecodeConfig
from tests.helpers_model import tiny_model, tiny_processor
from tests.models.tiny_families import save_tiny_whisper


def points(*figures: tuple[float, float, float]) -> list[SweepPoint]:
    return [SweepPoint(*one) for one in figures]


@pytest.mark.parametrize(
    ("figures", "margin", "strength"),
    [
        ([(0, 50, 5.0), (0.5, 20, 5.4), (1, 10, 6.0)], 0.5, 0.5),  # 1 loses a whole point
        ([(0, 50, 5.0), (0.5, 20, 5.4), (1, 10, 6.0)], 1.0, 1),
        ([(0, 50, 5.0), (0.5, 20, 6.0), (1, 10, 9.0)], 0.5, 0),  # nothing but the base is inside
        ([(0, 50, 5.0), (0.5, 10, 4.0), (1, 10, 4.0)], 0.5, 0.5),  # of equals the weaker
        ([(0, 50, 5.0), (0.5, 20, 9.0), (1, 30, 5.0)], 0.5, 1),  # not in order
    ],
)
def test_the_best_has_the_least_target_error_with_the_guard_inside_its_margin(
    figures: list[tuple[float, float, float]], margin: float, strength: float
) -> None:
    assert Sweep(points(*figures), margin).best.strength == strength


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """A run whose checkpoint differs from its base, and two sets of two clips."""
    save_native(tiny_model(seed=0), tiny_processor(), tmp_path / "base")
    save_native(tiny_model(seed=1), tiny_processor(), tmp_path / "run" / "checkpoints" / "step_1")
    record = {"recipe": "finetune", "config": {"model": {"path": str(tmp_path / "base")}}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    noise = np.random.default_rng(0).normal(scale=0.1, size=(2, 12_000))
    with open(tmp_path / "m.jsonl", "w") as out:
        for number, samples in enumerate(noise):
            soundfile.write(tmp_path / f"{number}.wav", samples, 16_000)
            row = {"id": str(number), "audio": f"{number}.wav", "text": "one two", "language": "English"}
            out.write(json.dumps(row) + "\n")
    return {"checkpoint": str(tmp_path / "run" / "checkpoints" / "step_1"), "run_dir": str(tmp_path / "sweep")}


def overrides(settings: dict[str, Any], tmp_path: Path, *more: str) -> list[str]:
    suite = [f"suite.sets.{name}.source.path={tmp_path / 'm.jsonl'}" for name in ("medical", "general")]
    suite += [f"suite.sets.{name}.source.split=null" for name in ("medical", "general")]
    return [*(f"{key}={value}" for key, value in settings.items()), "suite=demo", *suite, "device=cpu", *more]


def test_every_strength_is_evaluated_once_and_a_finished_one_is_kept_on_resuming(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    short = ("decode.max_new_tokens=4", "decode.check_batch_invariance=0", "strengths=[1,0]")
    config: SweepConfig = load_config("sweep_strength", overrides(settings, tmp_path, *short))
    assert config.decode == DecodeConfig(max_new_tokens=4, check_batch_invariance=0)
    sweep = sweep_strength(config)
    assert [point.strength for point in sweep.points] == [0.0, 1.0]
    run_dir = tmp_path / "sweep"
    assert {path.name for path in run_dir.iterdir()} == {
        *("run.json", "config.yaml", "sweep.json", "sweep.html", "strength_0.00", "strength_1.00"),
    }
    for point in sweep.points:
        scores = json.loads((run_dir / f"strength_{point.strength:.2f}" / "scores.json").read_text())
        assert scores["roles"]["target"]["primary_percent"] == point.target_percent
    page = (run_dir / "sweep.html").read_text()
    assert page.count("<svg") == 1 and page.count("<tr class=best>") == 1 and "default-src 'none'" in page
    texts = [(run_dir / f"strength_{s}" / "predictions.jsonl").read_text() for s in ("0.00", "1.00")]
    assert texts[0] != texts[1]
    stamp = (run_dir / "strength_0.00" / "scores.json").stat().st_mtime_ns
    (run_dir / "strength_1.00" / "scores.json").unlink()
    config.resume = True
    assert sweep_strength(config).points == sweep.points
    assert (run_dir / "strength_0.00" / "scores.json").stat().st_mtime_ns == stamp


def test_whisper_is_swept_as_well_and_each_strength_says_its_own(settings: dict[str, Any], tmp_path: Path) -> None:
    base, tuned = tmp_path / "whisper", Path(settings["checkpoint"])
    save_tiny_whisper(base)
    model = load_trainable(WhisperConfig(path=str(base)), device="cpu")
    with torch.no_grad():
        model.get_parameter("module.model.decoder.layer_norm.weight").neg_()
    shutil.rmtree(tuned)
    model.save(tuned)
    record = {"recipe": "finetune", "config": {"model": {"path": str(base)}}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    short = ("decode.max_new_tokens=3", "decode.check_batch_invariance=0", "strengths=[0,1]")
    sweep_strength(load_config("sweep_strength", overrides(settings, tmp_path, *short)))
    texts = [(tmp_path / f"sweep/strength_{s}/predictions.jsonl").read_text() for s in ("0.00", "1.00")]
    assert texts[0] != texts[1]
    served = ("decode.prompt=served", f"run_dir={tmp_path / 'served'}")
    with pytest.raises(ConfigError, match="^decode.prompt=served: whisper models have no system turn"):
        sweep_strength(load_config("sweep_strength", overrides(settings, tmp_path, *served)))
    assert not (tmp_path / "served").exists()  # before a strength is exported


def test_a_suite_without_a_guard_and_strengths_without_the_base_are_refused(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="suite: no set has the role guard"):
        load_config("sweep_strength", overrides(settings, tmp_path, "suite.sets.general.role=none"))
    with pytest.raises(ConfigError, match=r"strengths=\[0.5, 1.0\]: must hold 0, the base"):
        load_config("sweep_strength", overrides(settings, tmp_path, "strengths=[0.5,1]"))


@pytest.mark.parametrize("is_resumed", [False, True])
def test_several_processes_are_refused_before_anything_is_written(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_resumed: bool
) -> None:
    config = load_config("sweep_strength", overrides(settings, tmp_path, f"resume={str(is_resumed).lower()}"))
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="^WORLD_SIZE=2: sweep_strength .*; run it as one process"):
        sweep_strength(config)
    assert sorted(tmp_path.rglob("*")) == before


def test_two_strengths_never_share_a_folder(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="strengths: 0.851 has more than two decimals"):
        load_config("sweep_strength", overrides(settings, tmp_path, "strengths=[0,0.851,0.854,1]"))
    fine = [step / 20 for step in range(41)] + [0.29, 1.13]  # products that are no round numbers in binary
    given = f"strengths=[{','.join(map(str, fine))}]"
    assert load_config("sweep_strength", overrides(settings, tmp_path, given)).strengths == sorted(fine)


def test_the_picture_names_every_strength() -> None:
    drawn = trade_plot([TradePoint("0", 5.0, 50.0), TradePoint("0.35", 5.2, 20.0, is_best=True)], limit_percent=5.5)
    assert drawn.startswith("<svg") and ">0.35<" in drawn


def test_the_weights_of_a_strength_lie_between(settings: dict[str, Any], tmp_path: Path) -> None:
    more = ("strengths=[0,0.5]", "keep_models=true", "decode.max_new_tokens=2", "decode.check_batch_invariance=0")
    sweep_strength(load_config("sweep_strength", overrides(settings, tmp_path, *more)))
    from safetensors.torch import load_file

    name = "model.language_model.layers.0.mlp.up_proj.weight"
    base, tuned = (tiny_model(seed=seed).state_dict()[name] for seed in (0, 1))
    stored = load_file(tmp_path / "sweep" / "model_0.50" / "model.safetensors")[name]
    torch.testing.assert_close(stored, (base + tuned) / 2)
