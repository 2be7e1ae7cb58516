"""The training loop on a random two-layer Qwen3-ASR: the sum/count rule, exact resume, refusal of non-finite steps."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration

from qasr_train.checkpoint import latest_checkpoint
from qasr_train.data import ListPool, TrainingData
from qasr_train.errors import ConfigError, DataError, TrainingError
from qasr_train.finetune import make_accelerator
from qasr_train.loading import LoadedBatch, load_recording
from qasr_train.manifest import Utterance
from qasr_train.models.adapt import AdaptConfig, apply_adaptation, parameter_groups
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.objectives.cross_entropy import CrossEntropy
from qasr_train.optim import OptimConfig, build_optimizer, lr_factor
from qasr_train.tracking import Tracker, TrackingConfig
from qasr_train.trainer import Trainer
from qasr_train.trainer_config import TrainerConfig
from tests.helpers import tone, utterance, write_wav
from tests.helpers_model import tiny_model, tiny_processor

FULL = AdaptConfig(trainable=["*"])


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Twelve clips of 0.4 to 2.6 s, each its own tone and words."""
    folder = tmp_path_factory.mktemp("clips")
    words = "the quick brown fox takes two small pills a day now".split()
    rows = []
    for i in range(12):
        duration_s = 0.4 + 0.2 * i
        path = write_wav(folder / f"u{i}.wav", tone(duration_s, frequency_hz=200 + 50 * i))
        text = " ".join(words[: 1 + i % 5])
        rows.append(utterance(id=f"u{i}", audio=str(path), text=text, duration_s=duration_s))
    return rows


def make_trainer(
    run_dir: Path,
    utterances: list[Utterance],
    *,
    adapt: AdaptConfig = FULL,
    num_steps: int = 6,
    num_microbatches: int = 1,
    validate: Callable[[int], dict[str, float]] | None = None,
    **config: object,
) -> Trainer:
    run_dir.mkdir(parents=True, exist_ok=True)
    settings = TrainerConfig(max_steps=num_steps, num_microbatches=num_microbatches, log_every=1, **config)
    accelerator: Accelerator = make_accelerator(settings, TrackingConfig(), project_dir=run_dir)
    torch.manual_seed(0)
    model = Qwen3ASR(tiny_model(), tiny_processor())
    model.module = apply_adaptation(model.module, adapt)
    optim = OptimConfig(lr=1e-2)
    data = TrainingData(
        pools={"main": ListPool("main", utterances, 1.0, (0, 0))},
        collator=model.collator,
        batch_seconds=5.0,
        max_batch_rows=None,
        seed=0,
        num_microbatches=num_microbatches,
    )
    return Trainer(
        accelerator=accelerator,
        model=model,
        objective=CrossEntropy(),
        data=data,
        optimizer=build_optimizer(parameter_groups(model.module), optim),
        lr_factor=lr_factor(optim, num_steps),
        num_steps=num_steps,
        config=settings,
        run_dir=run_dir,
        tracker=Tracker(TrackingConfig(), accelerator, run_dir),
        max_failed_fraction=0.0,
        validate=validate,
    )


def losses(run_dir: Path) -> list[float]:
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [row["train/loss_nats"] for row in rows if "train/loss_nats" in row]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in trainer.model.module.named_parameters() if p.requires_grad}


def load(trainer: Trainer, rows: list[Utterance]) -> LoadedBatch:
    return LoadedBatch(trainer.model.collator.for_training([load_recording(u) for u in rows]), [])


def gradients_of_one_step(run_dir: Path, utterances: list[Utterance], split: list[list[Utterance]]) -> tuple:
    """(loss, gradients) of one step whose microbatches are `split`, gradients caught before the optimizer sees them."""
    trainer = make_trainer(run_dir, utterances, max_grad_norm=None)
    trainer.wrapped, trainer.optimizer = trainer.accelerator.prepare(trainer.model, trainer.optimizer)
    caught: dict[str, torch.Tensor] = {}
    trainer.optimizer.step = lambda: caught.update(
        {n: p.grad.clone() for n, p in trainer.model.module.named_parameters() if p.grad is not None}
    )
    trainer.model.module.train()
    result = trainer.step([load(trainer, rows) for rows in split], 0)
    return result.loss_nats, caught


def test_microbatches_of_unequal_lengths_change_neither_loss_nor_gradient(tmp_path: Path, utterances):
    rows = utterances[:4]
    whole_loss, whole = gradients_of_one_step(tmp_path / "a", utterances, [rows])
    split_loss, split = gradients_of_one_step(tmp_path / "b", utterances, [rows[:1], rows[1:]])
    assert split_loss == pytest.approx(whole_loss, rel=1e-6)
    assert whole.keys() == split.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(split[name], gradient, rtol=1e-4, atol=1e-6)


def test_the_loss_is_the_models_own_over_the_target(tmp_path: Path, utterances):
    """Against transformers' loss on the same labels: full logits, its own shift and mean."""
    rows = utterances[2:5]
    ours, _ = gradients_of_one_step(tmp_path, utterances, [rows])
    model, trainer = tiny_model(), make_trainer(tmp_path, utterances)
    batch = load(trainer, rows).batch
    theirs = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        input_features=batch.input_features,
        input_features_mask=batch.input_features_mask,
        labels=batch.labels,
    ).loss.detach()
    assert ours == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("adapt", ["full", "lora"])
