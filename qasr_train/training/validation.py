"""Owns validation during training: loss and generated error rate of each dev set, over all processes.

Input: a model and dev utterances. Output: figures by name; `dev/error_rate` and `dev/loss_nats` are what decides.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from tqdm import tqdm

from qasr_train.batch import Batch, Recording
from qasr_train.data.buckets import BatchBudget, sorted_batches
from qasr_train.data.opening import DevSets
from qasr_train.data.workers import load_recording
from qasr_train.manifest import Utterance
from qasr_train.models.base import Trainable
from qasr_train.models.settings import Engine
from qasr_train.objectives.cross_entropy import CrossEntropy
from qasr_train.run.processes import processes_of
from qasr_train.run.tracking import Tracker
from qasr_train.sources.table import durations_of
from qasr_train.text.normalize import Normalizer
from qasr_train.text.terms import TermList
from qasr_train.training.checkpoint import TrainState
from qasr_train.training.guarding.guard import Guard, dev_figures, or_all_wrong
from qasr_train.training.sharding import whole_weights
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.prompts import prompted, refuse_lost_contexts
from qasr_train.transcription.settings import Decoding
from qasr_train.transcription.transcribe import transcribe_utterances


@dataclass
class Validator:
    """Called with the step; see the module's docstring.

    tracker: where allowed transcripts go; None: nowhere. watches: whether the figures of a guard are measured too. terms: by
    which those of terms are; None: there are none.

    Raises:
        ConfigError: the prompts that `decoding` asks for would lose contexts of the dev sets.
    """

    accelerator: Accelerator
    model: Trainable
    dev_sets: DevSets
    decoding: Decoding
    normalizer: Normalizer
    budget: BatchBudget
    num_samples: int
    run_dir: Path
    tracker: Tracker | None = None
    watches: bool = False
    terms: TermList | None = None

    def __post_init__(self) -> None:
        prompt, use_context = self.decoding.prompt, self.decoding.use_context
        for name, utterances in self.dev_sets.items():
            refuse_lost_contexts(prompt, utterances, use_context=use_context, where=f"data.dev.{name}")

    def __call__(self, step: int) -> dict[str, float]:
        """Figures of all dev sets; an error rate is WER, or CER where the set's language is scored by characters."""
        self.model.module.eval()
        with whole_weights(self.accelerator, self.model):
            figures = [self._measure(step)]
        # The first process's, so that no rounding can make one of them stop and another go on.
        return broadcast_object_list(figures)[0]

    def _measure(self, step: int) -> dict[str, float]:
        figures: dict[str, float] = {}
        rates, total_nats, num_targets = [], 0.0, 0
        for name, utterances in self.dev_sets.items():
            set_nats, set_targets = self._loss(utterances)
            figures[f"dev/{name}/loss_nats"] = set_nats / max(1, set_targets)
            total_nats, num_targets = total_nats + set_nats, num_targets + set_targets
            predictions = self._transcribe(name, utterances)
            own = dev_figures(predictions, self.normalizer, watches=self.watches, terms=self.terms)
            figures |= {f"dev/{name}/{figure}": value for figure, value in own.items()}
            rates.append(or_all_wrong(own.get("error_rate")))
            self._keep_samples(name, predictions, step)
        figures["dev/loss_nats"] = total_nats / max(1, num_targets)
        figures["dev/error_rate"] = sum(rates) / len(rates)
        shown = ", ".join(f"{name} {rate:.1f} %" for name, rate in zip(self.dev_sets, rates, strict=True))
        if self.accelerator.is_main_process:  # tqdm.write leaves an open progress bar whole
            tqdm.write(f"step {step}: dev error rate {shown}, loss {figures['dev/loss_nats']:.3f}")
        return figures

    def _loss(self, utterances: list[Utterance]) -> tuple[float, int]:
        """Cross entropy summed over all targets in nats, and their number, over all processes."""
        total_nats, num_targets, _ = summed_loss(
            self.accelerator, self.model, CrossEntropy(), utterances, self.budget, self._prompted
        )
        return total_nats, num_targets

    def _prompted(self, utterance: Utterance) -> Recording:
        """The loss is that of the prompts by which the dev sets are transcribed."""
        return prompted(load_recording(utterance), self.decoding.prompt, use_context=self.decoding.use_context)

    def _transcribe(self, name: str, utterances: list[Utterance]) -> list[Prediction]:
        decoding = replace(self.decoding, engine=_in_training(self.decoding.engine))
        with self.accelerator.autocast():
            own = transcribe_utterances(self.model, utterances, decoding, processes_of(self.accelerator), name)
        return gather_object(own)

    def _keep_samples(self, name: str, predictions: list[Prediction], step: int) -> None:
        """Write a few transcripts to samples.jsonl, on this machine; the tracker gets them only if it may."""
        chosen = sorted(predictions, key=lambda p: p.id)[: self.num_samples]
        if not (chosen and self.accelerator.is_main_process):
            return
        with open(self.run_dir / "samples.jsonl", "a", encoding="utf-8") as out:
            for one in chosen:
                row = {"step": step, "set": name, "id": one.id, "text": one.text, "pred_text": one.pred_text}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
        if self.tracker:
            self.tracker.log_transcripts([(p.id, p.text or "", p.pred_text) for p in chosen], step=step)


