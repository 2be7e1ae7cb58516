"""Owns the settings of an evaluation: what a model is evaluated on, how it is scored, the gate, what a report holds. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from qasr_train.augment.settings import MAX_DISTRACTORS
from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.evaluation.columns.values import By
from qasr_train.evaluation.scoring.significance import ResampleBy
from qasr_train.evaluation.style.settings import check_traits
from qasr_train.evaluation.words.settings import WordsConfig
from qasr_train.sources.settings import SourceConfig
from qasr_train.text.alternatives.lexicon import SpellingLexicon
from qasr_train.text.normalize import DEFAULT_NORMALIZER, NORMALIZERS, Normalizer
from qasr_train.text.terms import TermList

# At or above this error rate, in percent, a model that was trained on a set has learned nothing of it.
NOTHING_LEARNED_PERCENT = 90.0
# More of its outputs are not broken by accident, percent.
MAX_BROKEN_PERCENT = 30.0
NOTHING_LEARNED = (
    "nothing was learned; try another rate (optim.lr), more steps (trainer.max_steps, trainer.num_epochs) or adapt=full"
)

# What `resample_by` is, for every recipe that has it.
RESAMPLE_BY = (
    "what is taken to be independent: auto (speakers where two or more are named, else utterances), speaker, utterance"
)
# What `spellings` is, for every recipe that has it.
SPELLINGS = (
    "path; lexicon: words that are equal in a line, apart by tabs, below [Hindi] for that language alone; right besides what "
    "a reference states itself as { a / b }."
)
# What `mixed` is, likewise.
MIXED = (
    "whether to give MER (characters of scripts without spaces, words of others), errors by script and at switches of language; "
    "for sets in which two scripts meet"
)
# What `by` and `bins` are, for every recipe that has them.
BY = (
    "names; columns to give rates by, e.g. [gender,accent]: of the manifest, or set, role, language, speaker, "
    "predicted_language, duration_s, speaking_rate. []: none"
)
BINS = (
    "column -> rising numbers; edges between the bins of a column of numbers, e.g. {duration_s: [2,10]}. {}: quarters"
)


class Offer(str, Enum):
    """What stands in the system turn; the value ends the name of the set under this condition."""

    nothing = "no context"
    spoken = "spoken terms + distractors"
    distractors = "distractors only"


@dataclass
class ContextConditionsConfig:
    """Evaluating every set three times: without context, with the spoken terms among distractors, with distractors alone."""

    terms: str | None = setting(None, help="path; term list, a term a line, from which terms are offered. null: off")
    num_distractors: int = setting(20, ge=1, le=MAX_DISTRACTORS, help="terms; distractors offered to each utterance")
    only_with_terms: bool = setting(
        False, help="whether to leave out utterances in which no term of the list is spoken; else all are kept"
    )
    seed: int = setting(0, ge=0, help="seed of which distractors, and of their order")

    def __post_init__(self) -> None:
        check_settings(self, "suite.context")


@dataclass
class NoiseConditionsConfig:
    """Noise and rooms for every set of a suite: one set more for each condition. Off while neither `files` nor `rooms` is set."""

    files: str | None = setting(
        None,
        help="folder, glob or manifest of noises; each clip gets a stretch of one, mixed in on the fly. null: none",
    )
    rooms: str | None = setting(
        None,
        help="folder, glob or manifest of room impulse responses; every condition once without and once in a room. null: none",
    )
    snrs_db: list[float] = setting(
        [20.0, 10.0, 5.0, 0.0],
        ge=-40,
        le=80,
        help="decibels; ratios of the clip's active level to the noise's mean power",
    )
    seed: int = setting(
        0, ge=0, help="seed of what a clip is given; with the clip's id it decides noise, stretch and room"
    )

    def __post_init__(self) -> None:
        check_settings(self, "suite.noise")
        if self.files is not None and not self.snrs_db:
            raise ConfigError("suite.noise.snrs_db=[]: name at least one ratio, or set suite.noise.files=null")
        if len(set(self.snrs_db)) < len(self.snrs_db):
            raise ConfigError(f"suite.noise.snrs_db={self.snrs_db}: a ratio stands twice; name each once")


class Role(str, Enum):
    """What a set is for when a fine-tune is compared with its base."""

    target = "target"  # should improve
    guard = "guard"  # must not get worse
    none = "none"


@dataclass
class SetConfig:
    """One set: where its utterances come from and what it is for."""

    source: SourceConfig = setting(SourceConfig(), help="where the utterances come from")
    parents: SourceConfig | None = setting(
        None,
        help="of a set of chunks (columns parent_id, chunk_index): the whole recordings with their texts. null: no chunks",
    )
    role: Role = setting(Role.none, help="target: should improve; guard: must not get worse; none: only reported")
    access: str | None = setting(
        None, help="sentence; what a person must do before the set can be loaded (licence, login). null: nothing"
    )

    def __post_init__(self) -> None:
        check_settings(self, "suite.sets")


@dataclass
class SuiteConfig:
    """Which sets are transcribed, and how their transcripts are compared with the references."""

    name: str = setting(help="name; stands in the report")
    sets: dict[str, SetConfig] = setting({}, help="name -> set; what is evaluated on")
    only: list[str] = setting([], help="names; evaluate on these sets alone. []: on all")
    noise: NoiseConditionsConfig = setting(
        NoiseConditionsConfig(), help="noise and rooms for every set: one set more for each condition"
    )
    context: ContextConditionsConfig = setting(
        ContextConditionsConfig(), help="every set without, with right and with wrong hotwords: three sets of each"
    )
    normalizer: str = setting(DEFAULT_NORMALIZER, help="name; the rules applied to both texts before they are compared")
    terms: str | None = setting(
        None,
        help="path, or medical; term list (a term a line) whose recall, precision and error rate are given. null: "
        "context.terms, if set",
    )
    spellings: str | None = setting(None, help=f"{SPELLINGS} null: that alone")
    mixed: bool = setting(False, help=MIXED)

    def __post_init__(self) -> None:
        check_settings(self, "suite")
        self.terms = self.terms or self.context.terms
        if self.normalizer not in NORMALIZERS:
            raise ConfigError(f"suite.normalizer={self.normalizer}: unknown; choose one of {', '.join(NORMALIZERS)}")
        if not self.sets:
            raise ConfigError(
                "suite.sets is empty; use suite=own suite.manifest=FILE, or name a suite of configs/suite"
            )
        unknown = [name for name in self.only if name not in self.sets]
        if unknown:
            raise ConfigError(f"suite.only={unknown[0]}: no such set; choose among {', '.join(self.sets)}")

    def chosen_sets(self) -> dict[str, SetConfig]:
        """The sets to evaluate on, by name, in the order of the config."""
        return {name: config for name, config in self.sets.items() if not self.only or name in self.only}


@dataclass
class OwnSuiteConfig(SuiteConfig):
    """The suite of a user's own manifest: configs/suite/own.yaml makes a set of it."""

    manifest: str = setting(help="path; your manifest, or another source (CSV, Parquet, folder, hub id)")


