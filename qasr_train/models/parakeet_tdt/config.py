"""Owns the settings of a Parakeet TDT model: which checkpoint, and how long a clip may be."""

from dataclasses import dataclass

from qasr_train.config.settings import check_settings, setting


@dataclass
class ParakeetTDTConfig:
    """A Parakeet TDT checkpoint in transformers' layout; NeMo's files are converted first (docs/systems.md)."""

    family: str = setting("parakeet_tdt", help="name; the model family, see `qasr_train/models/families.py`")
    path: str = setting(help="directory or hub id, such as nvidia/parakeet-tdt-0.6b-v3")
    revision: str | None = setting(None, help="git revision of a hub id. null: its default branch")
    max_duration_s: float = setting(
        480.0, gt=0, le=1440, help="seconds; longest clip of one pass, whose attention grows with the square of it"
    )

    def __post_init__(self) -> None:
        check_settings(self, "model")

    def locations(self) -> list[str | None]:
        """As `ModelConfig` has it."""
        return [self.path]