@dataclass
class SlotValidator:
    """Validation of an aligner, which transcribes nothing: how far its boundaries are from the references, all words slotted.

    `dev/error_rate`, which decides, is the share of the boundaries more than one slot off, in percent. objective: `Slots`.
    """

    accelerator: Accelerator
    model: Trainable
    objective: Callable[[Trainable, Batch], Any]
    dev_sets: DevSets
    budget: BatchBudget
    slot_ms: float

    def __call__(self, step: int) -> dict[str, float]:
        """Figures of all dev sets."""
        self.model.module.eval()
        with whole_weights(self.accelerator, self.model):
            figures = [self._measure(step)]
        return broadcast_object_list(figures)[0]  # as `Validator` does

    def _measure(self, step: int) -> dict[str, float]:
        figures: dict[str, float] = {}
        total_nats, num_slots, rates = 0.0, 0, []
        for name, utterances in self.dev_sets.items():
            set_nats, set_slots, metrics = summed_loss(
                self.accelerator, self.model, self.objective, utterances, self.budget, load_recording
            )
            total_nats, num_slots = total_nats + set_nats, num_slots + set_slots
            figures[f"dev/{name}/loss_nats"] = set_nats / max(1, set_slots)
            figures[f"dev/{name}/shift_ms"] = metrics["slots_off"] * self.slot_ms / max(1, set_slots)
            figures[f"dev/{name}/error_rate"] = 100 * metrics["far_fraction"] / max(1, set_slots)
            rates.append(figures[f"dev/{name}/error_rate"])
        figures["dev/loss_nats"] = total_nats / max(1, num_slots)
        figures["dev/error_rate"] = sum(rates) / len(rates)
        shown = ", ".join(f"{name} {figures[f'dev/{name}/shift_ms']:.0f} ms" for name in self.dev_sets)
        if self.accelerator.is_main_process:
            tqdm.write(f"step {step}: boundaries off by {shown}, loss {figures['dev/loss_nats']:.3f}")
        return figures


@torch.no_grad()
def summed_loss(
    accelerator: Accelerator,
    model: Trainable,
    objective: Callable[[Trainable, Batch], Any],
    utterances: list[Utterance],
    budget: BatchBudget,
    load: Callable[[Utterance], Recording],
) -> tuple[float, int, dict[str, float]]:
    """An objective over a dev set and all processes: (sum in nats, number of targets, its own sums by name).

    objective: gives a `LossSum`.
    """
    sums: dict[str, float] = {}
    for rows in processes_of(accelerator).share(sorted_batches(durations_of(utterances), budget)):
        batch = model.collator.for_training([load(utterances[i]) for i in rows])
        with accelerator.autocast():
            loss = objective(model, batch.to(accelerator.device))
        own = {
            "": float(loss.total),
            "targets": float(loss.num_targets),
            **{k: float(v) for k, v in loss.metrics.items()},
        }
        sums = {name: sums.get(name, 0.0) + value for name, value in own.items()}
    gathered = gather_object([sums])
    whole = {name: sum(one.get(name, 0.0) for one in gathered) for one in gathered for name in one}
    return whole.pop("", 0.0), int(whole.pop("targets", 0.0)), whole


@dataclass(frozen=True)
class Selection:
    """Which checkpoint is the best on the dev sets, and when no gain ends a run.

    validate: step -> figures. figure: the name of the one that decides, the lower the better. num_kept: best checkpoints.
    patience: validations without gain after which the run ends; None: never. measures_start: whether also before step 1.
    guard: what ends a run too, and whose figures past their margins make a validation no candidate for the best; None: nothing.
    """

    validate: Callable[[int], Mapping[str, float]]
    tracker: Tracker
    figure: str
    num_kept: int
    patience: int | None
    measures_start: bool
    guard: Guard | None = None

    def begin(self, state: TrainState) -> None:
        """Validate before the first step, for a baseline, where that is wanted."""
        if self.measures_start:
            state.dev_before = dict(self._measure(state, None))
            state.value_before = state.dev_before[self.figure]

    def take(self, state: TrainState) -> None:
        """Validate after a step; the state remembers the best."""
        figures = self._measure(state, self.guard)
        if state.num_past_margin:
            state.note_gain(is_gain=False)
            return
        state.note_value(figures[self.figure], num_kept=self.num_kept)
        if state.best_step == state.step:
            state.dev_at_best = dict(figures)

    def is_over(self, state: TrainState) -> bool:
        """Whether patience is out, or the guard stops the run."""
        if self.guard is not None and self.guard.is_over(state):
            return True
        return self.patience is not None and state.num_validations_without_gain >= self.patience

    def _measure(self, state: TrainState, guard: Guard | None) -> Mapping[str, float]:
        figures = dict(self.validate(state.step))
        if guard is not None:
            figures |= guard.take(state, figures)
        self.tracker.log(figures, step=state.step)
        return figures


def _in_training(engine: Engine) -> Engine:
    """Not CUDA graphs: training needs their memory, and captures would meet the copies of its loader."""
    return Engine.loop if engine is Engine.auto else engine
