"""Owns streamed sources: which process reads which shard in which pass, and an exact position to go on from.

Input: the shards of a source (files of a dataset, tar files, one JSONL file). Output: utterances, for ever. In each pass the
shards are dealt to the processes in an order of that pass alone; where there are fewer shards than processes, each process
reads all of them and keeps every n-th utterance.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from qasr_train.errors import ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.run.processes import ALONE, Processes
from qasr_train.sources.base import Shards
from qasr_train.sources.intake import Intake, of_split
from qasr_train.sources.rows import RowReader

log = logging.getLogger(__name__)


class UtteranceStream:
    """This process's utterances of a source, for ever: at the end of a pass the next begins. Its position can be saved."""

    def __init__(
        self,
        reader: RowReader,
        shards: Shards,
        *,
        reason_against: Callable[[Utterance], str | None],
        main_split: str | None = None,
        max_utterances: int | None = None,
        processes: Processes = ALONE,
        seed: int | None = None,
    ) -> None:
        """
        Args:
            reader: gives rows their meaning.
            shards: the source.
            reason_against: why an utterance is not of the split or does not match the patterns; None: it is taken.
            main_split: rows that name another are set aside; None: none are.
            max_utterances: a pass ends after so many of all processes; shards then come in their own order.
            processes: which share the source.
            seed: of the order of shards in each pass; None: their own order.
        """
        self.reader, self.shards, self.reason_against, self.main_split = reader, shards, reason_against, main_split
        self.intake, self._has_told = Intake(), False
        self.max_utterances, self.processes = max_utterances, processes
        self.seed = seed if max_utterances is None else None
        self.is_dealt = max_utterances is None and shards.num_shards >= processes.num_processes
        if processes.num_processes > 1 and not self.is_dealt and processes.is_main:
            log.warning(
                "source %s: %d shards for %d processes; each process reads all of them and keeps its share",
                reader.source_name, shards.num_shards, processes.num_processes,
            )  # fmt: skip
        self._start_pass(0)

    def _start_pass(self, number: int) -> None:
        self.pass_number, self.num_given, self.num_wanted = number, 0, 0
        self._start_shard(0)

    def _start_shard(self, position: int) -> None:
        """Go to one of this process's shards of the pass."""
        self.position, self.num_rows, self._inner = position, 0, None
        self._rows: Iterator[tuple[str, dict[str, Any]]] | None = None

    def order(self) -> list[int]:
        """This process's shards of this pass."""
        order = np.arange(self.shards.num_shards)
        if self.seed is not None and len(order) > 1:
            order = np.random.default_rng([self.seed, self.pass_number]).permutation(len(order))
        return list(self.processes.share(order.tolist())) if self.is_dealt else order.tolist()

    def take(self, count: int) -> list[Utterance]:
        """The next `count` utterances; fewer, or none, only where a whole pass holds none.

        Raises:
            DataError: a row cannot be read; no row of a whole pass is of the split that is trained on.
        """
        taken: list[Utterance] = []
        while len(taken) < count:
            fresh = self._next()
            if fresh is not None:
                taken.append(fresh)
            elif self.num_given:
                self._start_pass(self.pass_number + 1)
            else:
                self._refuse_none_of_split()
                break
        return taken

    def _refuse_none_of_split(self) -> None:
        """Where all rows of a pass were set aside, say which splits there are."""
        others = [split for split in self.intake.splits if split not in ("", self.main_split)]
        if self.main_split is not None and others and not self.num_wanted:
            key = self.reader.key
            raise DataError(
                f"source {self.reader.source_name}: no row is of split {self.main_split!r}, which alone is trained on where none "
                f"is chosen; it holds {', '.join(others[:10])}: set {key}split=NAME, or {key}columns.split= (empty) for all"
            )

    def _next(self) -> Utterance | None:
        """The next utterance of this process in this pass, None at its end."""
        order = self.order()
        while self.position < len(order):
            utterance = self._next_of_shard(order[self.position])
            if utterance is not None:
                self.num_given += 1
                return utterance
            self._start_shard(self.position + 1)
        return None

    def _next_of_shard(self, shard: int) -> Utterance | None:
        if self._rows is None:
            self._rows = self.shards.rows(shard, self._inner)
        while self.num_wanted != self.max_utterances:
            row = next(self._rows, None)
            if row is None:
                return None
            utterance = self._utterance(*row, shard)
            if self._is_wanted(utterance):
                self.num_wanted += 1
                if self.is_dealt or (self.num_wanted - 1) % self.processes.num_processes == self.processes.rank:
                    return utterance
                self.intake.leave_out("for other processes")
        return None

    def _is_wanted(self, utterance: Utterance) -> bool:
        """Whether it is taken, by some process; counts it."""
        self.intake.see(utterance.split)
        reason = self.reason_against(utterance)
        is_set_aside = reason is None and self.main_split is not None and utterance.split not in (None, self.main_split)
        if is_set_aside:
            reason = of_split(utterance.split)
            self._tell_of_others(utterance)
        if reason is not None:
            self.intake.leave_out(reason)
        return reason is None

    def _tell_of_others(self, utterance: Utterance) -> None:
        if not self._has_told:
            self._has_told = True
            log.warning(
                "source %s: it holds rows of %s (%s); only those of %s, and of no split, are trained on; %ssplit=NAME chooses "
                "others, %scolumns.split= (empty) takes all",
                self.reader.source_name, utterance.split, utterance.origin, self.main_split, self.reader.key, self.reader.key,
            )  # fmt: skip

    def _utterance(self, where: str, row: dict[str, Any], shard: int) -> Utterance:
        self.num_rows += 1
        place = where if ":" in where else f"{where}[row {self.num_rows}]"
        number = str(self.num_rows) if self.shards.num_shards == 1 else f"{shard}-{self.num_rows}"
        return self.reader(row, place, number)

    def state_dict(self) -> dict[str, Any]:
        """The position behind the utterance taken last; plain numbers and strings."""
        return {
            "pass": self.pass_number,
            "position": self.position,
            "num_rows": self.num_rows,
            "num_wanted": self.num_wanted,
            "num_given": self.num_given,
            "shard": self._inner if self._rows is None else self.shards.state_dict(),
            "num_shards": self.shards.num_shards,
            "main_split": self.main_split,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a position that `state_dict` gave.

        Raises:
            ConfigError: the source has another number of shards now, so that the position means nothing.
        """
        if state["num_shards"] != self.shards.num_shards:
            raise ConfigError(
                f"source {self.reader.source_name}: had {state['num_shards']} shards when the checkpoint was written and has "
                f"{self.shards.num_shards} now; bring back the same files, or start a new run"
            )
        if self.main_split is not None and "main_split" not in state:
            log.info(
                "source %s: this run began before rows of other splits than %s were set aside; it goes on with all of them",
                self.reader.source_name, self.main_split,
            )  # fmt: skip
        self.main_split = state.get("main_split")
        self._start_pass(state["pass"])
        self._start_shard(state["position"])
        self.num_rows, self.num_wanted, self.num_given = state["num_rows"], state["num_wanted"], state["num_given"]
        self._inner = state["shard"]
