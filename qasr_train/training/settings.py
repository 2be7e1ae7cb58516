"""Owns the settings of the training loop: how long, on what, what is watched, kept and refused. `trainer.py` obeys them."""

import os
from dataclasses import dataclass, fields
from enum import Enum
from importlib.util import find_spec
from typing import Any

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.models.settings import Recompute
from qasr_train.run.settings import Device, Precision, refuse_fp16
from qasr_train.text.terms import TermList, read_terms


class BestBy(str, Enum):
    """Which figure of the dev sets decides the best checkpoint and early stopping."""

    error_rate = "error_rate"
    loss = "loss"

    @property
    def figure(self) -> str:
        """Its name among the figures of a validation."""
        return "dev/error_rate" if self is BestBy.error_rate else "dev/loss_nats"


class OnNonFinite(str, Enum):
    """What a loss or gradient that is not finite leads to; weights and optimizer are left alone either way."""

    stop = "stop"
    skip = "skip"  # the step is left out and its utterances are named


class OnWorse(str, Enum):
    """What a guard figure past its margin leads to."""

    none = "none"  # nothing is measured
    warn = "warn"
    stop = "stop"  # after `patience` validations the run ends, saved


def _margin(default: float, what: str) -> Any:
    return setting(default, ge=0, help=f"percentage points; how much {what} may rise. null: not watched")


@dataclass
class GuardConfig:
    """Figures of the dev sets that must stay as good as before the first step; a validation past a margin is never the best."""

    action: OnWorse = setting(
        OnWorse.none, help="a figure past its margin: none (nothing is measured), warn, or stop the run"
    )
    sets: list[str] = setting(["*"], help="patterns; dev sets that are watched")
    patience: int = setting(1, ge=1, help="validations in a row past a margin after which action=stop ends the run")
    terms: str | None = setting(None, help="path; term list of term_precision, a term a line. null: it is not measured")
    error_rate_points: float | None = _margin(1.0, "the error rate (CER by language)")
    deletion_points: float | None = _margin(1.0, "the words left out, of those of the references,")
    insertion_points: float | None = _margin(1.0, "the words put in, of those of the references,")
    wrong_language_points: float | None = _margin(1.0, "the outputs that tell another language than their reference")
    loop_points: float | None = _margin(0.5, "the outputs that repeat themselves")
    hallucination_points: float | None = _margin(2.0, "the clips without speech for which words are written")
    context_echo_points: float | None = _margin(1.0, "the terms offered and not spoken that are written")
    term_precision_points: float | None = setting(
        2.0,
        ge=0,
        help="percentage points; how much the share of written terms that were spoken may fall. null: not watched",
    )

    def __post_init__(self) -> None:
        check_settings(self, "trainer.guard")
        if self.is_on and not any(margin is not None for margin in self.margins().values()):
            raise ConfigError(
                f"trainer.guard.action={self.action.value} watches nothing: every margin is null; give one, or set action=none"
            )

    @property
    def is_on(self) -> bool:
        """Whether anything is measured."""
        return self.action is not OnWorse.none

    def margins(self) -> dict[str, float | None]:
        """Name of a figure -> its margin."""
        ending = "_points"
        names = [field.name for field in fields(self) if field.name.endswith(ending)]
        return {name.removesuffix(ending): getattr(self, name) for name in names}

    def read_terms(self) -> TermList | None:
        """The term list of `term_precision`, where it is measured; raises as `text.terms.read_terms`."""
        return read_terms(self.terms, "trainer.guard.terms") if self.is_on and self.terms else None


