"""Owns the settings of a Qwen3-ASR model, which checkpoint and its limits, and where its parts lie. Imports no torch."""

from dataclasses import dataclass
from enum import Enum

from qasr_train.config.settings import check_settings, setting
from qasr_train.files import without_moving_links
from qasr_train.models.run_folder import checkpoint_in_run
from qasr_train.models.settings import Parts

PARTS = Parts(
    encoder="model.audio_tower",
    projector="model.multi_modal_projector",
    decoder="model.language_model",
    embeddings="model.language_model.embed_tokens",
    head="lm_head",
)


class Packing(str, Enum):
    """Whether the decoder sees rows padded to the longest, or one after the other without padding."""

    auto = "auto"  # packed: it was never slower where it was measured
    packed = "packed"
    padded = "padded"


@dataclass
class Qwen3ASRConfig:
    """A Qwen3-ASR checkpoint: native, original or adapter layout, on disk or on the Hub."""

    family: str = setting("qwen3_asr", help="name; the model family, see `qasr_train/models/families.py`")
    path: str = setting(help="directory or hub id; native or original layout, a checkpoint of a run, or a LoRA adapter")
    revision: str | None = setting(None, help="git revision of a hub id. null: its default branch")
    base: str | None = setting(
        None, help="directory or hub id; base model of a LoRA adapter in `path`. null: the one the adapter names"
    )
    max_duration_s: float = setting(1200.0, gt=0, le=1200, help="seconds; longest clip the model takes in one pass")

    packing: Packing = setting(
        Packing.auto, help="rows of a training batch: packed into one sequence without padding, or padded. auto: packed"
    )

    def __post_init__(self) -> None:
        check_settings(self, "model")
        self.path = without_moving_links(checkpoint_in_run(self.path))  # a run records the step's folder, not a link
        self.base = without_moving_links(checkpoint_in_run(self.base)) if self.base else self.base

    def locations(self) -> list[str | None]:
        """As `ModelConfig` has it."""
        return [self.path, self.base]
