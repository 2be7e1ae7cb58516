"""Owns the settings of a Qwen3-ASR model: which checkpoint, and its limits."""

from dataclasses import dataclass

from qasr_train.settings import check_settings, setting


@dataclass
class Qwen3ASRConfig:
    """A Qwen3-ASR checkpoint: native, original or adapter layout, on disk or on the Hub."""

    family: str = setting("qwen3_asr", help="name; the model family, see `qasr_train/models/__init__.py`")
    path: str = setting(help="directory or hub id; native or original layout, a checkpoint of a run, or a LoRA adapter")
    revision: str | None = setting(None, help="git revision of a hub id. null: its default branch")
    base: str | None = setting(
        None, help="directory or hub id; base model of a LoRA adapter in `path`. null: the one the adapter names"
    )
    max_duration_s: float = setting(1200.0, gt=0, le=1200, help="seconds; longest clip the model takes in one pass")

    def __post_init__(self) -> None:
        check_settings(self, "model")
