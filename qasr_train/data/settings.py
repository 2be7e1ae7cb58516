"""Owns the settings of training data: sources, limits, batches, loader, caches. Imports no torch."""

from dataclasses import dataclass
from enum import Enum

from qasr_train.config.settings import check_settings, setting
from qasr_train.data.buckets import BatchBudget
from qasr_train.errors import ConfigError
from qasr_train.sources.settings import SourceConfig


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

    @property
    def budget(self) -> BatchBudget:
        """What a microbatch on one process may hold."""
        return BatchBudget(self.batch_seconds, self.max_batch_rows)

    @property
    def makes_features(self) -> bool:
        """Whether loader workers make the features; else the model does, on its device."""
        return self.features_on is FeaturesOn.worker