def test_stopping_and_resuming_equals_the_straight_run(tmp_path: Path, utterances, adapt: str):
    config = adapt_config(adapt)
    straight = make_trainer(tmp_path / "straight", utterances, adapt=config, num_steps=6, save_every=100)
    straight.train()

    first = make_trainer(tmp_path / "resumed", utterances, adapt=config, num_steps=6, save_every=3)
    first.accelerator.wait_for_everyone()
    stop_after(first, 4)
    with pytest.raises(TrainingError, match="interrupted after step 4 of 6; saved; .*resume=true"):
        first.train()
    second = make_trainer(tmp_path / "resumed", utterances, adapt=config, num_steps=6, save_every=3)
    checkpoint = latest_checkpoint(tmp_path / "resumed")
    assert checkpoint is not None
    assert checkpoint.name == "step_000004"
    second.train(checkpoint)

    assert losses(tmp_path / "resumed") == losses(tmp_path / "straight")
    assert len(losses(tmp_path / "straight")) == 6
    for name, expected in weights(straight).items():
        assert torch.equal(weights(second)[name], expected), name


def adapt_config(name: str) -> AdaptConfig:
    from qasr_train.config import load_config

    overrides = [f"adapt={name}", "data.train.main.path=x", "run_dir=x"]
    config = load_config("finetune", overrides).adapt
    if name == "lora":
        config.lora.dropout = 0.2  # a resume must also restore the random generators
    return config


def stop_after(trainer: Trainer, num_steps: int) -> None:
    """Raise the trainer's own interrupt signal once a step is done, as Ctrl-C would."""
    import os
    import signal

    advance = trainer._advance

    def advance_then_interrupt(state, result, loaded) -> None:
        advance(state, result, loaded)
        if state.step == num_steps:
            os.kill(os.getpid(), signal.SIGINT)

    trainer._advance = advance_then_interrupt  # type: ignore[method-assign]


def test_a_checkpoint_loads_with_plain_transformers(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances, num_steps=1)
    trainer.train()
    folder = tmp_path / "checkpoints" / "last"
    model = Qwen3ASRForConditionalGeneration.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    assert type(processor).__name__ == "Qwen3ASRProcessor"
    for name, expected in trainer.model.core.state_dict().items():
        assert torch.equal(model.state_dict()[name], expected), name


def test_a_non_finite_loss_stops_before_the_update_and_names_the_utterances(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances)
    trainer.wrapped, trainer.optimizer = trainer.accelerator.prepare(trainer.model, trainer.optimizer)
    before = weights(trainer)
    bad = load(trainer, utterances[:2])
    bad.batch.input_features[0, 0, 0] = math.nan
    with pytest.raises(TrainingError, match=r"the loss of step 1 is nan; nothing was updated; .*u0, u1"):
        trainer.step([bad], 0)
    assert all(torch.equal(before[name], p) for name, p in weights(trainer).items())


def test_unreadable_audio_is_listed_and_past_its_share_stops(tmp_path: Path, utterances):
    broken = replace(utterances[3], audio=str(tmp_path / "gone.wav"))
    rows = [*utterances[:3], broken, *utterances[4:]]
    tolerant = make_trainer(tmp_path / "tolerant", rows, num_steps=9)
    tolerant.max_failed_fraction = 0.5
    state = tolerant.train()
    assert state.num_failed >= 1
    listed = [json.loads(line) for line in (tmp_path / "tolerant" / "failed_audio.jsonl").read_text().splitlines()]
    assert {row["id"] for row in listed} == {"u3"}
    assert "gone.wav" in listed[0]["reason"]

    strict = make_trainer(tmp_path / "strict", rows, num_steps=9)
    with pytest.raises(DataError, match=r"clips could not be read, over data.max_failed_fraction=0"):
        strict.train()


def test_the_best_checkpoint_is_kept_and_patience_ends_the_run(tmp_path: Path, utterances):
    figures = iter([9.0, 5.0, 3.0, 4.0, 4.5, 1.0])
    trainer = make_trainer(
        tmp_path,
        utterances,
        num_steps=50,
        validate_every=1,
        patience=2,
        keep_last=1,
        validate=lambda step: {"dev/error_rate": next(figures), "dev/loss_nats": 0.0},
    )
    state = trainer.train()
    # 9 before the first step is the baseline; 5, 3 improve; 4 and 4.5 do not: two validations without gain
    assert (state.step, state.best_step, state.best_value) == (4, 2, 3.0)
    assert (tmp_path / "checkpoints" / "best").resolve().name == "step_000002"
    kept = sorted(p.name for p in (tmp_path / "checkpoints").glob("step_*"))
    assert kept == ["step_000002", "step_000004"]


def test_training_learns(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances, num_steps=40)
    trainer.train()
    history = losses(tmp_path)
    assert sum(history[-5:]) < 0.6 * sum(history[:5])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_epochs": None}, "would never end"),
        ({"max_steps": 5, "precision": "fp16"}, "overflows"),
    ],
)
def test_contradicting_settings_are_refused(settings: dict, words: str):
    from qasr_train.device import Precision

    if "precision" in settings:
        settings = settings | {"precision": Precision(settings["precision"])}
    with pytest.raises(ConfigError, match=words):
        TrainerConfig(**settings)


def test_a_missing_gpu_is_one_sentence(tmp_path: Path):
    from qasr_train.device import Device

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="device=cuda: .*no GPU"):
        make_accelerator(TrainerConfig(max_steps=1, device=Device.cuda), TrackingConfig(), project_dir=tmp_path)


def test_out_of_memory_names_the_padded_seconds(tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances)
    trainer.wrapped, trainer.optimizer = trainer.accelerator.prepare(trainer.model, trainer.optimizer)

    def exhaust(model, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    trainer.objective = exhaust
    with pytest.raises(TrainingError, match=r"a microbatch of 2 clips, 1 padded seconds; lower data.batch_seconds"):
        trainer.step([load(trainer, utterances[:2])], 0)
