"""Owns drawing clips by their expected error rate: which of a source are drawn at all, and how often in an epoch.

Input: a list of utterances, what predictions say of them. Output: the indices of an epoch, a function of seed and epoch alone, so
that every process and every resumed run draws the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qasr_train.data.settings import SampleByErrorConfig, Unpredicted
from qasr_train.errors import DataError
from qasr_train.manifest import Utterance
from qasr_train.sources.table import UtteranceTable, ids_of, take

_KEY = "data.sample_by_error"
_BANDS = (0.0, 10.0, 30.0, 50.0, 100.0)  # percent; of the line that says how often clips are drawn


@dataclass(frozen=True)
class ExpectedErrors:
    """What predictions say of utterances.

    percents: (id, transcript) -> error rate in percent, the mean where a clip was transcribed several times.
    path: of the predictions. digest: tells others apart. begins: the first epoch that is drawn by them.
    """

    percents: Mapping[tuple[str, str], float]
    path: str
    digest: str
    begins: int = 0


@dataclass(frozen=True, eq=False)
class Draws:
    """How often each clip of a list is drawn, from epoch `begins` on; see `SampleByErrorConfig`.

    percents: float64 [N], expected error rates.
    """

    config: SampleByErrorConfig
    percents: np.ndarray
    begins: int = 0

    def take(self, indices: np.ndarray) -> "Draws":
        """Of the clips at `indices` (int [K]) alone."""
        return replace(self, percents=self.percents[indices])

    def expected(self, epoch: int, passes: float) -> np.ndarray:
        """Float64 [N]: draws of each clip in an epoch, on average; 0 of one that is too hard for it."""
        limits = self.config.max_percent
        is_in = (
            self.percents <= limits[min(epoch - self.begins, len(limits) - 1)]
            if limits
            else np.full(len(self.percents), True)
        )
        # Beyond 100 % an error rate says how much too much was written, not how much there is to learn.
        weights = np.where(
            is_in, (np.minimum(self.percents, 100.0) + self.config.floor_percent) ** self.config.power, 0.0
        )
        shares = weights / (weights.sum() or 1.0) * is_in.sum()
        return passes * np.minimum(shares, self.config.max_draws)

    def indices(self, epoch: int, passes: float, seed: Sequence[int]) -> np.ndarray:
        """Int64: the clips of an epoch, in random order, each as often as it is drawn; at least one.

        A clip expected 0.25 times an epoch comes once in four epochs, not at random: its count up to an epoch is its expected
        number up to there, rounded down from a start of its own in 0 to 1.
        """
        starts = (np.random.default_rng([*seed, 0]).permutation(len(self.percents)) + 0.5) / len(self.percents)
        before = sum(
            (self.expected(earlier, passes) for earlier in range(self.begins, epoch)), np.zeros(len(self.percents))
        )
        expected = self.expected(epoch, passes)
        # 1e-9: sums of many steps that should be whole numbers.
        counts = np.floor(before + expected + starts + 1e-9) - np.floor(before + starts + 1e-9)
        if not counts.any():
            counts[np.argmax(expected)] = 1
        chosen = np.repeat(np.arange(len(counts)), counts.astype(np.int64))
        return chosen[np.random.default_rng([*seed, 1 + epoch]).permutation(len(chosen))]

    def describe(self, passes: float) -> str:
        """How often clips are drawn, by their expected error rate, in their first epoch and, with a curriculum, the last."""
        text = self._bands(self.begins, passes)
        if len(self.config.max_percent) < 2:
            return text
        last = self.begins + len(self.config.max_percent) - 1
        return f"{text}; from epoch {last} on {self._bands(last, passes)}"

    def _bands(self, epoch: int, passes: float) -> str:
        draws = self.expected(epoch, passes)
        parts, below = [], -1.0
        for band in (*_BANDS, np.inf):
            is_in = (self.percents > below) & (self.percents <= band)
            name = f"up to {band:g} %" if 0 < band < np.inf else "0 %" if band == 0 else "more"
            if is_in.any():
                parts.append(f"{name} {draws[is_in].mean():.2f} ({is_in.sum()} clips)")
            below = band
        mean = float((draws * self.percents).sum() / draws.sum())
        return f"draws in epoch {epoch} by error rate: {', '.join(parts)}; mean error rate of the draws {mean:.1f} %"


def sample(
    utterances: Sequence[Utterance], config: SampleByErrorConfig, errors: ExpectedErrors, source: str
) -> tuple[Sequence[Utterance], Draws, str]:
    """(the utterances that are ever drawn, in order; their draws; a line on what was left out).

    Raises:
        DataError: the predictions are of other rows, some have none and `unpredicted` is error, or nothing is within the range.
    """
    percents = np.array([errors.percents.get(key, np.nan) for key in utterance_keys(utterances)], dtype=np.float64)
    is_known = ~np.isnan(percents)
    if not is_known.all():
        _refuse_unpredicted(utterances, is_known, config, errors, source)
    highest = max(config.max_percent, default=np.inf)
    is_low, is_high = percents < config.min_percent, percents > highest
    kept = np.flatnonzero(is_known & ~is_low & ~is_high)
    draws = Draws(config, percents[kept], errors.begins)
    for epoch in range(errors.begins, errors.begins + max(1, len(config.max_percent))):
        if not len(kept) or not draws.expected(epoch, 1.0).any():
            raise DataError(
                f"{_KEY}: in epoch {epoch} none of the {is_known.sum()} clips of data.train.{source} is within the range of "
                f"min_percent={config.min_percent:g} and max_percent={config.max_percent}; their error rates are "
                f"{np.nanmin(percents):.1f} to {np.nanmax(percents):.1f} %, the median {np.nanmedian(percents):.1f} %"
            )
    left_out = {
        f"below {config.min_percent:g} %": is_low.sum(),
        f"above {highest:g} %": is_high.sum(),
        "without a prediction": (~is_known).sum(),
    }
    reasons = ", ".join(f"{number} {why}" for why, number in left_out.items() if number)
    told = f"{len(kept)} of {len(percents)} clips" + (f", left out {reasons}" if reasons else "")
    return take(utterances, kept), draws, told


def _refuse_unpredicted(
    utterances: Sequence[Utterance],
    is_known: np.ndarray,
    config: SampleByErrorConfig,
    errors: ExpectedErrors,
    source: str,
) -> None:
    first = utterances[int(np.argmin(is_known))]
    has_id = any(id_ == first.id for id_, _ in errors.percents)
    why = f"{first.id!r}, has {'another transcript' if has_id else 'no prediction'} there"
    where = f"{_KEY}.predictions={errors.path}"
    if not is_known.any():
        raise DataError(
            f"{where}: holds predictions of other rows than data.train.{source}: the first of its {len(is_known)}, {why}; "
            f"evaluate the model on this manifest, or leave the source out of {_KEY}.sources"
        )
    if config.unpredicted is Unpredicted.error:
        raise DataError(
            f"{where}: {(~is_known).sum()} of the {len(is_known)} clips of data.train.{source} have no prediction of their id "
            f"and transcript: the first, {why}; evaluate the model on this manifest, or set {_KEY}.unpredicted=drop"
        )


def utterance_keys(utterances: Sequence[Utterance]) -> list[tuple[str, str]]:
    """(id, transcript) of each, as `ExpectedErrors` has them."""
    if not isinstance(utterances, UtteranceTable):
        return [(one.id, transcript_key(one.text)) for one in utterances]
    texts = map(transcript_key, utterances.column("text").to_pylist())
    return list(zip(ids_of(utterances), texts, strict=True))


def transcript_key(text: str | None) -> str:
    """A transcript as it is compared: white space does not count."""
    return " ".join((text or "").split())
