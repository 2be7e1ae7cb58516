"""Owns the settings of `prepare`."""

from dataclasses import dataclass
from enum import Enum

from qasr_train.config.settings import check_settings, setting
from qasr_train.corpus.debris import Debris
from qasr_train.corpus.splits import SplitBy
from qasr_train.errors import ConfigError
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
    split: SplitConfig = setting(SplitConfig(), help="dividing into train, dev and test; off while both shares are 0")

    def __post_init__(self) -> None:
        check_settings(self, "prepare")
        if self.min_duration_s >= self.max_duration_s:
            raise ConfigError(
                f"min_duration_s={self.min_duration_s} must be less than max_duration_s={self.max_duration_s}"
            )
        if self.source.streaming:
            raise ConfigError("source.streaming=true: prepare reads the whole corpus; leave it false")
