"""A learner is a model with all that is trained on it, and the loss it learns by."""

from pathlib import Path

import pytest
import torch

from qasr_train.data.buckets import BatchBudget
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.qwen3_asr.layouts import save_native
from qasr_train.models.settings import Recompute
from qasr_train.objectives.cross_entropy import CrossEntropy
from qasr_train.objectives.settings import CrossEntropyConfig
from qasr_train.training.learner import Learner, load_learner
from tests.helpers_model import tiny_model, tiny_processor
from tests.helpers_trainer import launch, lora, tiny_learner


def learner(folder: Path) -> Learner:
    save_native(tiny_model(), tiny_processor(), folder / "model")
    return load_learner(
        launch(folder),
        Qwen3ASRConfig(path=str(folder / "model")),
        lora(),
        CrossEntropyConfig(),
        makes_features=True,
        recompute=Recompute.none,
        compiles=False,
    )


def test_only_what_is_adapted_is_trained(tmp_path: Path):
    made = learner(tmp_path)
    trained = [name for name, p in made.model.module.named_parameters() if p.requires_grad]
    assert trained and all(".lora_" in name for name in trained)
    assert isinstance(made.objective, CrossEntropy)
    assert made.parameter_counts().num_trained == sum(
        p.numel() for p in made.model.module.parameters() if p.requires_grad
    )


def test_encodings_of_a_cache_are_made_as_training_makes_them(tmp_path: Path):
    made = learner(tmp_path)
    run = made.encoding_run(BatchBudget(7.0, 3), num_workers=2)
    assert (run.budget, run.num_workers, run.device) == (BatchBudget(7.0, 3), 2, made.accelerator.device)
    assert (run.processes.rank, run.processes.num_processes) == (0, 1)
    if made.accelerator.device == torch.device("cpu"):
        assert run.precision == "no cpu"


def test_where_layers_are_sharded_a_batch_is_planned_as_if_all_its_rows_had_the_widest_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = Learner(launch(tmp_path), tiny_learner("whisper", full_window_fraction=0.25), CrossEntropy())
    asked = BatchBudget(7.0, 3)
    assert made.budget(asked) == BatchBudget(7.0, 3, ((0.75, 0.5), (0.25, 30.0)))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert made.budget(asked) == BatchBudget(7.0, 3, ((1.0, 30.0),))
