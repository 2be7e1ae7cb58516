"""Owns how much of what an epoch holds: the share of each source and language, and evening them out by a temperature.

Input: map-style pools with the passes their settings ask for. Output: pools with the passes that the temperature gives; a
sentence on hours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qasr_train.data.buckets import epoch_indices
from qasr_train.data.sampling import Draws
from qasr_train.data.settings import MixBy
from qasr_train.manifest import Utterance
from qasr_train.sources.table import durations_of, languages_of, take

SAMPLED_TEXTS = 2000  # rows; more would not change how a set is written, and cost seconds with millions


@dataclass
class ListPool:
    """A map-style source: its utterances (a list or a table), `passes` passes an epoch, differently ordered each time.

    draws: how often each is drawn, where that is by its expected error rate; `sampled` is a line on what was left out of them.
    """

    name: str
    utterances: Sequence[Utterance]
    passes: float
    seed: Sequence[int]
    draws: Draws | None = None
    sampled: str = ""

    def draw(self, epoch: int) -> Sequence[Utterance]:
        """The utterances of an epoch, the same for the same epoch; a fraction of a pass takes up where the last epoch ended."""
        if self.draws is not None:
            return take(self.utterances, self.draws.indices(epoch, self.passes, self.seed))
        chosen = epoch_indices(len(self.utterances), passes=self.passes, epoch=epoch, seed=self.seed)
        return take(self.utterances, np.asarray(chosen, dtype=np.int64))

    def describe(self) -> str:
        """One line on what is in the source."""
        hours = self.duration_s / 3600
        text = f"source {self.name}: {len(self.utterances)} utterances, {hours:.2f} h, {self.passes:g} passes an epoch"
        if self.draws is None:
            return text
        return f"{text}\n  drawn by expected error rate: {self.sampled}; {self.draws.describe(self.passes)}"

    def part(self, name: str, rows: np.ndarray, seed: Sequence[int]) -> "ListPool":
        """A pool of the utterances at `rows` (int [K]) alone."""
        draws = self.draws.take(rows) if self.draws else None
        return ListPool(name, take(self.utterances, rows), self.passes, seed, draws, self.sampled)

    @property
    def has_copies(self) -> bool:
        """Whether an utterance may stand in one epoch twice."""
        return self.passes > 1 or self.draws is not None

    def expected_draws(self) -> np.ndarray:
        """Float64 [N]: how often each utterance is drawn in the first epoch that draws so, on average."""
        if self.draws is None:
            return np.full(len(self.utterances), self.passes)
        return self.draws.expected(self.draws.begins, self.passes)

    @property
    def epoch_s(self) -> float:
        """Seconds of audio in the first epoch, on average."""
        return float((self.expected_draws() * np.nan_to_num(durations_of(self.utterances))).sum())

    def sampled_texts(self) -> list[tuple[str, str | None]]:
        """(text, language) of some rows, evenly from the whole list, for telling how it is written."""
        step = -(-len(self.utterances) // SAMPLED_TEXTS)
        some = (self.utterances[i] for i in range(0, len(self.utterances), step))
        return [(one.text or "", one.language) for one in some]

    @property
    def duration_s(self) -> float:
        """Seconds of audio in one pass."""
        return float(np.nan_to_num(durations_of(self.utterances)).sum())


def apply_temperature(pools: Mapping[str, ListPool], temperature: float, by: MixBy) -> dict[str, ListPool]:
    """Pools whose passes give each source or language the share q of an epoch's seconds, with the epoch as long as before.

    q is proportional to p ** (1 / temperature), p being the share that `passes_per_epoch` gives (Arivazhagan et al. 2019,
    "Massively multilingual neural machine translation in the wild", 3.2.1). 1 leaves p, infinity makes all equal.
    A source with several languages becomes a pool for each of them, NAME/LANGUAGE.
    """
    parts = [
        part
        for pool in pools.values()
        for part in (_by_language(pool) if by is MixBy.language else [(pool, pool.name)])
    ]
    seconds: dict[str, float] = {}
    for pool, group in parts:
        seconds[group] = seconds.get(group, 0.0) + pool.epoch_s
    total_s = sum(seconds.values())
    raised = {group: (s / total_s) ** (1.0 / temperature) for group, s in seconds.items()}
    factor = {group: raised[group] / sum(raised.values()) * total_s / seconds[group] for group in seconds}
    return {pool.name: replace(pool, passes=pool.passes * factor[group]) for pool, group in parts}


def source_of(pool_name: str) -> str:
    """The source of a pool: its name as far as the language that `apply_temperature` adds."""
    return pool_name.partition("/")[0]


def _by_language(pool: ListPool) -> list[tuple[ListPool, str]]:
    """(pool of one language, language) for each language of a pool."""
    names, codes = languages_of(pool.utterances)
    if len(names) == 1:
        return [(pool, names[0])]
    return [
        (pool.part(f"{pool.name}/{name}", np.flatnonzero(codes == code), (*pool.seed, code)), name)
        for code, name in enumerate(names)
    ]


def describe_shares(pools: Sequence[ListPool]) -> str:
    """What an epoch holds, by pool and by language; "" where there is but one of either."""
    by_pool = {pool.name: pool.epoch_s for pool in pools}
    by_language: dict[str, float] = {}
    for pool in pools:
        for name, seconds in seconds_by_language(pool.utterances, pool.expected_draws()).items():
            by_language[name] = by_language.get(name, 0.0) + seconds
    parts = [_shares(figures) for figures in (by_pool, by_language) if len(figures) > 1]
    if not parts:
        return ""
    return f"an epoch holds {sum(by_pool.values()) / 3600:.2f} h: " + "; by language: ".join(parts)


def seconds_by_language(utterances: Sequence[Utterance], draws: np.ndarray | float = 1.0) -> dict[str, float]:
    """Seconds of audio in each language, as rows or source declare it; `UNKNOWN` of rows that name none.

    draws: float64 [N], how often each counts.
    """
    names, codes = languages_of(utterances)
    sums = np.bincount(codes, weights=draws * np.nan_to_num(durations_of(utterances)), minlength=len(names))
    return dict(zip(names, sums.tolist(), strict=True))


def _shares(seconds: Mapping[str, float]) -> str:
    total_s = sum(seconds.values()) or 1.0
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {s / 3600:.2f} h ({100 * s / total_s:.1f} %)" for name, s in ordered)
