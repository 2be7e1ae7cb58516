"""Owns the scoring of single utterances: normalise both texts, align, count errors of words and characters; on several cores.

Input: predictions, a normaliser, a lexicon of equal spellings or None. Output: `UtteranceScore` per prediction, in their order.
"""

import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import kaldialign
from rapidfuzz.distance import Levenshtein

from qasr_train.evaluation.mixed.counts import count_mixed
from qasr_train.evaluation.scoring.utterance import ErrorCounts, TakenSpelling, UtteranceScore
from qasr_train.evaluation.spellings.reference import References
from qasr_train.run.processes import check_num_workers
from qasr_train.text.alternatives.lexicon import SpellingLexicon
from qasr_train.text.alternatives.notation import first_spelling, parse_alternatives
from qasr_train.text.languages import CER_LANGUAGES, LANGUAGES
from qasr_train.text.normalize import Normalizer, get_normalizer
from qasr_train.text.tokens import has_loop, tokens
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.unstated_language import UNSTATED

# Below this a second process costs more than it brings (it imports the normalisers first).
_MIN_ROWS_FOR_POOL = 4000
_CHUNK_ROWS = 1000

NO_REFERENCE = "no reference"
EMPTY_REFERENCE = "reference is empty or ignored"
FAILED = "failed"


def score_utterances(
    predictions: Sequence[Prediction],
    normalizer: Normalizer,
    *,
    failed_as_empty: bool = False,
    num_workers: int = 1,
    lexicon: SpellingLexicon | None = None,
    mixed: bool = False,
) -> list[UtteranceScore]:
    """Score each prediction by itself; a reference with several right spellings by those with the fewest errors.

    Args:
        failed_as_empty: score a failed row as an empty hypothesis instead of leaving it out.
        num_workers: processes; more than 1 is used from some thousand rows on, and needs a normaliser of NORMALIZERS.
        lexicon: spellings that are equal, besides those that a reference states itself.
        mixed: whether errors are counted by script too, and where languages meet.

    Raises:
        DataError: a reference states alternatives that are not closed, or too many; `mixed` where none holds two scripts.
    """
    for row in predictions:
        parse_alternatives(row.text or "", row.origin or row.id)  # refused with its place, before any process starts
    texts = [(row.text or "", "" if row.failed else row.pred_text, row.language) for row in predictions]
    counted = _count_all(texts, normalizer, num_workers, lexicon)
    rows = [
        UtteranceScore(row, one.counts, _not_scored_because(row, one.is_kept, failed_as_empty), spellings=one.spellings)
        for row, one in zip(predictions, counted, strict=True)
    ]
    return count_mixed(rows) if mixed else rows


def error_counter(normalizer: Normalizer) -> Callable[[Prediction], tuple[int, int]]:
    """Gives (word errors, reference words) of transcripts as they come; of a chunk none, its reference is that of all chunks."""

    def count_errors(prediction: Prediction) -> tuple[int, int]:
        if prediction.parent_id is not None:
            return (0, 0)
        [score] = score_utterances([prediction], normalizer)
        return (score.counts.num_errors, score.counts.num_reference_words) if score.is_scored else (0, 0)

    return count_errors


def row_warnings(predictions: Sequence[Prediction]) -> list[str]:
    """What a reader of the figures should know of the rows: languages that no rules are of, failures."""
    warnings = []
    others = sorted({row.language for row in predictions if row.language} - set(LANGUAGES))
    if others:
        warnings.append(f"not languages of Qwen3-ASR, so scored by the rules common to all: {', '.join(others)}")
    unknown = sum(row.language is None and bool((row.text or "").strip()) for row in predictions)
    if unknown:
        warnings.append(
            f"{unknown} of {len(predictions)} rows {UNSTATED}, and nothing else tells it; they are scored by the rules common to "
            "all languages, in words"
        )
    failed = [row for row in predictions if row.failed is not None]
    if failed:
        first = failed[0]
        warnings.append(f"{len(failed)} of {len(predictions)} rows failed; the first is {first.id!r}: {first.failed}")
    return warnings


def _not_scored_because(row: Prediction, is_kept: bool, failed_as_empty: bool) -> str | None:
    if row.text is None:
        return NO_REFERENCE
    if row.failed and not failed_as_empty:
        return FAILED
    return None if is_kept else EMPTY_REFERENCE


_Texts = tuple[str, str, str | None]  # reference, hypothesis, language


class _Counted(NamedTuple):
    """Of one pair of texts. is_kept: the normaliser keeps the row."""

    counts: ErrorCounts
    is_kept: bool
    spellings: tuple[TakenSpelling, ...]


def _count_all(
    texts: list[_Texts], normalizer: Normalizer, num_workers: int, lexicon: SpellingLexicon | None
) -> Iterator[_Counted]:
    check_num_workers(num_workers)
    if num_workers == 1 or len(texts) < _MIN_ROWS_FOR_POOL:
        yield from _count_chunk(texts, normalizer, lexicon)
        return
    chunks = [texts[start : start + _CHUNK_ROWS] for start in range(0, len(texts), _CHUNK_ROWS)]
    # Spawned, not forked: the parent may hold CUDA or a thread pool.
    with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        given = itertools.repeat(normalizer.name), itertools.repeat(lexicon)
        for counts in pool.map(_count_chunk_by_name, chunks, *given):
            yield from counts


def _count_chunk_by_name(texts: list[_Texts], normalizer_name: str, lexicon: SpellingLexicon | None) -> list[_Counted]:
    return _count_chunk(texts, get_normalizer(normalizer_name), lexicon)


def _count_chunk(texts: Iterable[_Texts], normalizer: Normalizer, lexicon: SpellingLexicon | None) -> list[_Counted]:
    references = References(normalizer, lexicon)
    return [_count(*pair, normalizer, references) for pair in texts]


def _count(
    stated: str, hypothesis: str, language: str | None, normalizer: Normalizer, references: References
) -> _Counted:
    first = first_spelling(stated)
    theirs = normalizer.normalize(hypothesis, language)
    path = references.path_taken(stated, theirs, language)
    # Whether it counts must not hang on what was heard.
    is_kept = normalizer.keeps(first, path.text if first is stated else normalizer.normalize(first, language), language)
    ours, theirs = normalizer.join(path.text, theirs, language)
    words, heard = ours.split(), theirs.split()
    if words == heard:
        edits = {"sub": 0, "del": 0, "ins": 0}
    else:
        edits = kaldialign.edit_distance(words, heard, merge_compounds=normalizer.merges_compounds(language))
    separator = "" if language in CER_LANGUAGES else " "
    characters, heard_characters = separator.join(words), separator.join(heard)
    counts = ErrorCounts(
        normalized_reference=" ".join(words),
        normalized_hypothesis=" ".join(heard),
        substitutions=edits["sub"],
        deletions=edits["del"],
        insertions=edits["ins"],
        num_reference_words=len(words),
        num_character_errors=Levenshtein.distance(characters, heard_characters),
        num_reference_characters=len(characters),
        has_loop=has_loop(tokens(theirs, language)) and not has_loop(tokens(ours, language)),
    )
    return _Counted(counts, is_kept, path.spellings)
