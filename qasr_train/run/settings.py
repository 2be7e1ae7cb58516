"""Owns the settings of a run: where it computes, in which number format, where its figures go. Imports no torch."""

from dataclasses import dataclass
from enum import Enum

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError


class Device(str, Enum):
    """Where to compute."""

    auto = "auto"  # a GPU where there is one
    cpu = "cpu"
    cuda = "cuda"


class Precision(str, Enum):
    """Number format of weights and activations in transcription."""

    auto = "auto"  # bf16 on a GPU that has it, else fp32
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"  # always refused, with the reason: see refuse_fp16


def refuse_fp16(precision: Precision, key: str) -> None:
    """Raise ConfigError for fp16: it is a choice only so that the reason can be told."""
    if precision is Precision.fp16:
        raise ConfigError(
            f"{key}=fp16: the decoder of Qwen3-ASR overflows float16 and writes '!!!!'; use bf16 (same memory), or fp32"
        )


class Backend(str, Enum):
    """Where figures go beside metrics.jsonl."""

    none = "none"
    wandb = "wandb"
    tensorboard = "tensorboard"


class WandbMode(str, Enum):
    """Whether wandb sends as the run goes, or keeps the run on disk for `wandb sync`."""

    online = "online"
    offline = "offline"


@dataclass
class TrackingConfig:
    """Tracking of a run."""

    backend: Backend = setting(Backend.none, help="tracker fed beside metrics.jsonl")
    project: str = setting("qasr_train", help="name; the tracker's project")
    name: str | None = setting(None, help="name of the run in the tracker. null: the tracker chooses")
    mode: WandbMode = setting(WandbMode.online, help="wandb only: send at once, or keep on disk")
    allow_text: bool = setting(False, help="whether transcripts and their ids may go to the tracker (wandb only)")
    allow_audio: bool = setting(False, help="whether recordings may go to the tracker (wandb only, evaluate.py)")

    def __post_init__(self) -> None:
        check_settings(self, "tracking")
