"""Owns the scoring of single utterances: normalise both texts, align, count errors of words and characters; on several cores.

Input: predictions and a normaliser's name. Output: `UtteranceScore` per prediction, in their order: the rows of utterances.jsonl.
"""

import itertools
import multiprocessing
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import kaldialign
from rapidfuzz.distance import Levenshtein

from qasr_train.text.languages import CER_LANGUAGES
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.tokens import tokens
from qasr_train.transcription.predictions import Prediction

# Below this a second process costs more than it brings (it imports the normalisers first).
_MIN_ROWS_FOR_POOL = 4000
_CHUNK_ROWS = 1000
# A loop: a unit of at most 20 tokens that stands 4 times or more in a row and so covers 8 tokens or more.
_MAX_LOOP_UNIT = 20
_MIN_LOOP_REPEATS = 4
_MIN_LOOP_TOKENS = 8

NO_REFERENCE = "no reference"
EMPTY_REFERENCE = "reference is empty or ignored"
FAILED = "failed"


@dataclass(slots=True)
class UtteranceScore:
    """One row of utterances.jsonl. Counts are of the normalised texts; error rates are never averaged over rows, counts pooled.

    is_scored: False where the row enters no total; not_scored_because says why. Its counts are still those of its texts.
    num_character_errors, num_reference_characters: single spaces count, but none do in languages written without them.
    has_loop: the hypothesis repeats itself as the reference does not.
    """

    id: str
    set: str
    language: str | None
    role: str | None
    speaker: str | None
    duration_s: float | None
    time_s: float | None
    audio_filepath: str | None
    reference: str | None
    hypothesis: str
    normalized_reference: str
    normalized_hypothesis: str
    substitutions: int
    deletions: int
    insertions: int
    num_reference_words: int
    num_character_errors: int
    num_reference_characters: int
    is_scored: bool
    not_scored_because: str | None
    predicted_language: str | None
    is_truncated: bool | None
    failed: str | None
    has_loop: bool

    @property
    def num_errors(self) -> int:
        """Word errors: substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions


UTTERANCE_FIELDS = tuple(field.name for field in fields(UtteranceScore))


@dataclass(slots=True)
class _Counts:
    """What a worker sends back of one pair of texts."""

    normalized_reference: str
    normalized_hypothesis: str
    substitutions: int
    deletions: int
    insertions: int
    num_reference_words: int
    num_character_errors: int
    num_reference_characters: int
    is_kept: bool
    has_loop: bool


def score_utterances(
    predictions: Sequence[Prediction], normalizer_name: str, *, failed_as_empty: bool = False, num_workers: int = 1
) -> list[UtteranceScore]:
    """Score each prediction by itself.

    Args:
        normalizer_name: a key of NORMALIZERS.
        failed_as_empty: score a failed row as an empty hypothesis instead of leaving it out.
        num_workers: processes; more than 1 is used from some thousand rows on.

    Raises:
        ConfigError: no such normaliser.
    """
    get_normalizer(normalizer_name)
    texts = [(row.text or "", "" if row.failed else row.pred_text, row.language) for row in predictions]
    return [
        _utterance_score(row, counts, failed_as_empty)
        for row, counts in zip(predictions, _count_all(texts, normalizer_name, num_workers), strict=True)
    ]


_Texts = tuple[str, str, str | None]


def _count_all(texts: list[_Texts], normalizer_name: str, num_workers: int) -> Iterator[_Counts]:
    if num_workers <= 1 or len(texts) < _MIN_ROWS_FOR_POOL:
        yield from _count_chunk(texts, normalizer_name)
        return
    chunks = [texts[start : start + _CHUNK_ROWS] for start in range(0, len(texts), _CHUNK_ROWS)]
    # Spawned, not forked: the parent may hold CUDA or a thread pool.
    with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for counts in pool.map(_count_chunk, chunks, itertools.repeat(normalizer_name)):
            yield from counts


def _count_chunk(texts: Iterable[_Texts], normalizer_name: str) -> list[_Counts]:
    return [_count(reference, hypothesis, language, normalizer_name) for reference, hypothesis, language in texts]


def _count(reference: str, hypothesis: str, language: str | None, normalizer_name: str) -> _Counts:
    normalizer = get_normalizer(normalizer_name)
    normalized = normalizer.normalize(reference, language)
    is_kept = normalizer.keeps(reference, normalized, language)
    ours, theirs = normalizer.join(normalized, normalizer.normalize(hypothesis, language), language)
    words, heard = ours.split(), theirs.split()
    if words == heard:
        edits = {"sub": 0, "del": 0, "ins": 0}
    else:
        edits = kaldialign.edit_distance(words, heard, merge_compounds=normalizer.merges_compounds)
    separator = "" if language in CER_LANGUAGES else " "
    characters, heard_characters = separator.join(words), separator.join(heard)
    return _Counts(
        normalized_reference=" ".join(words),
        normalized_hypothesis=" ".join(heard),
        substitutions=edits["sub"],
        deletions=edits["del"],
        insertions=edits["ins"],
        num_reference_words=len(words),
        num_character_errors=Levenshtein.distance(characters, heard_characters),
        num_reference_characters=len(characters),
        is_kept=is_kept,
        has_loop=_has_loop(tokens(theirs, language)) and not _has_loop(tokens(ours, language)),
    )


def _has_loop(sequence: list[str]) -> bool:
    num_repeated = len(sequence) - len(set(sequence))
    if num_repeated < _MIN_LOOP_TOKENS * (_MIN_LOOP_REPEATS - 1) // _MIN_LOOP_REPEATS:
        return False
    for period in range(1, min(_MAX_LOOP_UNIT, len(sequence) // _MIN_LOOP_REPEATS) + 1):
        needed = max(_MIN_LOOP_REPEATS * period, _MIN_LOOP_TOKENS) - period
        same = "".join("1" if a == b else "0" for a, b in zip(sequence, sequence[period:], strict=False))
        if re.search("1" * needed, same):
            return True
    return False


def _utterance_score(row: Prediction, counts: _Counts, failed_as_empty: bool) -> UtteranceScore:
    reason = None
    if row.text is None:
        reason = NO_REFERENCE
    elif row.failed and not failed_as_empty:
        reason = FAILED
    elif not counts.is_kept:
        reason = EMPTY_REFERENCE
    return UtteranceScore(
        id=row.id,
        set=row.set,
        language=row.language,
        role=row.role,
        speaker=row.speaker,
        duration_s=row.duration_s,
        time_s=row.time_s,
        audio_filepath=row.audio_filepath,
        reference=row.text,
        hypothesis=row.pred_text,
        normalized_reference=counts.normalized_reference,
        normalized_hypothesis=counts.normalized_hypothesis,
        substitutions=counts.substitutions,
        deletions=counts.deletions,
        insertions=counts.insertions,
        num_reference_words=counts.num_reference_words,
        num_character_errors=counts.num_character_errors,
        num_reference_characters=counts.num_reference_characters,
        is_scored=reason is None,
        not_scored_because=reason,
        predicted_language=row.predicted_language,
        is_truncated=row.is_truncated,
        failed=row.failed,
        has_loop=counts.has_loop,
    )


def utterance_row(score: UtteranceScore) -> dict[str, Any]:
    """The JSON row of an utterance's score."""
    return {name: getattr(score, name) for name in UTTERANCE_FIELDS}
