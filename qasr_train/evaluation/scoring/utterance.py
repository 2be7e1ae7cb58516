"""Owns `UtteranceScore`, a prediction with its errors: what every figure is made of, and a row of utterances.jsonl.

Input: a prediction and what was counted in its texts; or a row of the file. Output: the noun; the row.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from qasr_train.transcription.predictions import Prediction


class ErrorCounts(NamedTuple):
    """What was counted in a reference and a hypothesis, of the normalised texts.

    num_character_errors, num_reference_characters: single spaces count, but none do in languages written without them.
    has_loop: the hypothesis repeats itself as the reference does not.
    """

    normalized_reference: str
    normalized_hypothesis: str
    substitutions: int
    deletions: int
    insertions: int
    num_reference_words: int
    num_character_errors: int
    num_reference_characters: int
    has_loop: bool

    @property
    def num_errors(self) -> int:
        """Word errors: substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True, slots=True)
class TermErrors:
    """Errors and reference length of one utterance, on and off its terms: words, or characters in CER languages."""

    num_errors_on: int
    num_errors_off: int
    num_words_on: int
    num_words_off: int


@dataclass(frozen=True, slots=True)
class UtteranceTerms:
    """The terms of one utterance in order.

    errors: None where the texts are too long to align, and of a row that was read: the file does not hold them.
    """

    reference: list[str]
    hypothesis: list[str]
    errors: TermErrors | None = None

    @property
    def missed(self) -> list[str]:
        """Terms spoken more often than they were written."""
        return sorted((Counter(self.reference) - Counter(self.hypothesis)).elements())

    @property
    def added(self) -> list[str]:
        """Terms written more often than they were spoken."""
        return sorted((Counter(self.hypothesis) - Counter(self.reference)).elements())


@dataclass(frozen=True, slots=True)
class UtteranceContext:
    """What became of the terms offered to one utterance. num_prose: pieces of the context too long to be terms.

    spoken: those of the reference. found: those of them in the output. echoed: in the output, not in the reference.
    """

    num_offered: int
    spoken: list[str]
    found: list[str]
    echoed: list[str]
    num_prose: int


@dataclass(frozen=True, slots=True)
class UtteranceScore:
    """One prediction and its errors; error rates are never averaged over utterances, counts are pooled.

    not_scored_because: why it enters no total; its counts are still those of its texts. None: it does.
    terms: those of a term list, None without one or where it is not scored. context_terms: those of its own context, likewise.
    """

    prediction: Prediction
    counts: ErrorCounts
    not_scored_because: str | None = None
    terms: UtteranceTerms | None = None
    context_terms: UtteranceContext | None = None

    @property
    def is_scored(self) -> bool:
        """Whether it enters totals."""
        return self.not_scored_because is None

    @property
    def key(self) -> tuple[str, str]:
        """(set, id): no two utterances of a run have the same."""
        return self.prediction.set, self.prediction.id


UTTERANCE_FIELDS = (
    "id set language role speaker duration_s time_s audio_filepath reference hypothesis normalized_reference "
    "normalized_hypothesis substitutions deletions insertions num_reference_words num_character_errors "
    "num_reference_characters is_scored not_scored_because predicted_language is_truncated failed has_loop"
).split()
# Of them, by the name they have in a prediction.
_OF_PREDICTION = {
    name: {"reference": "text", "hypothesis": "pred_text"}.get(name, name)
    for name in UTTERANCE_FIELDS
    if name not in (*ErrorCounts._fields, "is_scored", "not_scored_because")
}


def utterance_row(score: UtteranceScore) -> dict[str, Any]:
    """The JSON row of an utterance, without terms."""
    values: dict[str, Any] = {name: getattr(score.prediction, field) for name, field in _OF_PREDICTION.items()}
    values |= score.counts._asdict()
    values |= {"is_scored": score.is_scored, "not_scored_because": score.not_scored_because}
    return {name: values[name] for name in UTTERANCE_FIELDS}


def terms_field(terms: UtteranceTerms | None) -> dict[str, list[str]] | None:
    """`terms` of a row."""
    if terms is None:
        return None
    lists = {"reference": terms.reference, "hypothesis": terms.hypothesis}
    return lists | {"missed": terms.missed, "added": terms.added}


def context_field(context: UtteranceContext | None) -> dict[str, Any] | None:
    """`context_terms` of a row: hundreds may be offered to every row, so those are only counted."""
    if context is None:
        return None
    lists = {"spoken": context.spoken, "found": context.found, "echoed": context.echoed}
    return {"num_offered": context.num_offered, **lists, "num_prose": context.num_prose}


def utterance_of_row(row: Mapping[str, Any]) -> UtteranceScore:
    """A row that was written, with all of UTTERANCE_FIELDS, read again.

    Raises:
        KeyError: a field is missing.
    """
    terms, context = row.get("terms"), row.get("context_terms")
    return UtteranceScore(
        Prediction(**{field: row[name] for name, field in _OF_PREDICTION.items()}),
        ErrorCounts(**{name: row[name] for name in ErrorCounts._fields}),
        None if row["is_scored"] else row["not_scored_because"] or "",
        UtteranceTerms(terms["reference"], terms["hypothesis"]) if terms else None,
        _context_of_field(context) if context else None,
    )


def _context_of_field(field: Mapping[str, Any]) -> UtteranceContext:
    return UtteranceContext(
        field["num_offered"], field["spoken"], field["found"], field["echoed"], field.get("num_prose", 0)
    )
