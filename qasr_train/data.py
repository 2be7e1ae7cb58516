"""Owns the way from sources to padded batches: weighted mixture, limits, duration-bucketed plan, loader, exact position.

Input: named sources. Output: an iterator of optimizer steps, each a list of microbatches. What comes at a step is a
function of (seed, epoch, step) alone, so a resumed run goes on without replaying anything.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

from qasr_train.audio import probe_audio
from qasr_train.augment.augmenter import Augmenter
from qasr_train.augment.variants import mark_copies
from qasr_train.batch import Recording
from qasr_train.batching import epoch_indices, plan_batches, sorted_batches
from qasr_train.errors import AudioError, ConfigError, DataError
from qasr_train.feature_cache import CacheConfig
from qasr_train.loading import LoadedBatch, PlannedBatches, Transform, make_loader
from qasr_train.manifest import Utterance
from qasr_train.models.base import Collator
from qasr_train.settings import check_settings, setting
from qasr_train.sources import SourceConfig, UtteranceStream, load_utterances, stream_utterances

log = logging.getLogger(__name__)

UNREADABLE = "the audio cannot be opened"


class TooLong(str, Enum):
    """What to do with an utterance over a limit."""

    error = "error"
    drop = "drop"


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
    stream_window: int = setting(2000, ge=1, help="utterances; read from a streamed source at a time, then bucketed")
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


class Pool(Protocol):
    """One source, drawn from epoch by epoch."""

    name: str

    def draw(self, epoch: int) -> list[Utterance]:
        """The utterances of an epoch, the same for the same epoch."""

    def describe(self) -> str:
        """One line on what is in the source."""


@dataclass
class ListPool:
    """A map-style source: its utterances in memory, `passes` passes an epoch, differently ordered each time."""

    name: str
    utterances: list[Utterance]
    passes: float
    seed: Sequence[int]

    def draw(self, epoch: int) -> list[Utterance]:
        """See `Pool`; a fraction of a pass takes up where the last epoch ended."""
        chosen = epoch_indices(len(self.utterances), passes=self.passes, epoch=epoch, seed=self.seed)
        return [self.utterances[i] for i in chosen]

    def describe(self) -> str:
        """See `Pool`."""
        hours = sum(u.duration_s or 0.0 for u in self.utterances) / 3600
        return f"source {self.name}: {len(self.utterances)} utterances, {hours:.2f} h, {self.passes:g} passes an epoch"


@dataclass
class StreamPool:
    """A streamed source: a window of utterances an epoch. Remembers where each window began, so any can be read again."""

    name: str
    stream: UtteranceStream
    window: int
    keep: "Limits"
    starts: dict[int, dict[str, Any]] = field(default_factory=dict)

    def draw(self, epoch: int) -> list[Utterance]:
        """See `Pool`; at the end of the source it begins again."""
        if epoch not in self.starts:
            known = max((e for e in self.starts if e < epoch), default=None)
            for earlier in range(0 if known is None else known, epoch):
                self._read(earlier)
        return self._read(epoch)

    def describe(self) -> str:
        """See `Pool`."""
        return f"source {self.name}: streamed, {self.window} utterances at a time"

    def _read(self, epoch: int) -> list[Utterance]:
        if epoch in self.starts:
            self.stream.load_state_dict(self.starts[epoch])
        else:
            self.starts[epoch] = self.stream.state_dict()
        kept: list[Utterance] = []
        dropped_before = dict(self.keep.dropped)
        num_dropped = 0  # since the last one that was kept
        while len(kept) < self.window:
            fresh = self.stream.take(self.window - len(kept))
            if not fresh:
                raise DataError(f"source {self.name!r}: the stream gave no utterance; check its path and split")
            chosen = self.keep.within(measure_durations(fresh, skip=self._skip))
            num_dropped = 0 if chosen else num_dropped + len(fresh)
            if num_dropped >= max(self.window, 1000):
                raise DataError(
                    f"source {self.name!r}: none of the last {num_dropped} utterances is within the limits of length "
                    f"({self.keep.dropped}); change data.min_duration_s, data.max_duration_s or data.max_target_tokens"
                )
            kept.extend(chosen)
        self.starts[epoch + 1] = self.stream.state_dict()
        for reason, number in self.keep.dropped.items():
            if fresh_number := number - dropped_before.get(reason, 0):
                log.info("source %s: dropped %d of its next utterances: %s", self.name, fresh_number, reason)
        return kept

    def _skip(self, error: AudioError) -> None:
        """Leave out a recording that cannot be opened: no list was checked before, and one file must not end a stream."""
        log.warning("source %s: left out, %s", self.name, error)
        self.keep.dropped[UNREADABLE] = self.keep.dropped.get(UNREADABLE, 0) + 1


class Limits:
    """Applies the limits of length to utterances, and counts what it drops and why."""

    def __init__(self, config: DataConfig, collator: Collator, *, model_max_duration_s: float) -> None:
        self.config, self.collator = config, collator
        self.max_duration_s = min(config.max_duration_s, model_max_duration_s)
        self.duration_key = "data" if config.max_duration_s <= model_max_duration_s else "model"
        self.dropped: dict[str, int] = {}

    def __call__(self, utterances: list[Utterance], source: str) -> list[Utterance]:
        """The utterances within the limits, in order.

        Raises:
            DataError: one is over a limit and `data.too_long` is error (names its id), or none is left.
        """
        kept = self.within(utterances)
        if not kept:
            raise DataError(
                f"source {source!r}: none of its {len(utterances)} utterances is within the limits of length "
                f"({self.dropped}); change data.min_duration_s, data.max_duration_s or data.max_target_tokens"
            )
        return kept

    def within(self, utterances: list[Utterance]) -> list[Utterance]:
        """As calling it, but none may be left."""
        return [u for u in utterances if not self._drops(u)]

    def _drops(self, utterance: Utterance) -> bool:
        duration_s = utterance.duration_s or 0.0
        if duration_s < self.config.min_duration_s:
            return self._count(f"shorter than {self.config.min_duration_s:g} s")
        if duration_s > self.max_duration_s:
            self._refuse(
                utterance, f"lasts {duration_s:.1f} s, over {self.duration_key}.max_duration_s={self.max_duration_s:g}"
            )
            return self._count(f"longer than {self.max_duration_s:g} s")
        limit = self.config.max_target_tokens
        # A token is at least one byte, so nearly all rows pass without being tokenized; 16: language tag and end.
        if len((utterance.text or "").encode()) + 16 > limit:
            num_tokens = self.collator.num_target_tokens(utterance)
            if num_tokens > limit:
                self._refuse(utterance, f"has {num_tokens} target tokens, over data.max_target_tokens={limit}")
                return self._count(f"more than {limit} target tokens")
        return False

    def _refuse(self, utterance: Utterance, why: str) -> None:
        if self.config.too_long is TooLong.error:
            raise DataError(
                f"{utterance.origin}: utterance {utterance.id!r} {why}; raise the limit, cut the clip, or set "
                "data.too_long=drop"
            )

    def _count(self, reason: str) -> bool:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        return True


def measure_durations(
    utterances: list[Utterance], *, skip: Callable[[AudioError], None] | None = None
) -> list[Utterance]:
    """The same utterances with `duration_s` set, read from the audio headers where the manifest does not say.

    Args:
        utterances: of one source.
        skip: called for a recording that cannot be opened, which is then left out; None: it is an error.

    Raises:
        AudioError: a recording cannot be opened (names it).
    """
    missing = [u for u in utterances if u.duration_s is None]
    if not missing:
        return utterances
    if len(missing) > 1000:
        log.info("%d utterances state no duration; reading the headers (recipes/prepare.py does it once)", len(missing))
    measured: list[Utterance] = []
    with ThreadPoolExecutor(max_workers=8) as threads:
        found = threads.map(_with_duration, missing)
        for result in (utterance if utterance.duration_s is not None else next(found) for utterance in utterances):
            if isinstance(result, Utterance):
                measured.append(result)
            elif skip is None:
                raise result
            else:
                skip(result)
    return measured


def _with_duration(utterance: Utterance) -> Utterance | AudioError:
    end_s = utterance.end_s
    try:
        if end_s is None:
            end_s = probe_audio(utterance.audio, name=utterance.id).duration_s
    except AudioError as error:
        return error
    return replace(utterance, duration_s=max(0.0, end_s - (utterance.start_s or 0.0)))


def build_pools(sources: dict[str, SourceConfig], *, limits: Limits, stream_window: int, seed: int) -> dict[str, Pool]:
    """Open every source and apply the limits; streams are opened, not read."""
    pools: dict[str, Pool] = {}
    for number, (name, source) in enumerate(sources.items()):
        if source.streaming:
            window = max(1, round(stream_window * source.passes_per_epoch))
            pools[name] = StreamPool(name, stream_utterances(source, name), window, limits)
            continue
        utterances = limits(measure_durations(load_utterances(source, name)), name)
        pools[name] = ListPool(name, utterances, source.passes_per_epoch, (seed, number))
    return pools


@dataclass
class TrainingData:
    """The batches of a run on one process.

    pools: the sources. rank, num_processes: this process's share. num_microbatches: gradient accumulation.
    augment, transforms: what changes the clips from epoch to epoch; None, (): nothing does. load: what gives a recording;
    None: its file.
    """

    pools: dict[str, Pool]
    collator: Collator
    batch_seconds: float
    max_batch_rows: int | None
    seed: int
    num_microbatches: int = 1
    num_workers: int = 0
    prefetch_batches: int = 4
    pin_memory: bool = False
    rank: int = 0
    num_processes: int = 1
    augment: Augmenter | None = None
    transforms: Sequence[Transform] = ()
    load: Callable[[Utterance], Recording] | None = None
    _planned: dict[int, tuple[list[Utterance], list[list[int]]]] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_streamed(self) -> bool:
        """Whether a source is streamed, so that an epoch is a window of it."""
        return any(isinstance(pool, StreamPool) for pool in self.pools.values())

    def plan(self, epoch: int) -> tuple[list[Utterance], list[list[int]]]:
        """The utterances of an epoch and this process's batches of them; the last one asked for is remembered."""
        if epoch not in self._planned:
            self._planned = {epoch: self._plan(epoch)}
        return self._planned[epoch]

    def _plan(self, epoch: int) -> tuple[list[Utterance], list[list[int]]]:
        utterances = [u for pool in self.pools.values() for u in self._draw(pool, epoch)]
        batches = plan_batches(
            [u.duration_s or 0.0 for u in utterances],
            batch_seconds=self.batch_seconds,
            max_rows=self.max_batch_rows,
            seed=(self.seed, epoch),
            num_processes=self.num_processes,
        )
        return utterances, batches[self.rank :: self.num_processes]

    def _draw(self, pool: Pool, epoch: int) -> Sequence[Utterance]:
        utterances: Sequence[Utterance] = pool.draw(epoch)
        if (self.augment or self.transforms) and isinstance(pool, ListPool) and pool.passes > 1:
            utterances = mark_copies(utterances)  # what stands there twice is not to be changed twice the same way
        return self.augment.plan(utterances, epoch, source=pool.name) if self.augment else utterances

    def num_steps(self, epoch: int) -> int:
        """Optimizer steps of an epoch."""
        return -(-len(self.plan(epoch)[1]) // self.num_microbatches)

    def steps(self, epoch: int, first_step: int = 0) -> Iterator[list[LoadedBatch]]:
        """The steps of an epoch from `first_step` on; each the list of its microbatches."""
        utterances, batches = self.plan(epoch)
        loader = make_loader(
            PlannedBatches(
                utterances,
                batches[first_step * self.num_microbatches :],
                self.collator,
                epoch=epoch,
                augment=self.augment,
                transforms=self.transforms,
                load=self.load,
            ),
            num_workers=self.num_workers,
            prefetch_batches=self.prefetch_batches,
            pin_memory=self.pin_memory,
        )
        step: list[LoadedBatch] = []
        for loaded in loader:
            step.append(loaded)
            if len(step) == self.num_microbatches:
                yield step
                step = []
        if step:
            yield step

    def state_dict(self, epoch: int) -> dict[str, Any]:
        """What a resume needs beside epoch and step: where the streams' current window begins."""
        return {
            name: {"epoch": epoch, "start": pool.starts[epoch]}
            for name, pool in self.pools.items()
            if isinstance(pool, StreamPool) and epoch in pool.starts
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo of `state_dict`."""
        self._planned = {}
        for name, entry in state.items():
            pool = self.pools.get(name)
            if not isinstance(pool, StreamPool):
                raise ConfigError(
                    f"data.train.{name}: the checkpoint streamed this source; resume with the same sources"
                )
            pool.starts = {entry["epoch"]: entry["start"]}


def validation_batches(
    utterances: list[Utterance], *, batch_seconds: float, max_batch_rows: int | None
) -> list[list[int]]:
    """Batches of a dev set, longest first."""
    return sorted_batches(
        [u.duration_s or 0.0 for u in utterances], batch_seconds=batch_seconds, max_rows=max_batch_rows
    )
