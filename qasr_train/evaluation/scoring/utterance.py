"""Owns `UtteranceScore`, a prediction with its errors: what every figure is made of, and a row of utterances.jsonl.

Input: a prediction and what was counted in its texts; or a row of the file. Output: the noun, and in which ways its output is
broken; the row.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from qasr_train.text.tokens import is_in_other_script, tokens
from qasr_train.transcription.predictions import Prediction

# What no transcript holds: the replacement character of bytes that are no text, control and private characters, half characters.
_NO_TEXT = re.compile(r"[\ufffd\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff]")
# Less than one token for three of the reference is an end too early, where there are enough of them to say so.
_MIN_TOKENS, _TOKENS_FOR_ONE = 6, 3


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
class TakenSpelling:
    """A place of a reference where several spellings are right, normalised; "": nothing.

    taken: the one that the hypothesis is held against. spellings: all of them, the first as written.
    """

    taken: str
    spellings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TermErrors:
    """Errors and reference length of one utterance, on and off its terms: words, or characters in CER languages."""

    num_errors_on: int
    num_errors_off: int
    num_words_on: int
    num_words_off: int


@dataclass(frozen=True, slots=True)
class TermPlaces:
    """Which words (characters in languages without spaces) of the normalised texts stand in terms, by their number."""

    reference: frozenset[int]
    hypothesis: frozenset[int]


@dataclass(frozen=True, slots=True)
class UtteranceTerms:
    """The terms of one utterance in order.

    errors: None where the texts are too long to align. Both it and `places` are None of a row that was read: the file does not
    hold them.
    """

    reference: list[str]
    hypothesis: list[str]
    errors: TermErrors | None = None
    places: TermPlaces | None = None

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
class MixedErrors:
    """Errors of one utterance by script, in characters of scripts written without spaces and words of the others.

    scripts: script -> (reference tokens, errors); an inserted token is of its own script. num_switches: places where one script
    gives way to another; num_tokens_at: reference tokens beside them; num_errors_at: errors of these, and inserted between two.
    """

    scripts: dict[str, tuple[int, int]]
    num_switches: int
    num_tokens_at: int
    num_errors_at: int

    @property
    def num_tokens(self) -> int:
        """Of the reference."""
        return sum(num_tokens for num_tokens, _ in self.scripts.values())

    @property
    def num_errors(self) -> int:
        """Of all scripts."""
        return sum(num_errors for _, num_errors in self.scripts.values())


@dataclass(frozen=True, slots=True)
class UtteranceScore:
    """One prediction and its errors; error rates are never averaged over utterances, counts are pooled.

    not_scored_because: why it enters no total; its counts are still those of its texts. None: it does.
    terms: those of a term list, None without one or where it is not scored. context_terms: those of its own context, likewise.
    spellings: the places of the reference where several are right; `counts` are of the path taken.
    mixed: errors by script, where they were asked for, it is scored and not too long to align.
    """

    prediction: Prediction
    counts: ErrorCounts
    not_scored_because: str | None = None
    terms: UtteranceTerms | None = None
    context_terms: UtteranceContext | None = None
    spellings: tuple[TakenSpelling, ...] = ()
    mixed: MixedErrors | None = None

    @property
    def is_scored(self) -> bool:
        """Whether it enters totals."""
        return self.not_scored_because is None

    @property
    def is_heard(self) -> bool:
        """Whether the model gave an output at all."""
        return self.prediction.failed is None

    @property
    def is_empty(self) -> bool:
        """No letter or digit was written where something was said, after normalising."""
        counts = self.counts
        return (
            self.is_heard and _has_words(counts.normalized_reference) and not _has_words(counts.normalized_hypothesis)
        )

    @property
    def is_garbled(self) -> bool:
        """The output has characters that are no text (U+FFFD, control and private ones), and the reference has none."""
        return _has_no_text(self.prediction.pred_text) and not _has_no_text(self.prediction.text or "")

    @property
    def is_cut_off(self) -> bool:
        """It met the limit of new tokens, or is under a third of a reference of six tokens or more (but not empty)."""
        if self.prediction.is_truncated:
            return True
        counts, language = self.counts, self.prediction.language
        num_written = len(tokens(counts.normalized_hypothesis, language))
        num_said = len(tokens(counts.normalized_reference, language))
        is_short = num_said >= _MIN_TOKENS and _TOKENS_FOR_ONE * num_written < num_said
        return is_short and _has_words(counts.normalized_hypothesis) and not self.is_in_other_language

    @property
    def is_in_other_language(self) -> bool:
        """Over half of its characters are wrong, and it is in a script the reference has not, or heard as another language."""
        counts, stated, told = self.counts, self.prediction.language, self.prediction.predicted_language
        if not counts.normalized_hypothesis or 2 * counts.num_character_errors <= counts.num_reference_characters:
            return False
        is_told = stated is not None and told is not None and stated != told
        return is_told or is_in_other_script(counts.normalized_hypothesis, counts.normalized_reference)

    @property
    def key(self) -> tuple[str, str]:
        """(set, id): no two utterances of a run have the same."""
        return self.prediction.set, self.prediction.id


# The ways in which an output is broken, rather than a transcript with errors. An output may be several of them.
BROKEN: dict[str, Callable[[UtteranceScore], bool]] = {
    "empty": lambda row: row.is_empty,
    "garbled": lambda row: row.is_garbled,
    "looping": lambda row: row.counts.has_loop,
    "cut off": lambda row: row.is_cut_off,
    "in another language": lambda row: row.is_in_other_language,
}
ANY = "any of these"


def broken_outputs(rows: Sequence[UtteranceScore]) -> dict[str, list[bool]]:
    """Which outputs are broken, by the way, as BROKEN names them, and in any of them (ANY)."""
    ways = {name: [is_so(row) for row in rows] for name, is_so in BROKEN.items()}
    return ways | {ANY: [any(each) for each in zip(*ways.values(), strict=True)]}


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, text))


def _has_no_text(text: str) -> bool:
    if text.isprintable() and "\ufffd" not in text:  # most of them, told without a search
        return False
    return bool(_NO_TEXT.search(text))


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
    """The JSON row of an utterance, without terms; `prompt`, `columns`, `spellings`, `mixed` only where there is any."""
    values: dict[str, Any] = {name: getattr(score.prediction, field) for name, field in _OF_PREDICTION.items()}
    values |= score.counts._asdict()
    values |= {"is_scored": score.is_scored, "not_scored_because": score.not_scored_because}
    prompt = {"prompt": score.prediction.prompt} if score.prediction.prompt else {}
    carried = {"columns": score.prediction.columns} if score.prediction.columns else {}
    taken = [{"taken": one.taken, "of": list(one.spellings)} for one in score.spellings]
    optional: dict[str, Any] = {"spellings": taken, "mixed": score.mixed and asdict(score.mixed)}
    told = {name: value for name, value in optional.items() if value}
    return {name: values[name] for name in UTTERANCE_FIELDS} | prompt | carried | told


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
        Prediction(
            **{field: row[name] for name, field in _OF_PREDICTION.items()},
            prompt=row.get("prompt"),
            columns=row.get("columns") or {},
        ),
        ErrorCounts(**{name: row[name] for name in ErrorCounts._fields}),
        None if row["is_scored"] else row["not_scored_because"] or "",
        UtteranceTerms(terms["reference"], terms["hypothesis"]) if terms else None,
        _context_of_field(context) if context else None,
        tuple(TakenSpelling(one["taken"], tuple(one["of"])) for one in row.get("spellings") or ()),
        _mixed_of_field(row["mixed"]) if row.get("mixed") else None,
    )


def _mixed_of_field(field: Mapping[str, Any]) -> MixedErrors:
    scripts = {script: (num_tokens, num_errors) for script, (num_tokens, num_errors) in field["scripts"].items()}
    return MixedErrors(scripts, field["num_switches"], field["num_tokens_at"], field["num_errors_at"])


def _context_of_field(field: Mapping[str, Any]) -> UtteranceContext:
    return UtteranceContext(
        field["num_offered"], field["spoken"], field["found"], field["echoed"], field.get("num_prose", 0)
    )
