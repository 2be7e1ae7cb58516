"""Owns a calibration: from how sure a system says it is of words to how often such words are right.

Input: confidences of words and which of them are wrong, of recordings apart from those it is used on. Output: `Calibration`.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qasr_train.errors import DataError

Shares = NDArray[np.float64]
Flags = NDArray[np.bool_]

# A probability is no surer than predictions record it.
LEAST = 1e-4
MIN_OF_EACH = 10  # right words, and wrong ones, below which two numbers cannot be fitted
_NUM_STEPS, _ENOUGH = 100, 1e-10


@dataclass(frozen=True, slots=True)
class Calibration:
    """p -> 1 / (1 + exp(-(slope * log(p / (1 - p)) + intercept))), Platt scaling of the log odds (Platt 1999).

    source: what it was fitted on. num_words, num_wrong: of that.
    """

    slope: float
    intercept: float
    source: str
    num_words: int
    num_wrong: int

    def __call__(self, confidences: Shares) -> Shares:
        """Calibrated, in the same order: what was surer stays surer."""
        return _share(self.slope * log_odds(confidences) + self.intercept)

    def to_json(self) -> dict[str, Any]:
        """As scores.json has it."""
        return {"method": "Platt scaling of the log odds", **asdict(self)}


def fit_calibration(confidences: Shares, is_wrong: Flags, source: str) -> Calibration:
    """The calibration under which words as right and wrong as these are likeliest, by Newton's method.

    Right words count as right with (n + 1) / (n + 2), wrong ones with 1 / (m + 2), so that few words make no certainty (Platt).

    Args:
        confidences: (words,) 0 to 1. is_wrong: (words,). source: what they are of, for messages and the record.

    Raises:
        DataError: too few words are right or wrong; the surer words are not the righter ones.
    """
    num_wrong, num_words = int(is_wrong.sum()), len(is_wrong)
    if min(num_wrong, num_words - num_wrong) < MIN_OF_EACH:
        raise DataError(
            f"{source}: has {num_words - num_wrong} right words and {num_wrong} wrong ones; a calibration needs {MIN_OF_EACH} of "
            "each; name recordings with more"
        )
    target = np.where(is_wrong, 1 / (num_wrong + 2), (num_words - num_wrong + 1) / (num_words - num_wrong + 2))
    columns = np.stack([log_odds(confidences), np.ones(num_words)], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(_NUM_STEPS):
        share = _share(columns @ weights)
        curvature = (columns * (share * (1 - share))[:, None]).T @ columns + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, columns.T @ (target - share))
        length = float(np.abs(step).max())
        weights = weights + step * min(1.0, 2.0 / max(length, 1e-300))  # a leap would overshoot
        if length < _ENOUGH:
            break
    slope, intercept = map(float, weights)
    if slope <= 0:
        raise DataError(
            f"{source}: words that the system was surer of are not more often right there, so nothing can be calibrated; name "
            "other recordings"
        )
    return Calibration(slope, intercept, source, num_words, num_wrong)


def clipped(confidences: Shares) -> Shares:
    """Between LEAST and 1 - LEAST: the logarithm of 0 is none."""
    return np.clip(confidences, LEAST, 1 - LEAST)


def log_odds(confidences: Shares) -> Shares:
    """log(p / (1 - p)), of what `clipped` gives."""
    share = clipped(confidences)
    odds: Shares = np.log(share / (1 - share))
    return odds


def _share(odds: Shares) -> Shares:
    share: Shares = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
    return share
