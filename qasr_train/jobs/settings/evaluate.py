"""Owns the settings of `evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qasr_train.config.settings import MISSING, check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.evaluation.columns.values import By
from qasr_train.evaluation.scoring.significance import ResampleBy
from qasr_train.evaluation.settings import (
    BINS,
    BY,
    RESAMPLE_BY,
    AlignmentSuiteConfig,
    ReportConfig,
    Scoring,
    SuiteConfig,
)
from qasr_train.evaluation.style.settings import STYLE, check_traits
from qasr_train.evaluation.words.settings import WordsConfig
from qasr_train.models.families import FAMILIES
from qasr_train.models.settings import Role
from qasr_train.run.settings import Device, Precision, TrackingConfig, refuse_fp16
from qasr_train.streaming.settings import refuse_streaming
from qasr_train.text.alternatives.lexicon import read_spellings
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import read_terms
from qasr_train.transcription.predictions import PREDICTIONS
from qasr_train.transcription.prompts import refuse_prompt
from qasr_train.transcription.settings import DecodeConfig

# What may differ when an evaluation is resumed, besides what changes no transcript: they are scored again.
SCORING_KEYS = (
    "baseline",
    "failed_as_empty",
    "suite.terms",
    "suite.spellings",
    "suite.mixed",
    "report",
    "tracking",
    "resample_by",
    "by",
    "bins",
    "words",
    "style",
)


@dataclass
class EvaluateConfig:
    """Transcribe a suite with a model, score it, write the report."""

    model: Any = setting(help="section; the checkpoint to evaluate")
    suite: SuiteConfig = setting(help="section; what is transcribed, and the rules of scoring")
    decode: DecodeConfig = setting(DecodeConfig(), help="section; how audio is turned into text")
    run_dir: str = setting(
        help="directory; new for every run, never overwritten. out= says the same, as in every recipe"
    )
    resume: bool = setting(False, help="go on with the run that run_dir holds")
    baseline: str | None = setting(
        None, help="directory; an evaluated run (of the base model) to compare with in the report. null: none"
    )
    failed_as_empty: bool = setting(
        False, help="whether a recording that failed counts as an empty text; else it is left out"
    )
    report: ReportConfig = setting(ReportConfig(), help="section; what report.html holds besides text")
    tracking: TrackingConfig = setting(TrackingConfig(), help="section; where figures go besides the run directory")
    device: Device = setting(Device.auto, help="where to compute. auto: a GPU where there is one")
    precision: Precision = setting(Precision.auto, help="number format of the model. auto: bf16 on a GPU, else fp32")
    resample_by: ResampleBy = setting(ResampleBy.auto, help=RESAMPLE_BY)
    by: list[str] = setting([], help=BY)
    bins: dict[str, list[float]] = setting({}, help=BINS)
    style: list[str] = setting([], help=STYLE)
    words: WordsConfig = setting(
        WordsConfig(), help="section; how sure the system was of each word, and words to check"
    )
    seed: int = setting(0, ge=0, help="seed of the sample that check_batch_invariance draws")

    def __post_init__(self) -> None:
        check_settings(self, "evaluate")
        refuse_fp16(self.precision, "precision")
        refuse_prompt(self.decode.prompt, self.model.family)
        refuse_other_kind(self.model.family, self.suite)
        refuse_streaming(self.decode.streaming, self.decode.engine, self.model, self.decode.max_duration_s)
        By(self.by, self.bins).check()
        check_traits(self.style, "style")
        if self.baseline not in (None, MISSING) and not (Path(str(self.baseline)) / PREDICTIONS).is_file():
            raise ConfigError(
                f"baseline={self.baseline}: holds no {PREDICTIONS}; name the run_dir of a finished evaluation"
            )

    def scoring(self) -> Scoring:
        """How the transcripts are scored and reported.

        Raises:
            UserError: the term list or the lexicon of spellings cannot be read.
        """
        terms = read_terms(self.suite.terms, "suite.terms") if self.suite.terms else None
        return Scoring(
            get_normalizer(self.suite.normalizer),
            terms,
            self.failed_as_empty,
            self.baseline,
            self.report,
            self.resample_by,
            By(self.by, self.bins),
            self.words,
            read_spellings(self.suite.spellings, "suite.spellings") if self.suite.spellings else None,
            self.suite.mixed,
            self.style,
        )


def refuse_other_kind(family: str, suite: SuiteConfig) -> None:
    """Refuse (ConfigError) an aligner where transcripts are scored, and a recogniser where times are."""
    known = FAMILIES.get(family)
    is_aligner = known is not None and known.role is Role.ALIGNER
    if is_aligner and not isinstance(suite, AlignmentSuiteConfig):
        raise ConfigError(f"model.family={family}: an aligner transcribes nothing; evaluate it with suite=alignment")
    if isinstance(suite, AlignmentSuiteConfig) and not is_aligner:
        raise ConfigError(
            f"suite={suite.name}: asks when words were said, which model.family={family} does not say; name an aligner, such as "
            "model=tiny_aligner"
        )
