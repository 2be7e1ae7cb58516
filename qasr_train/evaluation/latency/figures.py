"""Owns the figures of streams, of each set: delays of words, the share that changed, seconds of compute a second.

Input: scored rows. Output: `StreamScores`. Intervals are made by drawing speakers (utterances where fewer than two are named)
anew, 1,000 times with one seed, since the 95th percentile of pooled words has no simple formula (Efron 1979).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qasr_train.evaluation.latency.words import StreamedWords, streamed_words
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.significance import independent_units
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.text.normalize import Normalizer

NUM_DRAWS = 1000
SEED = 0
Weights = NDArray[np.float64]  # (units,) how often each unit was drawn


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its two-sided interval. low, high: None where there are too few units to say."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class StreamScore:
    """Figures of one set; None where no reference word has a time.

    num_utterances: heard as they came. num_words: recognised reference words with a time, of which the delays are.
    first_word_delay_s, mean_delay_s, p95_delay_s, changed_percent: see docs/streaming.md.
    compute_s_per_s: seconds of compute a second of audio, the one figure that depends on the machine; None if not measured.
    """

    num_utterances: int
    num_words: int
    first_word_delay_s: Estimate | None
    mean_delay_s: Estimate | None
    p95_delay_s: Estimate | None
    changed_percent: Estimate | None
    compute_s_per_s: float | None


@dataclass(frozen=True, slots=True)
class StreamScores:
    """overall: of all utterances, pooled. sets: by name, in their order."""

    overall: StreamScore
    sets: dict[str, StreamScore]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and numbers."""
        return asdict(self)


def stream_scores(
    rows: Sequence[UtteranceScore], normalizer: Normalizer, resampling: Resampling
) -> StreamScores | None:
    """None where nothing was heard as it came."""
    heard = [(row, words) for row in rows if (words := streamed_words(row, normalizer)) is not None]
    if not heard:
        return None
    sets: dict[str, list[tuple[UtteranceScore, StreamedWords]]] = {}
    for row, words in heard:
        sets.setdefault(row.prediction.set, []).append((row, words))
    return StreamScores(_score(heard, resampling), {name: _score(pairs, resampling) for name, pairs in sets.items()})


def _score(pairs: Sequence[tuple[UtteranceScore, StreamedWords]], resampling: Resampling) -> StreamScore:
    speakers = [row.prediction.speaker for row, _ in pairs]
    units = independent_units(speakers, resampling.resample_by).numbers
    words = [one for _, one in pairs]
    draws = _Draws(int(units.max()) + 1, resampling.confidence)
    first = [(one.first_delay_s, unit) for one, unit in zip(words, units, strict=True) if one.first_delay_s is not None]
    delays = [(delay, unit) for one, unit in zip(words, units, strict=True) for delay in one.delays_s]
    shown = [(one.num_changed, one.num_shown) for one in words]
    return StreamScore(
        len(pairs),
        len(delays),
        draws.estimate(_mean_of(first)),
        draws.estimate(_mean_of(delays)),
        draws.estimate(_quantile_of(delays, 0.95)),
        draws.estimate(_percent_of(shown, units)),
        _compute([row for row, _ in pairs]),
    )


class _Draws:
    """Drawn sets of units, the same for every figure."""

    def __init__(self, num_units: int, confidence: float) -> None:
        self.num_units, self.confidence = num_units, confidence
        even = np.full(num_units, 1 / num_units)
        self.weights = np.random.default_rng(SEED).multinomial(num_units, even, size=NUM_DRAWS).astype(float)

    def estimate(self, figure: Callable[[Weights], float] | None) -> Estimate | None:
        """Of a figure as a function of how often each unit counts; None for None."""
        if figure is None:
            return None
        value = figure(np.ones(self.num_units))
        drawn = [one for one in map(figure, self.weights) if np.isfinite(one)]
        if self.num_units < 2 or not drawn:
            return Estimate(round(value, 4), None, None)
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Estimate(round(value, 4), round(float(low), 4), round(float(high), 4))


def _mean_of(values: Sequence[tuple[float, int]]) -> Callable[[Weights], float] | None:
    if not values:
        return None
    numbers, units = np.array([value for value, _ in values]), np.array([unit for _, unit in values])

    def mean(weights: Weights) -> float:
        own = weights[units]
        return float((own * numbers).sum() / own.sum()) if own.any() else np.nan

    return mean


def _quantile_of(values: Sequence[tuple[float, int]], share: float) -> Callable[[Weights], float] | None:
    """The least value up to which lies at least this share of all."""
    if not values:
        return None
    ordered = sorted(values)
    numbers, units = np.array([value for value, _ in ordered]), np.array([unit for _, unit in ordered])

    def quantile(weights: Weights) -> float:
        reached = weights[units].cumsum()
        return float(numbers[np.searchsorted(reached, share * reached[-1] - 1e-9)]) if reached[-1] else np.nan

    return quantile


def _percent_of(parts: Sequence[tuple[int, int]], units: NDArray[np.int64]) -> Callable[[Weights], float] | None:
    changed, shown = np.array(parts, dtype=float).T
    if not shown.any():
        return None

    def percent(weights: Weights) -> float:
        total = (weights[units] * shown).sum()
        return float(100 * (weights[units] * changed).sum() / total) if total else np.nan

    return percent


def _compute(rows: Sequence[UtteranceScore]) -> float | None:
    times = [(row.prediction.time_s, row.prediction.duration_s) for row in rows]
    known = [(time_s, audio_s) for time_s, audio_s in times if time_s is not None and audio_s is not None]
    audio_s = sum(audio_s for _, audio_s in known)
    return round(sum(time_s for time_s, _ in known) / audio_s, 4) if len(known) == len(times) and audio_s else None
