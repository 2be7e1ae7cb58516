"""Owns `Variant`: an utterance as one epoch presents it (sped up, cut, joined from several, silent), and the seed of its draws.

Input: an `Utterance`, the run's seed and the epoch. Output: a `Variant` and its waveform; lists of which each is made when it is
asked for; generators that depend on nothing else, so that what is drawn does not depend on the number of workers, processes, or
where a run was resumed. Imports no torch.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from operator import attrgetter
from typing import Any, overload

import numpy as np
import soxr

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.manifest import Utterance
from qasr_train.sources.table import ids_of

NO_AUDIO = "<silence>"  # the `audio` of a clip that is made, not recorded


@dataclass(frozen=True, slots=True)
class Variant(Utterance):
    """An utterance as an epoch presents it; `duration_s` is its duration as presented.

    copy: 0 where the utterance stands in the epoch for the first time, 1 for the second (`passes_per_epoch` above 1) ...
    speed: factor; 1.1 plays 10 % faster, pitch included.
    parts: the utterances a joined clip is made of, in order; empty for any other.
    gaps_s: seconds of silence between them, one fewer than parts.
    is_prefix: True where it was cut at the end of a chunk; text, words and `end_s` are those of what is left.
    is_silence: True where nothing was recorded: the clip is `duration_s` of zeros, to which a background is added.
    """

    copy: int = 0
    speed: float = 1.0
    parts: tuple[Utterance, ...] = ()
    gaps_s: tuple[float, ...] = ()
    is_prefix: bool = False
    is_silence: bool = False


_NAMES = [field.name for field in dataclasses.fields(Utterance)]
_values = attrgetter(*_NAMES)


def vary(utterance: Utterance, **changes: Any) -> Variant:
    """The same utterance with fields of `Variant` changed; what it carries already stays."""
    if not isinstance(utterance, Variant):
        utterance = Variant(*_values(utterance))
    return dataclasses.replace(utterance, **changes)


@dataclass(frozen=True, eq=False)
class VariedUtterances(Sequence[Utterance]):
    """Utterances, some of them changed by a number each; a `Variant` is made when it is asked for, as the list may have millions.

    numbers: float64 [N]; a speed, or where a clip is cut. durations_s: float64 [N], as changed.
    change: an utterance, its number and its duration -> the utterance, changed or as it is; pickles, for loader workers.
    """

    base: Sequence[Utterance]
    numbers: np.ndarray
    durations_s: np.ndarray
    change: Callable[[Utterance, float, float], Utterance]

    def __len__(self) -> int:
        return len(self.base)

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> "VariedUtterances": ...
    def __getitem__(self, index: int | slice) -> "Utterance | VariedUtterances":
        if isinstance(index, slice):
            return VariedUtterances(self.base[index], self.numbers[index], self.durations_s[index], self.change)
        return self.change(self.base[index], float(self.numbers[index]), float(self.durations_s[index]))

    def __iter__(self) -> Iterator[Utterance]:
        return map(self.change, self.base, self.numbers.tolist(), self.durations_s.tolist())


def utterance_seed(seed: int, epoch: int, utterance: Utterance, purpose: str) -> int:
    """A number of 64 bits for one utterance, epoch and purpose.

    Args:
        seed: of the run.
        epoch: of the run, from 0.
        utterance: its id counts, and which copy it is where an epoch holds it several times.
        purpose: what is drawn ("noise"). Each has draws of its own: switching one on leaves the others as they were.
    """
    return _seed(seed, epoch, utterance.id, copy_of(utterance), purpose)


def utterance_rng(seed: int, epoch: int, utterance: Utterance, purpose: str) -> np.random.Generator:
    """A generator for one utterance, epoch and purpose; see `utterance_seed`."""
    return np.random.default_rng(utterance_seed(seed, epoch, utterance, purpose))


def utterance_uniform(seed: int, epoch: int, utterance: Utterance, purpose: str) -> float:
    """One number in [0, 1), at a tenth of the time of a generator."""
    return utterance_seed(seed, epoch, utterance, purpose) / 2.0**64


def uniforms(seed: int, epoch: int, utterances: Sequence[Utterance], purpose: str) -> np.ndarray:
    """`utterance_uniform` of each, float64 [N]; makes no object of a row of a table."""
    if isinstance(utterances, list):
        drawn = (utterance_uniform(seed, epoch, utterance, purpose) for utterance in utterances)
    else:
        drawn = (_seed(seed, epoch, name, 0, purpose) / 2.0**64 for name in ids_of(utterances))
    return np.fromiter(drawn, dtype=np.float64, count=len(utterances))


def copy_of(utterance: Utterance) -> int:
    """Which appearance of the utterance in its epoch this is, from 0."""
    return utterance.copy if isinstance(utterance, Variant) else 0


def _seed(seed: int, epoch: int, utterance_id: str, copy: int, purpose: str) -> int:
    key = f"{seed}\0{epoch}\0{copy}\0{purpose}\0{utterance_id}".encode()
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "little")


def mark_copies(utterances: Iterable[Utterance]) -> list[Utterance]:
    """The same utterances, where the second and later appearance of an id is a `Variant` that says so."""
    seen: dict[str, int] = {}
    marked: list[Utterance] = []
    for utterance in utterances:
        copy = seen.get(utterance.id, 0)
        seen[utterance.id] = copy + 1
        marked.append(vary(utterance, copy=copy) if copy else utterance)
    return marked


def variant_waveform(variant: Variant, load: Callable[[Utterance], np.ndarray]) -> np.ndarray:
    """float32 [S] of a variant.

    Args:
        variant: what to build.
        load: gives the waveform of an utterance (a part may be a variant again).

    Raises:
        AudioError: a recording cannot be decoded.
    """
    if variant.is_silence:
        return np.zeros(round((variant.duration_s or 0.0) * SAMPLE_RATE_HZ), dtype=np.float32)
    if not variant.parts:
        return change_speed(load(Utterance(*_values(variant))), variant.speed)
    pieces = [load(variant.parts[0])]
    for gap_s, part in zip(variant.gaps_s, variant.parts[1:], strict=True):
        pieces += [np.zeros(round(gap_s * SAMPLE_RATE_HZ), dtype=np.float32), load(part)]
    return np.concatenate(pieces)


def change_speed(waveform: np.ndarray, factor: float) -> np.ndarray:
    """float32 [S] -> float32 [S / factor], pitch and tempo changed together (Ko et al. 2015, "Audio augmentation for ASR")."""
    if factor == 1.0:
        return waveform
    return soxr.resample(waveform, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ, quality="HQ").astype(np.float32)
