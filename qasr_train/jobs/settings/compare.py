"""Owns the settings of `compare`."""

from dataclasses import dataclass

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.evaluation.columns.values import By
from qasr_train.evaluation.scoring.significance import ResampleBy
from qasr_train.evaluation.settings import BINS, BY, RESAMPLE_BY, SPELLINGS, GateConfig, ReportConfig
from qasr_train.evaluation.style.settings import STYLE, check_traits
from qasr_train.text.normalize import get_normalizer


@dataclass
class CompareConfig:
    """Comparing two runs."""

    baseline: str = setting(help="path; run folder with scores.json and utterances.jsonl, or predictions")
    candidate: str | None = setting(
        None, help="path; run folder with scores.json and utterances.jsonl, or predictions. null: see candidates"
    )
    out: str = setting(help="path; directory for comparison.json, report.md and report.html")
    candidates: list[str] = setting(
        [], help="paths; several candidates instead, each against the baseline, with Bonferroni's correction. []: one"
    )
    terms: str | None = setting(
        None,
        help="path, or medical; term list whose recall, precision and F1 are compared. null: as the runs were scored",
    )
    normalizer: str | None = setting(
        None, help="name; score both anew by these rules. null: as they were scored, else qasr-2"
    )
    spellings: str | None = setting(None, help=f"{SPELLINGS} null: as the runs were scored")
    gate: GateConfig = setting(
        GateConfig(), help="when the candidate may replace the baseline; exit status 1 if it may not"
    )
    note: str | None = setting(
        None, help="sentences for the head of the report: what the figures show or do not. null: none"
    )
    report: ReportConfig = setting(ReportConfig(), help="section; what report.html holds besides text")
    resample_by: ResampleBy = setting(ResampleBy.auto, help=RESAMPLE_BY)
    by: list[str] = setting([], help=BY)
    bins: dict[str, list[float]] = setting({}, help=BINS)
    style: list[str] = setting([], help=STYLE)

    def __post_init__(self) -> None:
        check_settings(self, "compare")
        if self.normalizer is not None:
            get_normalizer(self.normalizer)
        By(self.by, self.bins).check()
        check_traits(self.style, "style")
        if self.gate.worst_group is not None and not self.by:
            raise ConfigError(
                f"gate.worst_group={self.gate.worst_group:g} judges the groups of columns, and by=[] names none; give by=[COLUMN]"
            )
        if (self.candidate is None) is (not self.candidates):
            raise ConfigError(
                "give either candidate=PATH or candidates=[PATH,PATH]: what the baseline is compared with"
            )
