"""Owns what a run's own first epoch says of its clips, and the draws of the epochs after it (`data.sample_by_error.first_epoch`).

Input: the error rate of every clip as it is heard. Output: pools drawn by them. Sums are kept by place in a pool, so that a
checkpoint holds them in a few bytes a clip, and a resumed run draws what an uninterrupted one does.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from qasr_train.data.mixture import ListPool, source_of
from qasr_train.data.sampling import ExpectedErrors, sample, utterance_keys
from qasr_train.data.settings import SampleByErrorConfig
from qasr_train.data.source_pools import Pool
from qasr_train.errors import DataError
from qasr_train.sources.table import ids_of


class Heard(NamedTuple):
    """How a training clip was heard. source: its name in data.train; "": it comes from none. percent: its error rate."""

    source: str
    id: str
    percent: float


@dataclass
class FirstEpoch:
    """What was heard of the clips of some pools; all processes hold the same.

    pools: as the first epoch draws them; those that are not drawn by errors may be among them.
    """

    config: SampleByErrorConfig
    pools: Mapping[str, Pool]
    # Pool -> float32 [N, 2]: sum of percents, their number. Not wider: a resumed run would add to rounded sums.
    _sums: dict[str, np.ndarray] = field(default_factory=dict, init=False)
    _places: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._sums = {name: np.zeros((len(pool.utterances), 2), np.float32) for name, pool in self._drawn.items()}

    def note(self, heard: Iterable[Heard]) -> None:
        """Count clips of the first epoch; what is no clip of these pools (added silence, several joined) is left out."""
        if not self._places:
            for name, pool in self._drawn.items():
                source = source_of(name)
                self._places |= {(source, id_): (name, i) for i, id_ in enumerate(ids_of(pool.utterances))}
        for one in heard:
            if place := self._places.get((one.source, one.id)):
                name, index = place
                self._sums[name][index] += (one.percent, 1.0)

    def later(self) -> dict[str, Pool]:
        """The pools as every epoch but the first draws them. A clip that was not heard by itself counts as the mean of its pool.

        Raises:
            DataError: as `sampling.sample`; nothing of a pool was heard.
        """
        self._places.clear()  # nothing more is noted, and the names of many clips take room
        return dict(self.pools) | {name: self._later(name, pool) for name, pool in self._drawn.items()}

    def _later(self, name: str, pool: ListPool) -> ListPool:
        totals, numbers = self._sums[name].astype(np.float64).T
        if not numbers.any():
            raise DataError(
                f"data.sample_by_error.first_epoch: no clip of data.train.{name} was heard by itself in the first epoch; set it "
                "to false, or augment.join.probability=0"
            )
        percents = np.where(numbers > 0, totals / np.maximum(numbers, 1.0), totals.sum() / numbers.sum())
        keys = utterance_keys(pool.utterances)
        errors = ExpectedErrors(dict(zip(keys, percents.tolist(), strict=True)), "the first epoch", "", begins=1)
        utterances, draws, told = sample(pool.utterances, self.config, errors, name)
        told += f", as heard in the first epoch ({int((numbers == 0).sum())} not heard by themselves: the mean)"
        return ListPool(name, utterances, pool.passes, pool.seed, draws, told)

    @property
    def _drawn(self) -> dict[str, ListPool]:
        lists = {name: pool for name, pool in self.pools.items() if isinstance(pool, ListPool)}
        return {name: pool for name, pool in lists.items() if self.config.is_for(source_of(name))}

    def state_dict(self) -> dict[str, Any]:
        """Of each pool its sums, in base64."""
        return {name: base64.b64encode(sums.tobytes()).decode("ascii") for name, sums in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave.

        Raises:
            DataError: the pools hold other numbers of clips.
        """
        for name, sums in self._sums.items():
            kept = np.frombuffer(base64.b64decode(state.get(name, "")), np.float32).reshape(-1, 2)
            if kept.shape != sums.shape:
                raise DataError(
                    f"data.train.{name}: holds {len(sums)} clips, and {len(kept)} when the checkpoint was written, so that what "
                    "was heard of them means nothing; bring the old manifests back, or start a new run with model.path=CHECKPOINT"
                )
            self._sums[name] = kept.copy()
