"""Owns the progress bar of a transcription: sound done, time left, RTFx, running WER, failures.

Input: predictions as they come. Output: one line on stderr; a line now and then where stderr is no terminal.
"""

import sys
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from tqdm import tqdm

from qasr_train.transcription.predictions import Prediction

CountErrors = Callable[[Prediction], tuple[int, int]]  # its word errors, its reference words
_BY_SOUND = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
TERMINAL_INTERVAL_S, LOG_INTERVAL_S = 0.2, 30.0


class Progress:
    """A bar over a known number of utterances; a context manager that closes its line."""

    def __init__(
        self,
        num_utterances: int,
        *,
        label: str,
        is_shown: bool,
        count_errors: CountErrors,
        total_s: float | None = None,
    ) -> None:
        """
        Args:
            count_errors: of a prediction, for the running WER, which is shown once there are words.
            total_s: seconds of all utterances, by which the time left is told, as long ones come first; None: not known.
        """
        interval_s = TERMINAL_INTERVAL_S if sys.stderr.isatty() else LOG_INTERVAL_S
        self._bar = tqdm(
            total=num_utterances if total_s is None else total_s,
            desc=label,
            unit="utt",
            bar_format=None if total_s is None else _BY_SOUND,
            disable=not is_shown,
            mininterval=interval_s,
            dynamic_ncols=True,
        )
        self._is_shown, self._num_utterances, self._total_s = is_shown, num_utterances, total_s
        self._num_done = 0
        self._count_errors = count_errors
        self._audio_s = self._inference_s = 0.0
        self._num_errors = self._num_words = self._num_failed = 0

    def add(self, predictions: Iterable[Prediction]) -> None:
        """Advance by these predictions."""
        if not self._is_shown:
            return
        for prediction in predictions:
            self._num_done += 1
            step = 1 if self._total_s is None else prediction.duration_s or 0.0
            self._bar.update(
                min(step, self._bar.total - self._bar.n)
            )  # a decoder may give a sample more than was planned
            if prediction.failed:
                self._num_failed += 1
                continue
            self._audio_s += prediction.duration_s or 0.0
            self._inference_s += prediction.time_s or 0.0
            num_errors, num_words = self._count_errors(prediction)
            self._num_errors += num_errors
            self._num_words += num_words
        self._bar.set_postfix_str(self._postfix(), refresh=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()

    def _postfix(self) -> str:
        parts = [] if self._total_s is None else [f"{self._num_done} of {self._num_utterances} utterances"]
        if self._inference_s:
            parts.append(f"RTFx {self._audio_s / self._inference_s:.1f}")
        if self._num_words:
            parts.append(f"WER {100 * self._num_errors / self._num_words:.1f} %")
        if self._num_failed:
            parts.append(f"failed {self._num_failed}")
        return ", ".join(parts)
