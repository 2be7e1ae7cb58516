"""Owns the settings of `export`."""

from dataclasses import dataclass

from qasr_train.config.settings import check_settings, setting
from qasr_train.models.settings import ExportDtype, ExportLayout


@dataclass
class ExportConfig:
    """Writing a model for others to load."""

    checkpoint: str = setting(help="directory or hub id; a run's checkpoint, a Qwen3-ASR or Whisper, or a LoRA adapter")
    out: str = setting(help="directory; new or empty, where the export goes")
    layout: ExportLayout = setting(ExportLayout.native, help="who is to load it")
    dtype: ExportDtype = setting(
        ExportDtype.auto,
        help="number format of the weights. auto: that of the published models, bfloat16 (Qwen3-ASR) or float16 (Whisper)",
    )
    average: list[str] = setting(
        [], help="directories; further checkpoints of the run, averaged with `checkpoint`. []: it alone"
    )
    strength: float = setting(
        1.0,
        ge=0,
        le=2,
        help="factor on what training changed. 1: as trained, 0: the base, between them: gains less and forgets less",
    )
    base: str | None = setting(
        None, help="directory or hub id; the model training started from. null: the one the adapter or the run names"
    )
    revision: str | None = setting(
        None, help="git revision of `checkpoint`, if it is a hub id. null: its default branch"
    )
    scores: list[str] = setting([], help="folders of evaluate or score runs; their figures go into the model card")

    def __post_init__(self) -> None:
        check_settings(self, "export")
