"""Owns the settings of a Canary-Qwen model: which checkpoint, whose tokenizer, and how long a clip may be."""

from dataclasses import dataclass

from qasr_train.config.settings import check_settings, setting


@dataclass
class CanaryQwenConfig:
    """A Canary-Qwen checkpoint as NeMo publishes it: config.json and safetensors."""

    family: str = setting("canary_qwen", help="name; the model family, see `qasr_train/models/families.py`")
    path: str = setting(help="directory or hub id, such as nvidia/canary-qwen-2.5b")
    revision: str | None = setting(None, help="git revision of a hub id. null: its default branch")
    llm: str | None = setting(
        None,
        help="directory or hub id; whose tokenizer and sizes the language model has. null: llm/ beside the weights, else "
        "what config.json names",
    )
    max_duration_s: float = setting(
        40.0, gt=0, le=300, help="seconds; longest clip of one pass, 40 being the longest it was trained on"
    )

    def __post_init__(self) -> None:
        check_settings(self, "model")

    def locations(self) -> list[str | None]:
        """As `ModelConfig` has it."""
        return [self.path, self.llm]