@dataclass
class TrainerConfig:
    """How long and how to train, what to watch, what to keep."""

    num_epochs: float | None = setting(
        3.0, gt=0, help="epochs; training ends here unless max_steps is given. null: max_steps ends it"
    )
    max_steps: int | None = setting(
        None, ge=1, help="optimizer steps; where given, training ends here. null: num_epochs ends it"
    )
    num_microbatches: int = setting(1, ge=1, help="microbatches of one optimizer step on each process (accumulation)")
    max_grad_norm: float | None = setting(1.0, gt=0, help="2-norm; longer gradients are scaled down to it. null: off")
    precision: Precision = setting(Precision.auto, help="format of the forward pass. auto: bf16 on a GPU, else fp32")
    device: Device = setting(Device.auto, help="where to compute. auto: a GPU where there is one")
    gradient_checkpointing: Recompute = setting(
        Recompute.none,
        help="activations computed again in the backward pass to save memory. conv: of the convolutions, most memory for "
        "least time; encoder: these and its layers; decoder: its layers; all: everything",
    )
    compile: bool = setting(
        False,
        help="whether torch compiles the layers of encoder and decoder: less time a step on a GPU (docs/benchmarks.md), some "
        "40 s more at the start",
    )
    log_every: int = setting(10, ge=1, help="steps between lines in metrics.jsonl")
    validate_every: int | None = setting(None, ge=1, help="steps between validations. null: at the end of each epoch")
    validate_at_start: bool = setting(True, help="whether to validate before the first step, for a baseline")
    save_every: int | None = setting(None, ge=1, help="steps between checkpoints. null: when validating")
    keep_last: int = setting(2, ge=1, help="checkpoints; how many of the newest are kept, beside the best ones")
    keep_best: int = setting(1, ge=1, help="checkpoints; how many of the best on the dev sets are kept")
    best_by: BestBy = setting(BestBy.error_rate, help="dev figure that decides: mean WER (CER by language), or loss")
    patience: int | None = setting(None, ge=1, help="validations without gain after which training stops. null: off")
    max_dev_utterances: int | None = setting(200, ge=1, help="utterances of each dev source. null: all of them")
    guard: GuardConfig = setting(GuardConfig(), help="figures of the dev sets that must not get worse")
    num_samples: int = setting(0, ge=0, help="dev transcripts written to samples.jsonl at each validation. 0: none")
    find_batch_seconds: bool = setting(
        False, help="search the largest data.batch_seconds that fits the GPU once, before training, and use it"
    )
    on_non_finite: OnNonFinite = setting(
        OnNonFinite.stop, help="loss or gradient is not finite: stop, or skip the step"
    )
    max_skipped_in_row: int = setting(10, ge=1, help="steps; with on_non_finite=skip, more than so many in a row stop")
    peak_tflops: float | None = setting(
        None,
        gt=0,
        help="TFLOP/s of one device, for its utilisation. null: known for some GPUs in bf16, else none is given",
    )
    peer_timeout_s: float = setting(60.0, ge=5, help="seconds of silence after which another process counts as dead")
    collective_timeout_s: float = setting(
        1800.0, ge=10, help="seconds a process waits for the others in one operation; longer than a validation"
    )

    def __post_init__(self) -> None:
        check_settings(self, "trainer")
        if self.max_steps is None and self.num_epochs is None:
            raise ConfigError(
                "trainer.num_epochs and trainer.max_steps are both null: training would never end; set one"
            )
        if self.guard.is_on and not self.validate_at_start:
            raise ConfigError(
                f"trainer.guard.action={self.guard.action.value} compares with the figures before the first step, and "
                "trainer.validate_at_start=false measures none; set it to true, or trainer.guard.action=none"
            )
        refuse_fp16(self.precision, "trainer.precision")


class OptimizerName(str, Enum):
    """How AdamW keeps its two means of every weight."""

    adamw = "adamw"  # float32: 8 bytes a weight
    adamw_8bit = "adamw_8bit"  # block-wise 8 bits, by bitsandbytes: 2 bytes a weight (Dettmers et al. 2022)


class Schedule(str, Enum):
    """How the learning rate goes on after the warm-up."""

    constant = "constant"
    linear = "linear"
    cosine = "cosine"


@dataclass
class OptimConfig:
    """AdamW and its schedule. A part's own learning rate wins over `lr`."""

    name: OptimizerName = setting(
        OptimizerName.adamw, help="optimizer; adamw_8bit takes 2 bytes a weight instead of 8 and needs bitsandbytes"
    )
    lr: float = setting(1e-4, gt=0, help="peak learning rate of every part that has none of its own")
    lr_encoder: float | None = setting(None, gt=0, help="peak learning rate; audio encoder. null: lr")
    lr_projector: float | None = setting(None, gt=0, help="peak learning rate; projector. null: lr")
    lr_decoder: float | None = setting(None, gt=0, help="peak learning rate; language model and head. null: lr")
    lr_adapters: float | None = setting(None, gt=0, help="peak learning rate; LoRA weights. null: lr")
    lr_adapters_encoder: float | None = setting(
        None, gt=0, help="peak learning rate; LoRA weights in the audio encoder. null: lr_adapters"
    )
    weight_decay: float = setting(
        0.0, ge=0, help="decoupled decay per unit of learning rate; never on biases and norms"
    )
    beta1: float = setting(0.9, ge=0, lt=1, help="decay of AdamW's mean of gradients")
    beta2: float = setting(0.98, ge=0, lt=1, help="decay of AdamW's mean of squared gradients")
    eps: float = setting(1e-8, gt=0, help="AdamW's term against division by zero")
    schedule: Schedule = setting(Schedule.cosine, help="course of the learning rate after warm-up")
    warmup_fraction: float = setting(0.05, ge=0, lt=1, help="share of all steps; linear warm-up from 0")
    final_lr_fraction: float = setting(0.0, ge=0, le=1, help="share of the peak that is left at the last step")

    def __post_init__(self) -> None:
        check_settings(self, "optim")
        if self.name is OptimizerName.adamw_8bit and find_spec("bitsandbytes") is None:
            raise ConfigError(
                "optim.name=adamw_8bit needs bitsandbytes, which is not installed; pip install bitsandbytes, or set "
                "optim.name=adamw"
            )

    def peak_lr(self, part: str) -> float:
        """The peak learning rate of a part: encoder, projector, decoder, adapters or adapters_encoder."""
        own = getattr(self, f"lr_{part}", None)
        if own is None and part == "adapters_encoder":
            own = self.lr_adapters
        return self.lr if own is None else own


ZERO_ASKED_FOR = "ACCELERATE_USE_DEEPSPEED"


def is_sharding_asked_for() -> bool:
    """Whether the launch asks for FSDP or DeepSpeed."""
    return is_on("ACCELERATE_USE_FSDP") or is_on(ZERO_ASKED_FOR)


def is_on(name: str) -> bool:
    return os.environ.get(name, "false").lower() in ("true", "1", "yes")
