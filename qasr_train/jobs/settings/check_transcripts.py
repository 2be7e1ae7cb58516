"""Owns the settings of `check_transcripts`."""

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
class CheckTranscriptsConfig:
    """Ranking the transcripts of a manifest by their distance from what a model hears."""

    model: Any = setting(
        help="section; the model that listens; the base model, never one that was trained on these rows"
    )
    source: SourceConfig = setting(SourceConfig(), help="section; the recordings with the transcripts in doubt")
    decode: DecodeConfig = setting(DecodeConfig(), help="section; how audio is turned into text")
    run_dir: str = setting(
        help="directory; new for every run, never overwritten. out= says the same, as in every recipe"
    )
    resume: bool = setting(False, help="go on with the run that run_dir holds, or filter a finished one again")
    normalizer: str = setting(DEFAULT_NORMALIZER, help="name; rules applied to both texts before they are compared")
    max_wer_percent: float | None = setting(
        None, ge=0, help="percent; rows above it are left out of the manifest. null: none. Look at worst.html first"
    )
    max_cer_percent: float | None = setting(
        None, ge=0, help="percent; the same for languages scored by characters (Chinese, Japanese ...). null: none"
    )
    num_shown: int = setting(200, ge=1, help="rows; the worst that stand in worst.html")
    device: Device = setting(Device.auto, help="where to compute. auto: a GPU where there is one")
    precision: Precision = setting(Precision.auto, help="number format of the model. auto: bf16 on a GPU, else fp32")
    seed: int = setting(0, ge=0, help="seed of the sample that decode.check_batch_invariance draws")

    def __post_init__(self) -> None:
        check_settings(self, "check_transcripts")
        refuse_fp16(self.precision, "precision")
        refuse_prompt(self.decode.prompt, self.model.family)
        refuse_heard_as_it_comes(self.decode.streaming, "check_transcripts")
        get_normalizer(self.normalizer)
        if self.source.streaming:
            raise ConfigError("source.streaming=true: check_transcripts reads the whole list; leave it false")

    @property
    def limits_percent(self) -> dict[str, float | None]:
        """Metric -> the most a row may differ; None: no limit."""
        return {"wer": self.max_wer_percent, "cer": self.max_cer_percent}
