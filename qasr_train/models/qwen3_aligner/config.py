"""Owns the settings of a Qwen3-ForcedAligner: which checkpoint and its limits, and where its parts lie. Imports no torch."""

from dataclasses import dataclass, replace

from qasr_train.config.settings import check_settings, setting
from qasr_train.files import without_moving_links
from qasr_train.models.qwen3_asr import config as recogniser
from qasr_train.models.run_folder import checkpoint_in_run

PARTS = replace(recogniser.PARTS, head="score")


@dataclass
class Qwen3AlignerConfig:
    """A Qwen3-ForcedAligner checkpoint: native, original or adapter layout, on disk or on the Hub."""

    family: str = setting("qwen3_aligner", help="name; the model family, see `qasr_train/models/families.py`")
    path: str = setting(help="directory or hub id; native or original layout, a checkpoint of a run, or a LoRA adapter")
    revision: str | None = setting(None, help="git revision of a hub id. null: its default branch")
    base: str | None = setting(
        None, help="directory or hub id; base model of a LoRA adapter in `path`. null: the one the adapter names"
    )
    max_duration_s: float = setting(
        180.0, gt=0, le=400, help="seconds; longest clip the model takes in one pass, never more than it has slots for"
    )
    place_in_slot: float = setting(
        0.5, ge=0, le=1, help="share of a slot after its start at which its time lies; 0: the start, as qwen-asr has it"
    )
    weighs_neighbours: bool = setting(
        True,
        help="whether a time lies between the likeliest slot and its neighbours as they are probable; qwen-asr: false",
    )
    new_languages: list[str] = setting(
        [], help="names of languages that the checkpoint does not state, to be learned here and kept with it"
    )

    def __post_init__(self) -> None:
        check_settings(self, "model")
        self.path = without_moving_links(checkpoint_in_run(self.path))  # a run records the step's folder, not a link
        self.base = without_moving_links(checkpoint_in_run(self.base)) if self.base else self.base

    def locations(self) -> list[str | None]:
        """As `ModelConfig` has it."""
        return [self.path, self.base]
