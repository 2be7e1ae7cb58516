"""Owns the settings of a Whisper model: which checkpoint, and how long a clip may be."""

from dataclasses import dataclass

from qasr_train.config.settings import check_settings, setting


@dataclass
class WhisperConfig:
    """A Whisper checkpoint in transformers' layout, of any size, multilingual or English only."""

    family: str = setting("whisper", help="name; the model family, see `qasr_train/models/families.py`")
    path: str = setting(help="directory or hub id, such as openai/whisper-large-v3")
    revision: str | None = setting(None, help="git revision of a hub id. null: its default branch")
    max_duration_s: float = setting(
        30.0, gt=0, le=30, help="seconds; longest clip of one pass, which Whisper's window of 30 s bounds"
    )

    def __post_init__(self) -> None:
        check_settings(self, "model")

    def locations(self) -> list[str | None]:
        """As `ModelConfig` has it."""
        return [self.path]
