"""Owns the settings of `export`."""

import re
from dataclasses import dataclass

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.models.settings import ExportDtype, ExportLayout, ExportTarget
from qasr_train.run.settings import Device

_UNITS = ("B", "KB", "MB", "GB", "TB")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]B)", re.IGNORECASE)


@dataclass
class ExportConfig:
    """Writing a model for others to load."""

    checkpoint: str = setting(help="directory or hub id; a run's checkpoint, a Qwen3-ASR or Whisper, or a LoRA adapter")
    out: str = setting(help="directory; new or empty, where the export goes")
    target: ExportTarget | None = setting(
        None,
        help="program; is to load it, so that what it does not take is refused. null: any, what some leave out is said",
    )
    layout: ExportLayout | None = setting(
        None,
        help="how the files are laid out; native: transformers, original: qwen-asr, adapter: PEFT. null: for `target`",
    )
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
    max_shard_size: str | None = setting(
        None, help="size (5GB, 500MB); the most that one weight file holds. null: one file however large"
    )
    verify_on: str | None = setting(
        None,
        help="manifest or other source with transcripts; checkpoint and export both hear it, and what differs is said. null: off",
    )
    max_wer_increase: float = setting(
        0.5, ge=0, help="points of WER (CER); an export that is worse on `verify_on` by more, as measured, is not kept"
    )
    device: Device = setting(Device.auto, help="where `verify_on` is heard. auto: a GPU where there is one")
    scores: list[str] = setting([], help="folders of evaluate or score runs; their figures go into the model card")

    def __post_init__(self) -> None:
        check_settings(self, "export")
        if self.max_shard_size is not None and not self.max_shard_bytes:
            raise ConfigError(
                f"max_shard_size={self.max_shard_size}: expected a size such as 5GB or 500MB (KB, MB, GB, TB)"
            )
        if self.verify_on is not None and (self.average or self.strength != 1.0):
            raise ConfigError(
                "verify_on: asks whether the export says what the checkpoint says, and with strength or average it is meant "
                "to say something else; leave it out, and evaluate the export by recipes/evaluate.py"
            )

    @property
    def max_shard_bytes(self) -> int | None:
        """`max_shard_size` in bytes, units of a thousand as on the Hub."""
        found = _SIZE.fullmatch(self.max_shard_size or "")
        return int(float(found[1]) * 1000 ** _UNITS.index(found[2].upper())) if found else None
