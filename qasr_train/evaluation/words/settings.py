"""Owns the settings of words to check: how sure a system was of each word, calibrated on which recordings. No torch."""

from dataclasses import dataclass
from enum import Enum

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError

READ_PERCENTS = (1.0, 5.0, 10.0, 20.0)


class Aggregate(str, Enum):
    """How the probabilities of a word's tokens become one.

    product: that of the word as the model has it, their logarithms summed: the best of Oneață et al. 2021 (SLT, arXiv
    2101.05525). min: the least of them, NeMo's default. mean: their geometric mean, so that long words are no less sure.
    """

    product = "product"
    min = "min"
    mean = "mean"


@dataclass
class WordsConfig:
    """How sure the system was of each word, where its predictions tell: figures, shading, words to check."""

    aggregate: Aggregate = setting(
        Aggregate.product,
        help="how the probabilities of a word's tokens become one: product, min, or mean (geometric)",
    )
    dev_run: str | None = setting(
        None,
        help="path; predictions or run of other recordings, on which confidences are calibrated. null: see dev_sets",
    )
    dev_sets: list[str] = setting(
        [],
        help="names; sets to calibrate on, of dev_run, or of this run, where they then enter no figure of words. []: all of "
        "dev_run; without it nothing is calibrated",
    )
    read_percents: list[float] = setting(
        list(READ_PERCENTS),
        gt=0,
        le=100,
        help="percent; shares of the words, the least sure ones, that somebody might read",
    )

    def __post_init__(self) -> None:
        check_settings(self, "words")
        if not self.read_percents:
            raise ConfigError("words.read_percents=[]: name at least one share of the words, e.g. [5]")
        if sorted(set(self.read_percents)) != list(self.read_percents):
            raise ConfigError(f"words.read_percents={self.read_percents}: must rise, each named once")
