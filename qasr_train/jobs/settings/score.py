"""Owns the settings of `score`."""

from dataclasses import dataclass

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.evaluation.columns.values import By
from qasr_train.evaluation.scoring.significance import ResampleBy
from qasr_train.evaluation.settings import BINS, BY, MIXED, RESAMPLE_BY, SPELLINGS, ReportConfig
from qasr_train.evaluation.style.settings import STYLE, check_traits
from qasr_train.evaluation.words.settings import WordsConfig
from qasr_train.text.normalize import DEFAULT_NORMALIZER, NORMALIZERS, get_normalizer


@dataclass
class ScoreConfig:
    """Scoring saved predictions again."""

    predictions: str = setting(
        help="path; a predictions.jsonl, a leaderboard manifest, a folder of them, or a run directory"
    )
    out: str = setting(help="path; directory for scores.json, utterances.jsonl, report.md and report.html")
    normalizer: str = setting(
        DEFAULT_NORMALIZER,
        help="name; rules of comparison: leaderboard-2026-08, leaderboard-2026-11, qasr-1, qasr-2, none",
    )
    also_by: list[str] = setting(
        [],
        help="names; further rules for the same predictions, each in OUT/NAME, and what moved by rules alone. []: none",
    )
    language: str | None = setting(
        None, help="name or code; of rows without their own. null: English in leaderboard manifests"
    )
    system: str | None = setting(
        None, help="name; which system of a folder of leaderboard manifests. null: there is one"
    )
    terms: str | None = setting(
        None,
        help="path, or medical; term list (a term a line) whose recall, precision and error rate are given. null: none",
    )
    spellings: str | None = setting(None, help=f"{SPELLINGS} null: that alone")
    mixed: bool = setting(False, help=MIXED)
    failed_as_empty: bool = setting(
        False, help="whether a failed row counts as an empty hypothesis; else it is left out"
    )
    report: ReportConfig = setting(ReportConfig(), help="section; what report.html holds besides text")
    confidence: float = setting(0.95, gt=0, lt=1, help="share; how often an interval should hold the true figure")
    resample_by: ResampleBy = setting(ResampleBy.auto, help=RESAMPLE_BY)
    by: list[str] = setting([], help=BY)
    bins: dict[str, list[float]] = setting({}, help=BINS)
    style: list[str] = setting([], help=STYLE)
    manifest: str | None = setting(
        None,
        help="path; manifest that has the columns in by where the predictions carry none, matched by id. null: they do",
    )
    words: WordsConfig = setting(
        WordsConfig(), help="section; how sure the system was of each word, and words to check"
    )
    num_workers: int | None = setting(None, ge=1, help="processes that normalise and align. null: one per core")

    def __post_init__(self) -> None:
        check_settings(self, "score")
        get_normalizer(self.normalizer)
        for name in self.also_by:
            if name not in NORMALIZERS:
                raise ConfigError(f"also_by={name}: unknown; choose among {', '.join(NORMALIZERS)}")
            if name == self.normalizer or self.also_by.count(name) > 1:
                raise ConfigError(f"also_by={name}: is named twice; each of normalizer and also_by must be another one")
        By(self.by, self.bins).check()
        check_traits(self.style, "style")
