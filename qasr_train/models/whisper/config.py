"""Owns the settings of a Whisper model: which checkpoint, how much of its window it hears, and where its parts lie. No torch."""

from dataclasses import dataclass
from enum import Enum

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.files import without_moving_links
from qasr_train.models.run_folder import checkpoint_in_run
from qasr_train.models.settings import Parts

PARTS = Parts(
    encoder="model.encoder",
    decoder="model.decoder",
    embeddings="model.decoder.embed_tokens",
    head="proj_out",
    constants=("model.encoder.embed_positions.weight",),
    aliases={
        "o_proj": "out_proj",
        "up_proj": "fc1",
        "down_proj": "fc2",
        **dict.fromkeys(("gate_proj", "linear_1", "linear_2", "projector.*"), ""),
    },
)


class Window(str, Enum):
    """How many frames the encoder is given of a clip."""

    full = "full"  # the 30 s of the published models, silence after the clip
    clip = "clip"  # those of the clip, up to the next half second: many times faster on short ones; has to be trained


@dataclass
class WhisperConfig:
    """A Whisper checkpoint in transformers' layout, of any size, multilingual or English only; or a LoRA adapter over one."""

    family: str = setting("whisper", help="name; the model family, see `qasr_train/models/families.py`")
    path: str = setting(
        help="directory or hub id, such as openai/whisper-large-v3; a checkpoint of a run, or a LoRA adapter"
    )
    revision: str | None = setting(None, help="git revision of a hub id. null: its default branch")
    base: str | None = setting(
        None, help="directory or hub id; base model of a LoRA adapter in `path`. null: the one the adapter names"
    )
    max_duration_s: float = setting(
        30.0, gt=0, le=30, help="seconds; longest clip of one pass, which Whisper's window of 30 s bounds"
    )
    window: Window = setting(
        Window.full,
        help="what the encoder is given: the full 30 s, or the clip alone, which a model must have been trained for",
    )
    full_window_fraction: float = setting(
        0.0,
        ge=0,
        lt=1,
        help="share of the clips of a training batch that get the full window all the same, where window=clip",
    )
    supervise_language: bool = setting(
        False, help="whether training teaches the language and task tokens too, for a model that is to tell languages"
    )
    no_speech_threshold: float | None = setting(
        None,
        gt=0,
        lt=1,
        help="probability of Whisper's no-speech token above which a transcript is empty; 0.6 is OpenAI's. null: not asked",
    )

    def __post_init__(self) -> None:
        check_settings(self, "model")
        self.path = without_moving_links(checkpoint_in_run(self.path))  # a run records the step's folder, not a link
        self.base = without_moving_links(checkpoint_in_run(self.base)) if self.base else self.base
        if self.full_window_fraction and self.window is Window.full:
            raise ConfigError(
                f"model.full_window_fraction={self.full_window_fraction:g} is a share of clips beside window=clip, and "
                "model.window=full gives all of them the full window; set model.window=clip, or the fraction to 0"
            )

    def locations(self) -> list[str | None]:
        """As `ModelConfig` has it."""
        return [self.path, self.base]

    @property
    def trained_windows(self) -> list[str]:
        """What a model trained with these settings has seen."""
        return [self.window.value, *(["full"] if self.full_window_fraction else [])]
