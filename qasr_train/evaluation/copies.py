"""Owns whether a copy of a model says what the model says: both hear the same recordings, texts and error rates side by side.

Input: a set of recordings with references, predictions of both. Output: `SameWords`; an error past the margin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qasr_train.errors import CheckpointError, DataError
from qasr_train.evaluation.comparing.group import compare_pairs
from qasr_train.evaluation.comparing.paired import PairedTest
from qasr_train.evaluation.comparing.pairs import pair_runs
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.models.base import Recogniser
from qasr_train.run.processes import Processes
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_table
from qasr_train.text.normalize import DEFAULT_NORMALIZER, get_normalizer
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import DecodeConfig
from qasr_train.transcription.transcribe import transcribe_utterances

_MOST_LISTED = 10  # texts that differ, of what may be thousands


@dataclass(frozen=True, slots=True)
class ChangedText:
    """An utterance that the copy hears otherwise."""

    id: str
    original: str
    copy: str


@dataclass(frozen=True, slots=True)
class SameWords:
    """What a copy says beside the model it is of. metric: "wer" or "cer", of `test`; changed: in the order of the recordings."""

    num_utterances: int
    changed: list[ChangedText]
    metric: str
    test: PairedTest

    def lines(self) -> list[str]:
        """For the terminal: how many texts are equal, the error rates with the interval of their difference, what differs."""
        num_equal = self.num_utterances - len(self.changed)
        lines = [f"checked on {self.num_utterances} recordings: {num_equal} texts equal; {self.rates()}"]
        for one in self.changed[:_MOST_LISTED]:
            lines += [f"  {one.id}", f"    - {one.original}", f"    + {one.copy}"]
        if len(self.changed) > _MOST_LISTED:
            lines.append(f"  and {len(self.changed) - _MOST_LISTED} more")
        return lines

    def rates(self) -> str:
        """Both error rates and their difference."""
        test, interval = self.test, self.test.interval
        # a zero has no sign here
        delta, low, high = (
            f"{round(points, 2) + 0.0:+.2f}"
            for points in (test.delta_percent, interval.low_percent, interval.high_percent)
        )
        return (
            f"{self.metric.upper()} {test.baseline_percent:.2f} % before, {test.candidate_percent:.2f} % after "
            f"({delta} points, {interval.confidence:.0%} interval {low} to {high})"
        )


def load_checked_on(path: str, key: str) -> UtteranceSet:
    """The recordings that a copy is checked on, of whatever splits: both hear the same.

    Args:
        path: of any source with references. key: the setting, for messages.

    Raises:
        DataError, ConfigError: as `load_table`; a row states no text.
    """
    name = Path(path).stem
    try:
        table = load_table(SourceConfig(path=path), name, is_one_split=False, key=key)
    except DataError as error:
        if f"{key}." not in str(error):
            raise
        # The settings of a source that it names are none of this one, which takes a source as it stands.
        raise DataError(
            f"{str(error).partition('; name the right one')[0]}; make a manifest of it with recipes/prepare.py"
        ) from None
    utterances = list(table)
    if without_text := [one for one in utterances if one.text is None]:
        raise DataError(
            f"{key}={path}: {len(without_text)} of {len(utterances)} rows state no text, the first is {without_text[0].id!r}; an "
            "error rate needs a reference in every row"
        )
    return UtteranceSet(name, utterances, intake=table.intake)


def hear(model: Recogniser, one: UtteranceSet, max_duration_s: float, *, use_context: bool = True) -> list[Prediction]:
    """What a model says of the recordings, as evaluate.py has it by default.

    Args:
        max_duration_s: the longest clip of a pass. use_context: whether it is given the contexts of the rows.
    """
    decoding = DecodeConfig(use_context=use_context).decoding(max_duration_s)
    return transcribe_utterances(model, one.utterances, decoding, Processes(0, 1), one.name)


def compare_words(original: Sequence[Prediction], copy: Sequence[Prediction]) -> SameWords:
    """Texts of a model and of its copy, utterance by utterance.

    Raises:
        DataError: the references hold no word, so there is no error rate.
    """
    rules = get_normalizer(DEFAULT_NORMALIZER)
    pairs, _ = pair_runs(score_predictions(original, rules), score_predictions(copy, rules))
    compared = compare_pairs(pairs, Resampling())
    if compared.test is None:
        raise DataError("the recordings of the check hold no reference word, so there is no error rate; name others")
    said = {prediction.id: prediction.pred_text for prediction in copy}
    changed = [
        ChangedText(one.id, one.pred_text, said[one.id])
        for one in original
        if one.failed is None and one.pred_text != said[one.id]
    ]
    return SameWords(len(original), changed, compared.metric, compared.test)


def require_same_words(words: SameWords, max_increase_points: float, copy: str) -> None:
    """Refuse a copy whose error rate, as measured, is above the model's by more than a margin.

    Args:
        max_increase_points: percentage points. copy: what it is called in the error.

    Raises:
        CheckpointError: both rates, the margin and the first texts that differ by their ids.
    """
    if words.test.delta_percent <= max_increase_points:
        return
    first = ", ".join(one.id for one in words.changed[:3])
    raise CheckpointError(
        f"{copy} is not kept: {words.rates()}, more than max_wer_increase={max_increase_points:g}; {len(words.changed)} of "
        f"{words.num_utterances} texts differ, the first {first}"
    )
