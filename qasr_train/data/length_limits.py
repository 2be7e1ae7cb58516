"""Owns the limits of length: which utterances are short enough to be trained on, and how long they are where nothing says so.

Input: utterances of a source, as a list or a table. Output: those within the limits, in order; what is dropped is counted.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import numpy as np

from qasr_train.audio.decode import probe_audio
from qasr_train.data.settings import TooLong
from qasr_train.errors import AudioError, DataError
from qasr_train.manifest import Utterance
from qasr_train.models.base import TrainingCollator
from qasr_train.sources.table import UtteranceTable, durations_of, take

log = logging.getLogger(__name__)

_PROBED_AT_ONCE = 2000


class LengthLimits(Protocol):
    """The settings of `data` that this module reads."""

    min_duration_s: float
    max_duration_s: float
    max_target_tokens: int
    too_long: TooLong


class Limits:
    """Applies the limits of length to utterances, and counts what it drops and why."""

    def __init__(self, config: LengthLimits, collator: TrainingCollator, *, model_max_duration_s: float) -> None:
        self.config, self.collator = config, collator
        self.max_duration_s = min(config.max_duration_s, model_max_duration_s)
        self.duration_key = "data" if config.max_duration_s <= model_max_duration_s else "model"
        most = collator.max_target_tokens
        self.max_target_tokens = config.max_target_tokens if most is None else min(most, config.max_target_tokens)
        self.dropped: dict[str, int] = {}

    def __call__(self, utterances: Sequence[Utterance], source: str) -> Sequence[Utterance]:
        """The utterances within the limits, in order.

        Raises:
            DataError: one is over a limit and `data.too_long` is error (names its id), or none is left.
        """
        kept = self.within(utterances)
        if not len(kept):
            raise DataError(
                f"source {source!r}: none of its {len(utterances)} utterances is within the limits of length "
                f"({self.dropped}); change data.min_duration_s, data.max_duration_s or data.max_target_tokens"
            )
        return kept

    def within(self, utterances: Sequence[Utterance]) -> Sequence[Utterance]:
        """As calling it, but none may be left. Only rows that may be over a limit are looked at one by one."""
        durations_s = np.nan_to_num(durations_of(utterances))
        is_short = durations_s < self.config.min_duration_s
        doubtful = (durations_s > self.max_duration_s) | self._may_have_many_tokens(utterances)
        is_kept = ~is_short
        if num_short := int(is_short.sum()):
            self._count(f"shorter than {self.config.min_duration_s:g} s", num_short)
        for i in np.flatnonzero(doubtful & ~is_short).tolist():
            is_kept[i] = not self._drops(utterances[i])
        return utterances if is_kept.all() else take(utterances, np.flatnonzero(is_kept))

    def describe(self, key: str) -> list[str]:
        """Lines on what was dropped so far; streams are read later and say it as they are. key: of the sources."""
        return [f"{key}: dropped {number} utterances: {reason}" for reason, number in self.dropped.items()]

    def _may_have_many_tokens(self, utterances: Sequence[Utterance]) -> np.ndarray:
        """Bool [N]. A token is at least one byte, so nearly all rows pass without being tokenized; 16: language tag and end."""
        if isinstance(utterances, UtteranceTable):
            num_bytes = utterances.text_bytes()
        else:
            num_bytes = np.array([len((u.text or "").encode()) for u in utterances], dtype=np.int64)
        return num_bytes + 16 > self.max_target_tokens

    def _drops(self, utterance: Utterance) -> bool:
        duration_s = utterance.duration_s or 0.0
        if duration_s > self.max_duration_s:
            self._refuse(
                utterance, f"lasts {duration_s:.1f} s, over {self.duration_key}.max_duration_s={self.max_duration_s:g}"
            )
            return self._count(f"longer than {self.max_duration_s:g} s")
        limit = self.max_target_tokens
        num_tokens = self.collator.num_target_tokens(utterance)
        if num_tokens > limit:
            whose = (
                "data.max_target_tokens="
                if limit == self.config.max_target_tokens
                else "what the model's decoder takes, "
            )
            self._refuse(utterance, f"has {num_tokens} target tokens, over {whose}{limit}")
            return self._count(f"more than {limit} target tokens")
        return False

    def _refuse(self, utterance: Utterance, why: str) -> None:
        if self.config.too_long == TooLong.error:
            raise DataError(
                f"{utterance.origin}: utterance {utterance.id!r} {why}; raise the limit, cut the clip, or set "
                "data.too_long=drop"
            )

    def _count(self, reason: str, number: int = 1) -> bool:
        self.dropped[reason] = self.dropped.get(reason, 0) + number
        return True


def measure_durations(
    utterances: Sequence[Utterance], *, skip: Callable[[Utterance, AudioError], None] | None = None
) -> Sequence[Utterance]:
    """The same utterances with `duration_s` set, read from the audio headers where the manifest does not say.

    Args:
        utterances: of one source.
        skip: called for a recording that cannot be opened, which is then left out; None: it is an error.

    Raises:
        AudioError: a recording cannot be opened (names it).
    """
    durations_s = durations_of(utterances).copy()
    missing = np.flatnonzero(np.isnan(durations_s)).tolist()
    if not missing:
        return utterances
    if len(missing) > 1000:
        log.info("%d utterances state no duration; reading the headers (recipes/prepare.py does it once)", len(missing))
    for index, utterance, found in _probed(utterances, missing):
        if isinstance(found, float):
            durations_s[index] = found
        elif skip is None:
            raise found
        else:
            skip(utterance, found)
    measured = np.flatnonzero(~np.isnan(durations_s))
    if isinstance(utterances, UtteranceTable):
        return utterances.with_durations(durations_s).take(measured)
    return [replace(utterances[i], duration_s=float(durations_s[i])) for i in measured.tolist()]


def _probed(utterances: Sequence[Utterance], indices: list[int]) -> Iterator[tuple[int, Utterance, float | AudioError]]:
    with ThreadPoolExecutor(max_workers=8) as threads:
        for begin in range(0, len(indices), _PROBED_AT_ONCE):
            chosen = indices[begin : begin + _PROBED_AT_ONCE]
            rows = [utterances[i] for i in chosen]
            yield from zip(chosen, rows, threads.map(probed_duration, rows), strict=True)


def probed_duration(utterance: Utterance) -> float | AudioError:
    """Seconds of an utterance by its span and the header of its recording, or why that cannot be opened."""
    end_s = utterance.end_s
    try:
        if end_s is None:
            end_s = probe_audio(utterance.audio, name=utterance.id).duration_s
    except AudioError as error:
        return error
    return max(0.0, end_s - (utterance.start_s or 0.0))
