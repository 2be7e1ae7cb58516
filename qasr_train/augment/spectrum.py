"""Owns SpecAugment: stretches of time and bands of frequency of a log-mel that are covered up.

Input: a collated `Batch` and a generator per row. Output: the batch with some features replaced; only the row's own frames.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch

from qasr_train.augment.settings import SpecAugmentConfig


class Axis(str, Enum):
    """What a mask covers a part of."""

    time = "time"
    frequency = "frequency"


@dataclass(frozen=True, slots=True)
class Mask:
    """Frames or mel bins `begin` to `begin + width` (excluded)."""

    axis: Axis
    begin: int
    width: int

    def __str__(self) -> str:
        unit = "frames" if self.axis is Axis.time else "bins"
        return f"mask {unit} {self.begin}-{self.begin + self.width - 1}"


def draw_masks(config: SpecAugmentConfig, *, num_frames: int, num_bins: int, rng: np.random.Generator) -> list[Mask]:
    """The masks of one clip; a mask that is drawn empty is left out."""
    if rng.uniform() >= config.probability:
        return []
    longest = min(config.max_time_frames, int(config.max_time_fraction * num_frames))
    widest = min(config.max_frequency_bins, num_bins)
    masks = [_draw(Axis.time, longest, num_frames, rng) for _ in range(config.num_time_masks)]
    masks += [_draw(Axis.frequency, widest, num_bins, rng) for _ in range(config.num_frequency_masks)]
    return [mask for mask in masks if mask.width]


def _draw(axis: Axis, longest: int, size: int, rng: np.random.Generator) -> Mask:
    width = int(rng.integers(longest + 1))
    return Mask(axis, int(rng.integers(size - width + 1)), width)


def cover(features: torch.Tensor, masks: list[Mask]) -> None:
    """Set the masked parts of float32 [M, F], a row's own frames, to the row's mean; in place."""
    mean = features.mean()
    for mask in masks:
        part = slice(mask.begin, mask.begin + mask.width)
        features[(slice(None), part) if mask.axis is Axis.time else part] = mean
