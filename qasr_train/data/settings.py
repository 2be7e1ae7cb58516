"""Owns the settings of training data: sources, limits, batches, loader, caches. Imports no torch."""

from dataclasses import dataclass
from enum import Enum

from qasr_train.config.patterns import matches_any
from qasr_train.config.settings import check_settings, setting
from qasr_train.data.buckets import BatchBudget
from qasr_train.errors import ConfigError
from qasr_train.sources.settings import SourceConfig
from qasr_train.text.normalize import DEFAULT_NORMALIZER, get_normalizer


class TooLong(str, Enum):
    """What to do with an utterance over a limit."""

    error = "error"
    drop = "drop"


class MixBy(str, Enum):
    """Between what a temperature evens out."""

    source = "source"
    language = "language"


@dataclass
class CacheConfig:
    """Features kept on disk between epochs and runs. The folder is as confidential as the audio it was made of."""

    dir: str | None = setting(None, help="directory; log-mels are kept here in half precision. null: no cache")
    encoder_outputs: bool = setting(
        False,
        help="keep what the encoder makes of each clip instead; for a frozen encoder and projector, no augmentation",
    )
    max_gb: float = setting(50.0, gt=0, help="gigabytes (1e9 bytes) the directory may grow to; then nothing is added")

    def __post_init__(self) -> None:
        check_settings(self, "data.cache")
        if self.encoder_outputs and self.dir is None:
            raise ConfigError("data.cache.encoder_outputs=true needs a directory; set data.cache.dir")


class Unpredicted(str, Enum):
    """What to do with a clip whose error rate no prediction tells."""

    error = "error"
    drop = "drop"


@dataclass
class SampleByErrorConfig:
    """Clips drawn by the error rate that saved predictions lead one to expect: what is heard without fault teaches little.

    An epoch draws a clip in proportion to (its error rate + floor_percent) ** power, in as many draws as its source has clips
    within the range, times its passes. The choice of clips matters more than the form of a reward (arXiv 2509.18569).
    """

    predictions: str | None = setting(
        None,
        help="path; run folder of evaluate or predictions.jsonl that holds the rows of data.train. null: every clip as often",
    )
    first_epoch: bool = setting(
        False,
        help="whether the run's own first epoch tells instead, by what objective=mwer or gspo hears; later epochs are drawn so",
    )
    sources: list[str] = setting(
        ["*"], help="patterns; sources of data.train that are drawn so. Others are as they are"
    )
    normalizer: str = setting(DEFAULT_NORMALIZER, help="name; the normaliser of the error rates (CER by language)")
    power: float = setting(1.0, ge=0, le=4, help="exponent of the weight. 0: all clips within the range as often")
    floor_percent: float = setting(
        5.0, gt=0, help="percent; added to every error rate, so that a clip heard without fault is drawn too"
    )
    max_draws: float = setting(4.0, ge=1, help="draws; the most of one clip in an epoch of one pass")
    min_percent: float = setting(0.0, ge=0, help="percent; clips of a lower error rate are left out")
    max_percent: list[float] = setting(
        [100.0],
        gt=0,
        help="percent; clips of a higher error rate are left out: in the first epoch, the second ..., and as the last says from "
        "then on. [30,50,70] is a curriculum; []: no limit, wrong transcripts included",
    )
    unpredicted: Unpredicted = setting(
        Unpredicted.error, help="a clip that no prediction tells of: stop, or drop it and count it"
    )

    def __post_init__(self) -> None:
        key = "data.sample_by_error"
        check_settings(self, key)
        get_normalizer(self.normalizer, f"{key}.normalizer")
        if self.first_epoch and self.predictions is not None:
            raise ConfigError(
                f"{key}.first_epoch=true hears the clips itself, and {key}.predictions={self.predictions} tells of them; set one "
                "of the two"
            )
        if lower := [one for one in self.max_percent if one < self.min_percent]:
            raise ConfigError(
                f"{key}.max_percent={lower[0]:g} is below {key}.min_percent={self.min_percent:g}; exchange them"
            )

    def is_for(self, source: str) -> bool:
        """Whether a source of data.train is drawn so."""
        key = "data.sample_by_error.sources"
        return self.is_on and matches_any(key, self.sources, source)

    @property
    def is_on(self) -> bool:
        """Whether some epoch is drawn by errors."""
        return self.first_epoch or self.predictions is not None


