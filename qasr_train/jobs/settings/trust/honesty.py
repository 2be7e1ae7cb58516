"""Owns the settings of `honesty`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.evaluation.scoring.significance import ResampleBy
from qasr_train.evaluation.settings import RESAMPLE_BY, SetConfig, SuiteConfig
from qasr_train.jobs.settings.evaluate import EvaluateConfig
from qasr_train.run.settings import Device, Precision, refuse_fp16
from qasr_train.sources.settings import SourceConfig
from qasr_train.streaming.settings import refuse_heard_as_it_comes
from qasr_train.text.normalize import DEFAULT_NORMALIZER, get_normalizer
from qasr_train.transcription.prompts import refuse_prompt
from qasr_train.transcription.settings import DecodeConfig

HEARD, MASKED = "heard", "masked"  # folders of a run: the test set as it is, and with masked numbers


@dataclass
class HonestyConfig:
    """Probing whether a model knows a test set by heart."""

    model: Any = setting(help="section; the model in question")
    source: SourceConfig = setting(SourceConfig(), help="the test set, with its texts as they were published")
    corrected: str | None = setting(
        None,
        help="path; the same ids with what was said, where published texts are wrong (prepare.py plant.fraction). null: none",
    )
    decode: DecodeConfig = setting(DecodeConfig(), help="section; how audio is turned into text")
    baseline: str | None = setting(
        None,
        help="directory; a run of this recipe of a model that surely never saw the test set, such as the base. null: none",
    )
    run_dir: str = setting(
        help="directory; new for every run, never overwritten. out= says the same, as in every recipe"
    )
    resume: bool = setting(False, help="go on with the run that run_dir holds, or judge a finished one again")
    normalizer: str = setting(DEFAULT_NORMALIZER, help="name; rules by which two ways of writing are the same")
    chance_percent: float = setting(
        10.0,
        ge=0,
        lt=100,
        help="percent; a probe is dark where its share (above the baseline's) is surely below this, and "
        "lights up, without a baseline, where it is surely above it",
    )
    resample_by: ResampleBy = setting(
        ResampleBy.utterance, help=f"{RESAMPLE_BY}. Whether a text is known hangs on the clip, not on who speaks it"
    )
    device: Device = setting(Device.auto, help="where to compute. auto: a GPU where there is one")
    precision: Precision = setting(Precision.auto, help="number format of the model. auto: bf16 on a GPU, else fp32")
    seed: int = setting(
        0, ge=0, help="seed of the shuffles, and of the sample that decode.check_batch_invariance draws"
    )

    def __post_init__(self) -> None:
        check_settings(self, "honesty")
        refuse_fp16(self.precision, "precision")
        refuse_prompt(self.decode.prompt, self.model.family)
        refuse_heard_as_it_comes(self.decode.streaming, "honesty")
        get_normalizer(self.normalizer)
        if self.normalizer == "none":
            raise ConfigError("normalizer=none holds no two ways of writing to be the same; choose another")
        if self.source.streaming:
            raise ConfigError("source.streaming=true: honesty reads the whole test set; leave it false")
        if self.baseline is not None and not (Path(self.baseline) / HEARD).is_dir():
            raise ConfigError(f"baseline={self.baseline}: holds no run of honesty; name the run_dir of one")

    def evaluation(self, name: str, run_dir: str, *, resume: bool) -> EvaluateConfig:
        """What run.json of a part records: an evaluation, which evaluate.py may go on with and compare.py read."""
        suite = SuiteConfig(name="honesty", sets={name: SetConfig(self.source)}, normalizer=self.normalizer)
        return EvaluateConfig(
            model=self.model,
            suite=suite,
            decode=self.decode,
            run_dir=run_dir,
            resume=resume,
            device=self.device,
            precision=self.precision,
            resample_by=self.resample_by,
            seed=self.seed,
        )
