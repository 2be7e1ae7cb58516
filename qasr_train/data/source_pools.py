"""Owns the pools an epoch is drawn from: a source as a list or table (`mixture.ListPool`), or as windows of a stream.

Input: source configs, limits of length. Output: pools by name, each giving the utterances of any epoch.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qasr_train.batch import FailedAudio
from qasr_train.data.length_limits import Limits, measure_durations
from qasr_train.data.mixture import ListPool, apply_temperature
from qasr_train.data.sampling import ExpectedErrors, sample
from qasr_train.data.settings import MixBy, SampleByErrorConfig
from qasr_train.errors import AudioError, ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.run.processes import ALONE, Processes
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_table, stream_utterances
from qasr_train.sources.streams import UtteranceStream
from qasr_train.sources.table import UtteranceTable

log = logging.getLogger(__name__)

UNREADABLE = "the audio cannot be opened"

SourceContent = UtteranceTable | UtteranceStream


@dataclass
class StreamPool:
    """This process's share of a streamed source: a window of utterances an epoch, shuffled and bucketed by the plan.

    Remembers where each window began, so any can be read again; `failed` are the recordings of the last window read that could
    not be opened.
    """

    name: str
    stream: UtteranceStream
    window: int
    keep: Limits
    starts: dict[int, dict[str, Any]] = field(default_factory=dict)
    failed: list[FailedAudio] = field(default_factory=list)

    def draw(self, epoch: int) -> Sequence[Utterance]:
        """The utterances of an epoch, the same for the same epoch; at the end of the source it begins again."""
        if epoch not in self.starts:
            known = max((e for e in self.starts if e < epoch), default=None)
            for earlier in range(0 if known is None else known, epoch):
                self._read(earlier)
        return self._read(epoch)

    def describe(self) -> str:
        """One line on what is in the source."""
        return f"source {self.name}: streamed, {self.window} utterances at a time on each process"

    def _read(self, epoch: int) -> list[Utterance]:
        begin = self.starts.setdefault(epoch, self.stream.state_dict())
        if self.stream.state_dict() != begin:
            self.stream.load_state_dict(begin)
        kept: list[Utterance] = []
        self.failed = []
        dropped_before = dict(self.keep.dropped)
        num_dropped = 0  # since the last one that was kept
        while len(kept) < self.window:
            fresh = self.stream.take(self.window - len(kept))
            if not fresh:
                processes = self.stream.processes
                raise DataError(
                    f"source {self.name!r}: the stream gave process {processes.rank} of {processes.num_processes} no "
                    "utterance; check its path and split, and that it holds more than there are processes"
                )
            chosen = self.keep.within(measure_durations(fresh, skip=self._skip))
            num_dropped = 0 if len(chosen) else num_dropped + len(fresh)
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

    def _skip(self, utterance: Utterance, error: AudioError) -> None:
        """Leave out a recording that cannot be opened: no list was checked before, and one file must not end a stream."""
        log.warning("source %s: left out, %s", self.name, error)
        self.keep.dropped[UNREADABLE] = self.keep.dropped.get(UNREADABLE, 0) + 1
        self.failed.append(FailedAudio(utterance.id, str(error)))


Pool = ListPool | StreamPool


def open_sources(
    sources: Mapping[str, SourceConfig], *, processes: Processes = ALONE, seed: int = 0, takes_all: bool = False
) -> dict[str, SourceContent]:
    """Read the tables and open the streams of a mixture; needs no model.

    takes_all: rows of other splits than train are not set aside (a stream's checkpoint says that itself).

    Raises:
        DataError: as `load_table` and `stream_utterances`.
        ConfigError: an epoch would hold fewer utterances than there are processes.
    """
    opened: dict[str, SourceContent] = {}
    for name, source in sources.items():
        if source.streaming:
            opened[name] = stream_utterances(source, name, processes=processes, seed=seed, key=f"data.train.{name}")
        else:
            opened[name] = load_table(source, name, is_trained_on=not takes_all, key=f"data.train.{name}")
    tables = {name: table for name, table in opened.items() if isinstance(table, UtteranceTable)}
    # Each source gives an epoch at least one, see `epoch_indices`; a stream gives each process its window.
    num_drawn = sum(max(1, int(len(table) * sources[name].passes_per_epoch)) for name, table in tables.items())
    if len(tables) == len(opened) and num_drawn < processes.num_processes:
        raise ConfigError(
            f"data: {num_drawn} utterances an epoch cannot be shared by {processes.num_processes} processes; launch fewer "
            "processes or give more data"
        )
    return opened


def build_pools(
    sources: Mapping[str, SourceConfig],
    *,
    limits: Limits,
    stream_window: int,
    seed: int,
    opened: Mapping[str, SourceContent] | None = None,
    mix_temperature: float | None = None,
    mix_by: MixBy = MixBy.language,
    sampling: tuple[SampleByErrorConfig, ExpectedErrors] | None = None,
) -> dict[str, Pool]:
    """Apply limits and weights to the sources of a mixture; streams are not read.

    Args:
        sources: name -> config.
        limits: of length; counts what it drops.
        stream_window: utterances of a stream that all processes together read at a time, for one pass an epoch.
        seed: of the run.
        opened: what `open_sources` gave; None: opened here, for one process.
        mix_temperature, mix_by: see `mixture.apply_temperature`; None: weights are `passes_per_epoch` alone.
        sampling: how clips are drawn by what predictions say of them, within the passes of their source; None: all as often.

    Raises:
        ConfigError: a temperature with a streamed source, whose hours nobody knows.
        DataError: as `open_sources` and `sampling.sample`; a source of which nothing is within the limits.
    """
    opened = opened if opened is not None else open_sources(sources, seed=seed)
    streams: dict[str, StreamPool] = {}
    lists: dict[str, ListPool] = {}
    for number, (name, source) in enumerate(sources.items()):
        content, passes = opened[name], source.passes_per_epoch
        if isinstance(content, UtteranceStream):
            window = _share(round(stream_window * passes), content.processes)
            streams[name] = StreamPool(name, content, window, limits)
        else:
            lists[name] = ListPool(name, limits(measure_durations(content), name), passes, (seed, number))
    if sampling is not None:
        lists = {name: sampled_by_error(pool, *sampling) for name, pool in lists.items()}
    if mix_temperature is not None and streams:
        raise ConfigError(
            f"data.mix_temperature={mix_temperature:g} needs the hours of every source, and {next(iter(streams))} is streamed; "
            "set mix_temperature=null and give passes_per_epoch"
        )
    if mix_temperature is not None:
        return dict(apply_temperature(lists, mix_temperature, mix_by))
    return {name: streams.get(name) or lists[name] for name in sources}


def sampled_by_error(pool: ListPool, config: SampleByErrorConfig, errors: ExpectedErrors) -> ListPool:
    """A pool drawn by what predictions say of its clips, where its source is to be; raises as `sampling.sample`."""
    if not config.is_for(pool.name):
        return pool
    utterances, draws, told = sample(pool.utterances, config, errors, pool.name)
    return ListPool(pool.name, utterances, pool.passes, pool.seed, draws, told)


def _share(number: int, processes: Processes) -> int:
    """This process's part of a number, at least 1."""
    return max(1, number // processes.num_processes + (processes.rank < number % processes.num_processes))