@dataclass
class NoiseSuiteConfig(OwnSuiteConfig):
    """The suite of a user's own manifest with noise: configs/suite/noise.yaml hands `noises` on to `noise.files`."""

    noises: str = setting(help="path; folder, glob or manifest of the noises that are mixed in")


@dataclass
class AlignmentSuiteConfig(OwnSuiteConfig):
    """What an aligner is evaluated on: rows with words that have times; see configs/suite/alignment.yaml."""

    baselines: list[str] = setting(
        ["proportional"],
        help="what stands beside it: proportional (words shared out by their length), directories of Whisper models. []: nothing",
    )
    other_letters: bool = setting(
        False,
        help="whether the aligner is asked for the same words in capitals too (in small letters where they have capitals), and "
        "it is told how far its times move",
    )
    recogniser: str | None = setting(
        None,
        help="directory or hub id; hears what words are in which part of a recording longer than the aligner takes at once. "
        "null: such a recording is refused",
    )
    min_confidence: float = setting(
        0.0, ge=0, le=1, help="probability; a word less sure counts as unplaced. 0: every word in order is placed"
    )


@dataclass
class GateConfig:
    """When a candidate may replace the baseline."""

    max_guard_loss_points: float = setting(
        3.0,
        ge=0,
        help="points of WER or CER; the most a guard set may lose, surely: the upper bound of its loss counts "
        "(max_guard_loss_points of sweep_strength.py, 0.5, goes by the figures as measured)",
    )
    alpha: float = setting(0.05, gt=0, lt=0.5, help="share; how often a check may pass by chance alone")
    min_units: int = setting(
        5, ge=2, help="speakers (utterances where none are named) that a set must have to be judged; else undecided"
    )
    max_broken_percent: float = setting(
        MAX_BROKEN_PERCENT,
        ge=0,
        le=100,
        help="percent; the most outputs of a target or guard that may be broken: empty, garbled, looping, cut off, "
        "in another language",
    )
    max_broken_growth_points: float = setting(
        5.0, ge=0, le=100, help="points; by how much that share may be above the baseline's"
    )
    max_target_percent: float = setting(
        NOTHING_LEARNED_PERCENT,
        gt=0,
        help="percent of WER or CER; a target that stays at or above it was not learned, however far it fell",
    )
    target: list[str] | None = setting(
        None, help="names of sets that must improve. null: those whose rows say role=target"
    )
    guard: list[str] | None = setting(None, help="names of sets that must not get worse. null: rows with role=guard")
    worst_group: float | None = setting(
        None,
        ge=0,
        help="points of WER or CER; the most that any group of the columns in by may lose, surely; small groups are "
        "undecided. null: groups are not judged",
    )
    style_target: list[str] = setting(
        [],
        help="names; of style (punctuation, capitals, numbers, units, fillers), what must improve on the target sets",
    )
    style_guard: list[str] = setting(
        [], help="names; of style, what must not get worse on the target sets; on all sets where none is a target"
    )
    max_style_loss_points: float = setting(
        3.0, ge=0, help="points of a style's error rate; the most that one in style_guard may lose, surely"
    )

    def __post_init__(self) -> None:
        check_settings(self, "gate")
        check_traits(self.style_target, "gate.style_target")
        check_traits(self.style_guard, "gate.style_guard")
        if both := sorted(set(self.style_target) & set(self.style_guard)):
            raise ConfigError(
                f"gate.style_target and gate.style_guard both name {both[0]}; what must improve needs no guard"
            )


@dataclass
class ReportConfig:
    """What a report holds besides text."""

    embed_audio: bool = setting(
        False, help="whether report.html holds recordings; whoever has the file can then hear them"
    )
    max_audio_mb: float = setting(20.0, gt=0, help="megabytes; the recordings in report.html stay below this")

    def __post_init__(self) -> None:
        check_settings(self, "report")


@dataclass(frozen=True)
class Scoring:
    """How transcripts are scored and reported.

    terms: whose figures are given; None: of none. failed_as_empty: whether a recording that failed counts as an empty text.
    baseline: folder of a run to compare with in the report; None: with none. resample_by: what is taken to be independent.
    by: the columns that rates are given by. words: how it is told how sure each word was.
    lexicon: spellings that are equal; None: those alone that references state. traits: of style, told.
    mixed: whether errors are given by script and at switches of language.
    """

    normalizer: Normalizer
    terms: TermList | None
    failed_as_empty: bool
    baseline: str | None
    report: ReportConfig
    resample_by: ResampleBy = ResampleBy.auto
    by: By = field(default_factory=By)
    words: WordsConfig = field(default_factory=WordsConfig)
    lexicon: SpellingLexicon | None = None
    mixed: bool = False
    traits: Sequence[str] = ()
