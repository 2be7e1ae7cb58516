"""Owns the way from sources to padded batches: weighted mixture, limits, duration-bucketed plan, loader, exact position.

Input: named sources. Output: an iterator of optimizer steps, each a list of microbatches. What comes at a step is a
function of (seed, epoch, step) alone, so a resumed run goes on without replaying anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from qasr_train.augment.clip_changes import NO_CHANGES, Changes
from qasr_train.augment.variants import mark_copies
from qasr_train.batch import FailedAudio
from qasr_train.data.buckets import BatchBudget, plan_batches
from qasr_train.data.epoch_plan import DoneSteps, PackedBatches, PlanShape, make_up_number, plan_epoch
from qasr_train.data.hearing import FirstEpoch
from qasr_train.data.mixture import ListPool, source_of
from qasr_train.data.source_pools import Pool, StreamPool
from qasr_train.data.workers import LoadedBatch, LoadRows, PlannedBatches, make_loader
from qasr_train.errors import ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.models.base import TrainingCollator
from qasr_train.run.processes import ALONE, Processes
from qasr_train.sources.table import Joined

HEARD = "heard"  # of a checkpoint's position in the data


@dataclass
class TrainingData:
    """The batches of a run on one process.

    pools: the sources. budget: of a batch. processes: among which the batches are shared; where a source is streamed, all of
    them ask for the same at the same time. num_microbatches: gradient accumulation.
    changes: what is done to clips anew in every epoch. load: what gives recordings; None: their files.
    first_epoch: takes in what is heard of clips in the first epoch, by which the others are drawn; None: they are drawn as it is.
    """

    pools: Mapping[str, Pool]
    collator: TrainingCollator
    budget: BatchBudget
    seed: int
    num_microbatches: int = 1
    num_workers: int = 0
    prefetch_batches: int = 4
    pin_memory: bool = False
    processes: Processes = ALONE
    changes: Changes = NO_CHANGES
    load: LoadRows | None = None
    first_epoch: FirstEpoch | None = None
    _planned: dict[int, tuple[Joined, PackedBatches]] = field(default_factory=dict, init=False, repr=False)
    _done: dict[int, list[DoneSteps]] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_streamed(self) -> bool:
        """Whether a source is streamed, so that an epoch is a window of it."""
        return any(isinstance(pool, StreamPool) for pool in self.pools.values())

    @property
    def shape(self) -> PlanShape:
        """What an epoch is cut by."""
        return PlanShape(self.processes.num_processes, self.num_microbatches, self.budget)

    def plan(self, epoch: int) -> tuple[Joined, PackedBatches]:
        """The utterances of an epoch and this process's batches of them; the last one asked for is remembered.

        Of an epoch that was begun under another `shape`, the batches of what is left.
        """
        if epoch not in self._planned:
            self._planned = {epoch: self._plan_own(epoch) if self._has_own_share else self._plan(epoch)}
        return self._planned[epoch]

    @property
    def _has_own_share(self) -> bool:
        return self.is_streamed and self.processes.num_processes > 1

    @property
    def _sources(self) -> list[str]:
        return [source_of(pool.name) for pool in self.pools.values()]

    def _plan(self, epoch: int) -> tuple[Joined, PackedBatches]:
        """The same plan on every process, of which each takes its batches."""
        utterances = Joined([self._draw(pool, epoch) for pool in self.pools.values()], self._sources)
        durations_s, done = utterances.durations_s, self._done.get(epoch, [])
        batches = plan_epoch(durations_s, self.shape, seed=(self.seed, epoch), done=done)
        return utterances, PackedBatches(self.processes.share(batches))

    def _plan_own(self, epoch: int) -> tuple[Joined, PackedBatches]:
        """A plan of what this process alone has read, with as many batches as the others'."""
        drawn = [self._draw(pool, epoch) for pool in self.pools.values()]
        utterances = Joined(drawn, self._sources)
        batches = plan_batches(
            utterances.durations_s,
            self.budget,
            seed=(self.seed, epoch, self.processes.rank),
        )
        return utterances, PackedBatches(make_up_number(batches, max(self.processes.gather([len(batches)]))))

    def _draw(self, pool: Pool, epoch: int) -> Sequence[Utterance]:
        utterances: Sequence[Utterance] = pool.draw(epoch)
        if self.changes.is_on and isinstance(pool, ListPool) and pool.has_copies:
            utterances = mark_copies(utterances)  # what stands there twice is not to be changed twice the same way
        if isinstance(pool, StreamPool) and not epoch:  # once: a run may read thousands of windows
            self.changes.tell_of_window(pool.name, utterances)
        # What is added to a stream differs between the processes that share it.
        is_own = self._has_own_share and isinstance(pool, StreamPool)
        source = f"{pool.name}.{self.processes.rank}" if is_own else pool.name
        utterances = self.changes.plan(utterances, epoch, source=source)
        if self._has_own_share and isinstance(pool, ListPool):
            return self.processes.share(utterances)
        return utterances

    def begin(self, epoch: int) -> list[str]:
        """Draw by what was heard, from the second epoch on; lines on what that is. Raises as `FirstEpoch.later`."""
        if self.first_epoch is None or not epoch or self.pools is not self.first_epoch.pools:
            return []
        self.pools = pools = self.first_epoch.later()
        return [pool.describe() for pool in pools.values() if isinstance(pool, ListPool) and pool.draws is not None]

    def num_steps(self, epoch: int) -> int:
        """Optimizer steps of an epoch, those done under another `shape` included."""
        num_done = sum(part.num_steps for part in self._done.get(epoch, []))
        return num_done - (-len(self.plan(epoch)[1]) // self.num_microbatches)

    def steps(self, epoch: int, first_step: int = 0) -> Iterator[list[LoadedBatch]]:
        """The steps of an epoch from `first_step` on; each the list of its microbatches."""
        utterances, batches = self.plan(epoch)
        first_step -= sum(part.num_steps for part in self._done.get(epoch, []))
        loader = make_loader(
            PlannedBatches(
                utterances,
                batches[first_step * self.num_microbatches :],
                self.collator,
                epoch=epoch,
                changes=self.changes,
                load=self.load,
            ),
            num_workers=self.num_workers,
            prefetch_batches=self.prefetch_batches,
            pin_memory=self.pin_memory,
        )
        # What a stream could not open when its window was read is told once, with the window's first batch.
        failed = self._failed_in_window() if first_step == 0 else []
        step: list[LoadedBatch] = []
        for loaded in loader:
            step.append(replace(loaded, failed=[*failed, *loaded.failed]) if failed else loaded)
            failed = []
            if len(step) == self.num_microbatches:
                yield step
                step = []
        if step:
            yield step

    def _failed_in_window(self) -> list[FailedAudio]:
        return [one for pool in self.pools.values() if isinstance(pool, StreamPool) for one in pool.failed]

    def state_dict(self, epoch: int) -> dict[str, Any]:
        """What a resume needs beside epoch and step; called by all processes.

        How the epoch is cut and was cut before, what it holds (a digest), and where each process's streams began its window.
        """
        state: dict[str, Any] = {"epoch": epoch, "shape": self.shape.state_dict()}
        state["done"] = [part.state_dict() for part in self._done.get(epoch, [])]
        if not self.is_streamed:
            return state | {"digest": self._digest(epoch)}
        self.plan(epoch)  # reads the window, unless that is done
        starts = {n: pool.starts[epoch] for n, pool in self.pools.items() if isinstance(pool, StreamPool)}
        return state | {"streams": self.processes.gather([starts])}

    def heard(self) -> dict[str, Any]:
        """What a checkpoint within or after the first epoch keeps beside `state_dict`."""
        return {} if self.first_epoch is None else {HEARD: self.first_epoch.state_dict()}

    def load_state_dict(self, state: dict[str, Any], *, epoch: int, step_in_epoch: int) -> None:
        """Go on after `step_in_epoch` steps of `epoch`, from what `state_dict` gave in it or in the epoch before.

        Raises:
            ConfigError: streamed sources on another number of processes, other sources, or an epoch that holds other utterances.
        """
        self._planned, self._done = {}, {}
        if self.first_epoch is not None:
            self.first_epoch.load_state_dict(state.get(HEARD, {}))
            self.begin(epoch)
        if "streams" in state:
            self._load_streams(state)
        elif self.is_streamed:
            name = next(name for name, pool in self.pools.items() if isinstance(pool, StreamPool))
            raise ConfigError(
                f"data.train.{name}: the checkpoint did not stream this source; resume with the same sources"
            )
        elif state and state["epoch"] == epoch and step_in_epoch:
            done = [DoneSteps(PlanShape.of_state_dict(part["shape"]), part["num_steps"]) for part in state["done"]]
            shape = PlanShape.of_state_dict(state["shape"])
            num_before = sum(part.num_steps for part in done)
            if shape != self.shape and step_in_epoch > num_before:
                done.append(DoneSteps(shape, step_in_epoch - num_before))
            self._done = {epoch: done}
            self._refuse_other_utterances(state, epoch)

    def _load_streams(self, state: dict[str, Any]) -> None:
        num_before = state["shape"]["num_processes"]
        if num_before != self.processes.num_processes:
            raise ConfigError(
                f"the checkpoint was written by {num_before} processes, this run has {self.processes.num_processes}; a streamed "
                f"source goes on exactly only with as many: launch {num_before} processes, or start a new run from the checkpoint"
            )
        if state["shape"] != self.shape.state_dict():
            raise ConfigError(
                "data.batch_seconds, data.max_batch_rows or trainer.num_microbatches are others than in the checkpoint; with a "
                "streamed source they must stay as they are"
            )
        for name, start in state["streams"][self.processes.rank].items():
            pool = self.pools.get(name)
            if not isinstance(pool, StreamPool):
                raise ConfigError(
                    f"data.train.{name}: the checkpoint streamed this source; resume with the same sources"
                )
            pool.starts = {state["epoch"]: start}

    def _refuse_other_utterances(self, state: dict[str, Any], epoch: int) -> None:
        if self._digest(epoch) != state["digest"]:
            raise DataError(
                "data.train: the sources hold other utterances than when the checkpoint was written, so that its place in the "
                "epoch means nothing; bring the old manifests back, or start a new run with model.path=CHECKPOINT"
            )

    def _digest(self, epoch: int) -> str:
        """Tells apart what epochs hold, by the durations in the order they are drawn."""
        durations_s = self.plan(epoch)[0].durations_s
        return blake2b(durations_s.tobytes(), digest_size=16).hexdigest()
