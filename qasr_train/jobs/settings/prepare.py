"""Owns the settings of `prepare`."""

from dataclasses import dataclass
from enum import Enum

from qasr_train.config.settings import check_settings, setting
from qasr_train.corpus.debris import Debris
from qasr_train.corpus.overlap import SharedBy
from qasr_train.corpus.runs_of_words import NGRAM
from qasr_train.corpus.splits import SplitBy
from qasr_train.errors import ConfigError
from qasr_train.sources.corpora.written import Layout
from qasr_train.sources.settings import SourceConfig


class Duplicates(str, Enum):
    """What to do with a recording that is the same sound as an earlier one."""

    keep = "keep"
    drop = "drop"
    error = "error"


@dataclass
class SplitConfig:
    """How rows that name no split are divided; rows that name one keep it."""

    dev_fraction: float = setting(0.0, ge=0, lt=1, help="share of the hours that goes to dev")
    test_fraction: float = setting(0.0, ge=0, lt=1, help="share of the hours that goes to test")
    by: SplitBy = setting(SplitBy.speaker, help="what stays together: all clips of a speaker, or only each clip")
    seed: int = setting(0, help="another seed draws other speakers or clips")

    def __post_init__(self) -> None:
        check_settings(self, "split")
        if self.dev_fraction + self.test_fraction >= 1:
            raise ConfigError(
                f"split.dev_fraction={self.dev_fraction} and split.test_fraction={self.test_fraction} leave nothing for "
                "train; their sum must be less than 1"
            )


@dataclass
class OverlapConfig:
    """Test sets that stand elsewhere, and what becomes of a clip that is in one. Rows of the split test are not looked at."""

    tests: dict[str, SourceConfig] = setting({}, help="name -> source; test sets to look every clip up in. empty: none")
    by: list[SharedBy] = setting(
        [SharedBy.audio, SharedBy.text], help="audio, text; the same sound, or a run of words of a test's text"
    )
    num_words: int = setting(
        NGRAM, ge=1, help="words (characters where no spaces are written); so long a run counts as shared"
    )
    then: Duplicates = setting(Duplicates.keep, help="a clip that is in a test set: keep and tell, drop, stop")

    def __post_init__(self) -> None:
        check_settings(self, "overlap")
        if not self.by:
            raise ConfigError("overlap.by=[]: name audio, text or both; overlap.tests={} looks nothing up")
        if self.then is not Duplicates.keep and not self.tests:
            raise ConfigError(
                f"overlap.then={self.then.value}: there is nothing to look clips up in; give overlap.tests.NAME.path"
            )


@dataclass
class PlantConfig:
    """Wrong words in a test set that is handed out: who learned it by heart writes them (recipes/honesty.py)."""

    fraction: float = setting(
        0.0,
        ge=0,
        le=1,
        help="share of the rows of the split test, of all where none names a split, that get one wrong word. 0: off",
    )
    seed: int = setting(0, ge=0, help="seed of which rows and which words; keep it to yourself")

    def __post_init__(self) -> None:
        check_settings(self, "plant")


@dataclass
class PrepareConfig:
    """A raw corpus, and the folder its checked manifest is written to."""

    source: SourceConfig = setting(SourceConfig(), help="the corpus as it is")
    out: str = setting(help="folder for manifest, rejects and summary; made if missing")
    convert: bool = setting(False, help="write every clip as 16 kHz mono FLAC below out/audio, spans cut")
    num_workers: int | None = setting(
        None, ge=0, help="processes that decode. null: one for each core; 0: none but this"
    )
    min_duration_s: float = setting(0.1, ge=0, help="seconds; shorter clips are rejected")
    max_duration_s: float = setting(1200.0, gt=0, help="seconds; longer clips are rejected. The models hear 20 minutes")
    duplicates: Duplicates = setting(
        Duplicates.keep, help="the same sound twice: keep and count, drop all but one, stop"
    )
    mend: list[Debris] = setting(
        [], help="markup, remarks ([inaudible]), spaces; what is taken out of transcripts. []: they stay as they are"
    )
    overlap: OverlapConfig = setting(
        OverlapConfig(), help="test sets that stand elsewhere, of which nothing is to be trained on"
    )
    also: list[Layout] = setting(
        [], help="kaldi, lhotse; the manifest's clips also as kaldi/SPLIT/ and lhotse/cuts_SPLIT.jsonl.gz. []: neither"
    )
    plant: PlantConfig = setting(
        PlantConfig(), help="wrong words in a test set to hand out; corrected.jsonl keeps what was said"
    )
    split: SplitConfig = setting(SplitConfig(), help="dividing into train, dev and test; off while both shares are 0")

    def __post_init__(self) -> None:
        check_settings(self, "prepare")
        if self.min_duration_s >= self.max_duration_s:
            raise ConfigError(
                f"min_duration_s={self.min_duration_s} must be less than max_duration_s={self.max_duration_s}"
            )
        if self.source.streaming:
            raise ConfigError("source.streaming=true: prepare reads the whole corpus; leave it false")
