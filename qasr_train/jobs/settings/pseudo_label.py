"""Owns the settings of `pseudo_label`."""

from dataclasses import dataclass
from typing import Any

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.run.settings import Device, Precision, refuse_fp16
from qasr_train.sources.settings import SourceConfig
from qasr_train.streaming.settings import refuse_heard_as_it_comes
from qasr_train.text.normalize import DEFAULT_NORMALIZER, get_normalizer
from qasr_train.transcription.prompts import refuse_prompt
from qasr_train.transcription.settings import DecodeConfig


@dataclass
class PseudoLabelConfig:
    """Labelling recordings with what a model hears, and keeping what it heard well."""

    model: Any = setting(help="section; the model that transcribes, the better the better the labels")
    source: SourceConfig = setting(SourceConfig(), help="section; the recordings; transcripts in it are not looked at")
    decode: DecodeConfig = setting(DecodeConfig(), help="section; how audio is turned into text")
    run_dir: str = setting(
        help="directory; new for every run, never overwritten. out= says the same, as in every recipe"
    )
    resume: bool = setting(False, help="go on with the run that run_dir holds, or filter a finished one again")
    min_confidence: float | None = setting(
        0.8,
        ge=0,
        le=1,
        help="0 to 1; transcripts the model is less sure of are rejected. null: whatever it says of itself",
    )
    keep_no_speech: bool = setting(
        False, help="whether recordings in which the model hears nothing are kept, with an empty text; else rejected"
    )
    min_characters_per_s: float = setting(
        0.5, ge=0, help="characters a second; less text than that for its length is rejected"
    )
    max_characters_per_s: float = setting(
        30.0, gt=0, help="characters a second; more text than that is rejected. Very fast speech has some 25"
    )
    agree_with: str | None = setting(
        None, help="directory; another model's run of this recipe on the same source, to agree with. null: none"
    )
    max_disagreement_percent: float = setting(
        20.0, ge=0, help="percent; error rate (WER, or CER by language) between the two transcripts, above it rejected"
    )
    normalizer: str = setting(
        DEFAULT_NORMALIZER, help="name; rules applied to both transcripts before they are compared"
    )
    device: Device = setting(Device.auto, help="where to compute. auto: a GPU where there is one")
    precision: Precision = setting(Precision.auto, help="number format of the model. auto: bf16 on a GPU, else fp32")
    seed: int = setting(0, ge=0, help="seed of the sample that decode.check_batch_invariance draws")

    def __post_init__(self) -> None:
        check_settings(self, "pseudo_label")
        refuse_fp16(self.precision, "precision")
        refuse_prompt(self.decode.prompt, self.model.family)
        refuse_heard_as_it_comes(self.decode.streaming, "pseudo_label")
        get_normalizer(self.normalizer)
        if self.source.streaming:
            raise ConfigError("source.streaming=true: pseudo_label reads the whole list; leave it false")
        if self.min_characters_per_s >= self.max_characters_per_s:
            raise ConfigError(
                f"min_characters_per_s={self.min_characters_per_s:g} must be less than "
                f"max_characters_per_s={self.max_characters_per_s:g}"
            )
