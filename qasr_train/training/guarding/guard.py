"""Owns the guard of a run: figures of the dev sets that must not get worse while the one that is trained on gets better.

Input: the transcripts of a dev set; the figures of a validation, and those before the first step. Output: its figures, those that
are watched among them, and whether any is past its margin. docs/sequence_training.md names what each of them shows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from qasr_train.config.patterns import matches_any
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.run.history import PAST_MARGIN
from qasr_train.text.languages import CER_LANGUAGES
from qasr_train.text.normalize import Normalizer
from qasr_train.text.terms import TermList
from qasr_train.training.checkpoint import TrainState
from qasr_train.training.settings import GuardConfig, OnWorse
from qasr_train.transcription.predictions import Prediction

# Figure of a dev set -> 1 where more of it is worse, -1 where less is. Each has its margin in `GuardConfig`: NAME_points.
WATCHED = {
    "error_rate": 1,
    "deletion": 1,
    "insertion": 1,
    "wrong_language": 1,
    "loop": 1,
    "hallucination": 1,
    "context_echo": 1,
    "term_precision": -1,
}


def dev_figures(
    predictions: Sequence[Prediction], normalizer: Normalizer, *, watches: bool = False, terms: TermList | None = None
) -> dict[str, float]:
    """Figures of a dev set from its transcripts, by name; error_rate is WER, or CER where its languages are scored so.

    Args:
        watches: also those a guard watches. terms: by which those of terms are measured; None: they are not.
    """
    scored = score_predictions(predictions, normalizer, terms=terms)
    overall = scored.overall
    figures = {
        "wer_percent": or_all_wrong(overall["wer_percent"]),
        "cer_percent": or_all_wrong(overall["cer_percent"]),
        **({} if overall.primary_percent is None else {"error_rate": overall.primary_percent}),
        "broken_percent": overall["broken_percent"] or 0.0,
    }
    return figures | (watched_figures(scored) if watches else {})


def or_all_wrong(percent: float | None) -> float:
    """A rate for comparison: words where the references have none are as wrong as can be counted, 100 %."""
    return 100.0 if percent is None else percent


def watched_figures(scored: ScoredRun) -> dict[str, float]:
    """Percent by name, of the transcripts of a dev set; what it cannot say is left out.

    deletion, insertion: of the words of the references (of characters by language). wrong_language: of the rows with speech
    that state one, those told another or none. loop: outputs that repeat themselves. hallucination: clips without speech with
    words. context_echo: of the terms offered and not spoken, those written. term_precision: of the terms of the list that were
    written, those spoken.
    """
    overall = scored.overall
    edits = [_deletions_and_insertions(row) for row in scored.rows if row.is_scored]
    num_expected = sum(one[2] for one in edits)
    stated = [
        row.prediction
        for row in scored.rows
        if row.is_heard and row.prediction.language and row.counts.normalized_reference
    ]
    num_wrong = sum(one.predicted_language != one.language for one in stated)
    figures = {
        "deletion": 100 * sum(one[0] for one in edits) / num_expected if num_expected else None,
        "insertion": 100 * sum(one[1] for one in edits) / num_expected if num_expected else None,
        "wrong_language": 100 * num_wrong / len(stated) if stated else None,
        "loop": overall["loop_percent"],
        "hallucination": overall["hallucination_percent"],
        "context_echo": scored.context.overall.context_echo_percent if scored.context else None,
        "term_precision": scored.entities.overall.precision_percent if scored.entities else None,
    }
    return {f"{name}_percent": round(value, 4) for name, value in figures.items() if value is not None}


def _deletions_and_insertions(row: UtteranceScore) -> tuple[int, int, int]:
    """(deletions, insertions, reference length), in characters where the language is scored so."""
    counts = row.counts
    if row.prediction.language not in CER_LANGUAGES:
        return counts.deletions, counts.insertions, counts.num_reference_words
    said, heard = (text.replace(" ", "") for text in (counts.normalized_reference, counts.normalized_hypothesis))
    kinds = [edit.tag for edit in Levenshtein.editops(said, heard)]
    return kinds.count("delete"), kinds.count("insert"), counts.num_reference_characters


@dataclass(frozen=True)
class Guard:
    """Compares every validation with the figures before the first step.

    margins: by the names of WATCHED, percentage points; a figure without one is not watched. sets: patterns of dev sets.
    patience: validations in a row past a margin after which it counts. stops: whether the run ends then.
    say: called with a line.
    """

    margins: Mapping[str, float]
    sets: Sequence[str]
    patience: int
    stops: bool
    say: Callable[[str], None]

    def take(self, state: TrainState, figures: Mapping[str, float]) -> dict[str, float]:
        """Note in the state, of each figure that is past its margin now, for how many validations in a row; and say so.

        Returns: a figure for the log, how many there are.
        """
        past = dict(self.past(state.dev_before, figures))
        state.num_past_margin = {name: state.num_past_margin.get(name, 0) + 1 for name in past}
        state.dev_last = dict(figures)
        for told in past.values():
            self.say(f"guard, step {state.step}: {told}")
        if self.is_over(state):
            self.say("guard: the run ends here (trainer.guard.action=stop); a wider margin and resume=true would go on")
        return {PAST_MARGIN: len(past)}

    def is_over(self, state: TrainState) -> bool:
        """Whether the run is to end: a figure was past its margin, as it is now, often enough."""
        return self.stops and bool(self.reasons(state))

    def reasons(self, state: TrainState) -> list[str]:
        """Sentences on the figures that were past their margins often enough, at the last validation."""
        past = dict(self.past(state.dev_before, state.dev_last))
        return [told for name, told in past.items() if state.num_past_margin.get(name, 0) >= self.patience]

    def past(self, before: Mapping[str, float], now: Mapping[str, float]) -> Iterator[tuple[str, str]]:
        """(name, a sentence) of each figure that is worse than before by more than its margin."""
        for name, value in now.items():
            dev_set, _, figure = name.removeprefix("dev/").partition("/")
            watched = figure.removesuffix("_percent")
            if watched not in self.margins or name not in before or not self._is_watched(dev_set):
                continue
            worse_by, margin = WATCHED[watched] * (value - before[name]), self.margins[watched]
            if worse_by > margin:
                yield (
                    name,
                    f"{name} {before[name]:.2f} before training, now {value:.2f}, past trainer.guard.{watched}_points={margin:g}",
                )

    def _is_watched(self, dev_set: str) -> bool:
        return matches_any("trainer.guard.sets", self.sets, dev_set)


def make_guard(config: GuardConfig, say: Callable[[str], None]) -> Guard | None:
    """The guard that the settings describe; None: off."""
    if not config.is_on:
        return None
    margins = {name: margin for name, margin in config.margins().items() if margin is not None}
    return Guard(margins, config.sets, config.patience, config.action is OnWorse.stop, say)