class FeaturesOn(str, Enum):
    """Where the log-mel of training and dev clips is made."""

    worker = "worker"
    device = "device"


@dataclass
class DataConfig:
    """Which sources are trained on and watched, and how their utterances become batches."""

    train: dict[str, SourceConfig] = setting({}, help="name -> source; what is trained on, mixed")
    dev: dict[str, SourceConfig] = setting({}, help="name -> source; what validation watches. empty: no validation")
    batch_seconds: float = setting(
        120.0, gt=0, help="seconds; padded audio of one microbatch on one process (rows times its longest clip)"
    )
    max_batch_rows: int | None = setting(None, ge=1, help="utterances; most rows of a microbatch. null: no such limit")
    min_duration_s: float = setting(0.05, ge=0, help="seconds; shorter clips are dropped and counted")
    max_duration_s: float = setting(30.0, gt=0, help="seconds; longer clips are handled as `too_long` says")
    max_target_tokens: int = setting(1024, ge=4, help="tokens; longer targets are handled as `too_long` says")
    too_long: TooLong = setting(TooLong.error, help="clip or target over its limit: stop, or drop it and count it")
    max_failed_fraction: float = setting(
        0.01, ge=0, le=1, help="share of the clips read so far; above it unreadable audio stops the run"
    )
    mix_temperature: float | None = setting(
        None, ge=1, help="evens out shares p of an epoch's hours to p^(1/T). 1: as passes_per_epoch says. null: off"
    )
    mix_by: MixBy = setting(MixBy.language, help="between what mix_temperature evens out: languages or sources")
    stream_window: int = setting(
        2000, ge=1, help="utterances; all processes read so many of a streamed source at a time, then bucket them"
    )
    num_workers: int = setting(2, ge=0, help="processes that decode and collate. 0: in the main process")
    prefetch_batches: int = setting(4, ge=1, help="batches each worker keeps ready")
    features_on: FeaturesOn = setting(
        FeaturesOn.worker, help="where the log-mel is made: in the loader workers, or on the training device"
    )
    cache: CacheConfig = setting(CacheConfig(), help="features kept on disk")
    sample_by_error: SampleByErrorConfig = setting(
        SampleByErrorConfig(), help="clips drawn by the error rate that predictions lead one to expect"
    )

    def __post_init__(self) -> None:
        check_settings(self, "data")
        if self.max_duration_s > self.batch_seconds:
            raise ConfigError(
                f"data.batch_seconds={self.batch_seconds:g} cannot hold one clip of data.max_duration_s="
                f"{self.max_duration_s:g}; raise batch_seconds or lower max_duration_s"
            )
        if self.features_on is FeaturesOn.device and self.cache.dir is not None:
            raise ConfigError(
                "data.features_on=device makes features anew in every epoch, and data.cache.dir keeps those that workers "
                "make; set one of the two"
            )
        self._check_sampled()

    def _check_sampled(self) -> None:
        sampling = self.sample_by_error
        if not sampling.is_on or not self.train:
            return
        chosen = [name for name in self.train if sampling.is_for(name)]
        if not chosen:
            raise ConfigError(
                f"data.sample_by_error.sources={sampling.sources} matches no source of data.train ({', '.join(self.train)})"
            )
        if streamed := [name for name in chosen if self.train[name].streaming]:
            raise ConfigError(
                f"data.train.{streamed[0]}.streaming=true: a draw by error rate has to know all rows; set streaming=false, or "
                "leave the source out of data.sample_by_error.sources"
            )

    @property
    def budget(self) -> BatchBudget:
        """What a microbatch on one process may hold."""
        return BatchBudget(self.batch_seconds, self.max_batch_rows)

    @property
    def makes_features(self) -> bool:
        """Whether loader workers make the features; else the model does, on its device."""
        return self.features_on is FeaturesOn.worker
