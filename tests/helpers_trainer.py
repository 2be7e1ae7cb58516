"""Owns a small training run for tests: clips, a trainer on a random two-layer Qwen3-ASR, and what to compare of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from qasr_train.batch import Batch
from qasr_train.data.buckets import BatchBudget
from qasr_train.data.training_data import ListPool, TrainingData
from qasr_train.data.workers import LoadedBatch, load_recording
from qasr_train.manifest import Utterance
from qasr_train.models.adapt import apply_adaptation, parameter_groups
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.safetensors_files import whole
from qasr_train.models.settings import AdaptConfig, LoraSettings
from qasr_train.objectives.base import LossSum
from qasr_train.objectives.cross_entropy import CrossEntropy
from qasr_train.objectives.settings import KLToBaseConfig
from qasr_train.objectives.table import build_objective
from qasr_train.run.processes import processes_of
from qasr_train.run.settings import TrackingConfig
from qasr_train.run.tracking import Tracker
from qasr_train.training.deepspeed_zero import ZeroAccelerator
from qasr_train.training.launch import make_accelerator, readable_weights, share_model
from qasr_train.training.optim import build_optimizer, lr_factor
from qasr_train.training.settings import OptimConfig, TrainerConfig
from qasr_train.training.trainer import Trainer
from qasr_train.training.validation import Validator
from qasr_train.transcription.settings import DecodeConfig
from tests.helpers import tone, utterance, write_wav
from tests.helpers_model import tiny_model, tiny_processor

FULL = AdaptConfig(trainable=["*"])


def lora(dropout: float = 0.0) -> AdaptConfig:
    """Rank 4 on linear layers of encoder and decoder, its updates not zero at the start (see `make_trainer`)."""
    return AdaptConfig(lora=LoraSettings(rank=4, alpha=8, dropout=dropout, decoder=["*_proj"], encoder=["fc?"]))


def make_clips(folder: Path, num_clips: int = 12) -> list[Utterance]:
    """Clips of 0.4 s and each 0.2 s longer than the one before, each its own tone and words."""
    words = "the quick brown fox takes two small pills a day now".split()
    rows = []
    for i in range(num_clips):
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
    """A trainer whose model, data order and learning rates are the same at every call, on as many processes as there are."""
    run_dir.mkdir(parents=True, exist_ok=True)
    settings = TrainerConfig(max_steps=num_steps, num_microbatches=num_microbatches, log_every=1, **config)
    accelerator: Accelerator = make_accelerator(settings, TrackingConfig(), project_dir=run_dir)
    torch.manual_seed(0)
    model = Qwen3ASR(tiny_model(), tiny_processor())
    model.module = apply_adaptation(model.module, adapt)
    with torch.no_grad():  # a fresh adapter's B is zero, and the gradient of its A with it
        for name, parameter in model.module.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.1)
    optim = OptimConfig(lr=1e-2)
    data = TrainingData(
        pools={"main": ListPool("main", utterances, 1.0, (0, 0))},
        collator=model.collator,
        budget=BatchBudget(5.0, None),
        seed=0,
        num_microbatches=num_microbatches,
        processes=processes_of(accelerator),
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
    """The training loss of every step that was logged."""
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [row["train/loss_nats"] for row in rows if "train/loss_nats" in row]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """A copy of what is trained, whole; all processes must call it."""
    with readable_weights(trainer.accelerator):
        return {n: whole(p.detach()).clone() for n, p in trainer.model.module.named_parameters() if p.requires_grad}


def load(trainer: Trainer, rows: list[Utterance]) -> LoadedBatch:
    """A training batch of these utterances."""
    return LoadedBatch(trainer.model.collator.for_training([load_recording(u) for u in rows]), [])


def gradients_of_one_step(trainer: Trainer, split: list[list[Utterance]]) -> tuple[float, dict[str, torch.Tensor]]:
    """(loss, whole gradients) of one step whose microbatches on this process are `split`, caught before the update."""
    trainer.wrapped, trainer.optimizer = share_model(trainer.accelerator, trainer.model, trainer.optimizer)
    caught: dict[str, torch.Tensor] = {}
    trainer.optimizer.step = lambda: caught.update(_gradients(trainer))  # type: ignore[method-assign]
    trainer.model.module.train()
    result = trainer.step([load(trainer, rows) for rows in split], 0)
    return result.loss_nats, caught


def _gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    parameters = trainer.model.module.named_parameters()
    if isinstance(trainer.accelerator, ZeroAccelerator):
        from deepspeed.utils import safe_get_full_grad

        return {n: safe_get_full_grad(p).clone() for n, p in parameters if p.requires_grad}
    return {n: whole(p.grad).clone() for n, p in parameters if p.grad is not None}


def hold_to_base(trainer: Trainer, replayed: set[str]) -> None:
    """Give a trainer the objective kl_to_base; rows of these ids count as replayed."""
    objective = build_objective(KLToBaseConfig(), trainer.model)

    def loss(model: Callable[..., Any], batch: Batch) -> LossSum:
        sources = ["replay" if name in replayed else "target" for name in batch.ids]
        return objective(model, replace(batch, sources=sources))

    trainer.objective = loss  # type: ignore[assignment]


def make_validator(trainer: Trainer, utterances: list[Utterance]) -> Validator:
    """Of one dev set, on the trainer's processes."""
    decode = DecodeConfig(max_new_tokens=6, batch_seconds=3.0, num_workers=1)
    return Validator(
        accelerator=trainer.accelerator,
        model=trainer.model,
        dev_sets={"dev": utterances},
        decode=decode,
        normalizer="qasr-1",
        budget=BatchBudget(3.0, None),
        num_samples=0,
        run_dir=trainer.run_dir,
    )
