"""Owns the settings of a model loaded through transformers' auto classes: which checkpoint, and how long a clip may be."""

from dataclasses import dataclass

from qasr_train.config.settings import check_settings, setting


@dataclass
class TransformersAutoConfig:
    """A CTC or encoder-decoder checkpoint of transformers that transcribes without a prompt."""

    family: str = setting("transformers_auto", help="name; the model family, see `qasr_train/models/families.py`")
    path: str = setting(help="directory or hub id, such as facebook/wav2vec2-base-960h")
    revision: str | None = setting(None, help="git revision of a hub id. null: its default branch")
    max_duration_s: float = setting(
        30.0, gt=0, le=1200, help="seconds; longest clip of one pass; what the model takes, see its card"
    )

    def __post_init__(self) -> None:
        check_settings(self, "model")

    def locations(self) -> list[str | None]:
        """As `ModelConfig` has it."""
        return [self.path]
