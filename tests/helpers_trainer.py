"""Owns a small training run for tests: clips, a trainer on a random two-layer model, and what to compare of it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from qasr_train.batch import Batch, Reference
from qasr_train.data.buckets import BatchBudget
from qasr_train.data.hearing import FirstEpoch
from qasr_train.data.settings import SampleByErrorConfig
from qasr_train.data.training_data import ListPool, TrainingData
from qasr_train.data.workers import load_recording
from qasr_train.manifest import Utterance
from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.base import Trainable
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.safetensors_files import whole
from qasr_train.models.settings import AdaptConfig, LoraSettings
from qasr_train.models.whisper.collator import WhisperCollator
from qasr_train.models.whisper.config import WhisperConfig, Window
from qasr_train.models.whisper.model import Whisper
from qasr_train.objectives.base import LossSum, Objective
from qasr_train.objectives.cross_entropy import CrossEntropy
from qasr_train.objectives.rollout_settings import HypothesesConfig, MWERConfig
from qasr_train.objectives.settings import KLToBaseConfig
from qasr_train.objectives.table import build_objective
from qasr_train.run.device import choose_device
from qasr_train.run.processes import processes_of
from qasr_train.run.settings import Device, Precision, TrackingConfig
from qasr_train.run.tracking import Tracker
from qasr_train.text.normalize import get_normalizer
from qasr_train.training.deepspeed_zero import ZeroAccelerator
from qasr_train.training.launch import make_accelerator
from qasr_train.training.learner import Learner
from qasr_train.training.rollout.hearing import make_ear
from qasr_train.training.settings import OptimConfig, TrainerConfig
from qasr_train.training.step import build_step
from qasr_train.training.trainer import Trainer, build_trainer
from qasr_train.training.validation import Validator
from qasr_train.transcription.settings import DecodeConfig
from tests.helpers import tone, utterance, write_wav
from tests.helpers_model import tiny_model, tiny_processor
from tests.models.tiny_families import tiny_whisper

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


def tiny_learner(family: str, **settings: object) -> Trainable:
    """A model of random weights to be trained, the same at every call; a Whisper is given the clips alone, which is quicker."""
    if family == "qwen3_asr":
        return Qwen3ASR(tiny_model(), tiny_processor(), **settings)
    module, processor = tiny_whisper()
    generation = module.generation_config.to_dict()
    config = WhisperConfig(path="tiny", **{"window": Window.clip, **settings})
    collator = WhisperCollator.of(config, processor, generation, module.config)
    return Whisper(module.eval(), processor, generation, collator)


def make_trainer(
    run_dir: Path,
    utterances: list[Utterance],
    *,
    adapt: AdaptConfig = FULL,
    family: str = "qwen3_asr",
    num_steps: int = 6,
    num_microbatches: int = 1,
    validate: Callable[[int], dict[str, float]] | None = None,
    max_failed_fraction: float = 0.0,
    objective: Callable[[Trainable], Objective] | None = None,
    hypotheses: HypothesesConfig | None = None,
    **config: object,
) -> Trainer:
    """A trainer whose model, data order and learning rates are the same at every call, on as many processes as there are."""
    run_dir.mkdir(parents=True, exist_ok=True)
    settings = TrainerConfig(max_steps=num_steps, num_microbatches=num_microbatches, log_every=1, **config)
    accelerator = launch(run_dir, precision=settings.precision)
    model = tiny_learner(family)
    torch.manual_seed(0)
    model.module = apply_adaptation(model.module, adapt, model.parts)
    with torch.no_grad():  # a fresh adapter's B is zero, and the gradient of its A with it
        for name, parameter in model.module.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.1)
    data = TrainingData(
        pools={"main": ListPool("main", utterances, 1.0, (0, 0))},
        collator=model.collator,
        budget=BatchBudget(5.0, None),
        seed=0,
        num_microbatches=num_microbatches,
        processes=processes_of(accelerator),
    )
    if hypotheses is not None:
        learner = Learner(accelerator, model, build_objective(hypotheses, model))
        learner = learner.drawing(hypotheses, seed=0, max_new_tokens=8)
    else:
        learner = Learner(accelerator, model, CrossEntropy() if objective is None else objective(model))
    step = build_step(settings, OptimConfig(lr=1e-2), learner, num_steps=num_steps)
    return build_trainer(
        settings,
        data,
        step,
        tracker=Tracker(TrackingConfig(), accelerator, run_dir),
        validate=validate,
        max_failed_fraction=max_failed_fraction,
        run_dir=run_dir,
        num_steps=num_steps,
    )


def launch(run_dir: Path, *, precision: Precision = Precision.auto, trackers: Sequence[str] = ()) -> Accelerator:
    """Accelerate on a GPU where there is one, of as many processes as there are."""
    device = choose_device(Device.auto)
    return make_accelerator(device, precision, project_dir=run_dir, trackers=trackers, collective_timeout_s=1800.0)


def losses(run_dir: Path) -> list[float]:
    """The training loss of every step that was logged."""
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [row["train/loss_nats"] for row in rows if "train/loss_nats" in row]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """A copy of what is trained, whole; all processes must call it."""
    shared = trainer.step.shared
    with shared.readable_weights():
        return {n: whole(p.detach()).clone() for n, p in shared.model.module.named_parameters() if p.requires_grad}


def load(trainer: Trainer, rows: list[Utterance]) -> Batch:
    """A training batch of these utterances."""
    batch = trainer.step.shared.model.collator.for_training([load_recording(u) for u in rows])
    references = [Reference(u.text or "", u.language, u.context or "") for u in rows]
    return replace(batch, references=references, sources=["main"] * len(rows))


def gradients_of_one_step(trainer: Trainer, split: list[list[Utterance]]) -> tuple[float, dict[str, torch.Tensor]]:
    """(loss, whole gradients) of one step whose microbatches on this process are `split`, caught before the update."""
    caught: dict[str, torch.Tensor] = {}
    trainer.step.shared.optimizer.step = lambda: caught.update(_gradients(trainer))  # type: ignore[method-assign]
    result = trainer.step([load(trainer, rows) for rows in split], 0)
    return result.loss_nats, caught


def _gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    parameters = trainer.step.shared.model.module.named_parameters()
    if isinstance(trainer.accelerator, ZeroAccelerator):
        from deepspeed.utils import safe_get_full_grad

        return {n: safe_get_full_grad(p).clone() for n, p in parameters if p.requires_grad}
    return {n: whole(p.grad).clone() for n, p in parameters if p.grad is not None}


def held_to_base(replayed: set[str]) -> Callable[[Trainable], Objective]:
    """What makes the objective kl_to_base of a model; rows of these ids count as replayed."""

    def build(model: Trainable) -> Objective:
        objective = build_objective(KLToBaseConfig(), model)

        def loss(model: Callable[..., Any], batch: Batch) -> LossSum:
            sources = ["replay" if name in replayed else "target" for name in batch.ids]
            return objective(model, replace(batch, sources=sources))

        return loss

    return build


def first_epoch_trainer(folder: Path, utterances: list[Utterance], num_steps: int) -> Trainer:
    """One whose later epochs are drawn by what the first has heard; clips of 2 s and more are not among its batches."""
    config = SampleByErrorConfig(first_epoch=True, floor_percent=1.0, max_percent=[])
    trainer = make_trainer(
        folder, utterances[:6], hypotheses=MWERConfig(num_hypotheses=3), num_steps=num_steps, save_every=1
    )
    trainer.data.first_epoch = FirstEpoch(config, trainer.data.pools)
    rollouts = replace(trainer.step.rollouts, ear=make_ear(config))
    return replace(trainer, step=replace(trainer.step, rollouts=rollouts))


def make_validator(trainer: Trainer, utterances: list[Utterance]) -> Validator:
    """Of one dev set, on the trainer's processes."""
    decode = DecodeConfig(max_new_tokens=6, batch_seconds=3.0, num_workers=1)
    return Validator(
        accelerator=trainer.accelerator,
        model=trainer.step.shared.model,
        dev_sets={"dev": utterances},
        decoding=decode.decoding(1200.0),
        normalizer=get_normalizer("qasr-1"),
        budget=BatchBudget(3.0, None),
        num_samples=0,
        run_dir=trainer.saver.run_dir,
    )
