"""Owns how sure a system was of each word that counts: the probabilities of its tokens put together, and whether it is right.

Input: scored utterances whose predictions have `pieces`. Output: `JudgedWords` of each. Right and wrong are those of the
alignment that the error rate is made of; a word that normalising made of several, or several of one, has what all of them had.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.scoring.word_pairs import WordPair, utterance_pairs
from qasr_train.evaluation.words.places import places_of, written_words
from qasr_train.evaluation.words.settings import Aggregate
from qasr_train.models.blocks.text_pieces import Pieces
from qasr_train.text.languages import CER_LANGUAGES
from qasr_train.text.normalize import Normalizer

_LOG_PROB: dict[Aggregate, Callable[[Sequence[float]], float]] = {
    Aggregate.product: sum,
    Aggregate.min: min,
    Aggregate.mean: lambda log_probs: sum(log_probs) / len(log_probs),
}


@dataclass(frozen=True, slots=True)
class JudgedWords:
    """The words of one normalised hypothesis (characters in languages without spaces), in order.

    confidences: 0 to 1 each. is_wrong: a substitution or an insertion. is_on_term: it stands for a word of a term of the
    reference, or was inserted inside a term of the output. num_deleted, num_deleted_terms: words of the reference, and of its
    terms, for which nothing was written.
    """

    confidences: list[float]
    is_wrong: list[bool]
    is_on_term: list[bool]
    num_deleted: int
    num_deleted_terms: int


def judged_words(row: UtteranceScore, normalizer: Normalizer, aggregate: Aggregate) -> JudgedWords | None:
    """The words of a row; None where it is not scored, tells no probabilities, or its texts are too long to align."""
    pieces = row.prediction.pieces
    if pieces is None or not row.is_scored or not row.is_heard:
        return None
    pairs = utterance_pairs(row, normalizer)
    if pairs is None:
        return None
    confidences = word_confidences(row, pieces, normalizer, aggregate)
    is_wrong, is_on_term, deleted = _judged(list(pairs), row)
    assert len(confidences) == len(is_wrong), f"{row.prediction.id}: a word without its confidence"
    return JudgedWords(confidences, is_wrong, is_on_term, *deleted)


def word_confidences(row: UtteranceScore, pieces: Pieces, normalizer: Normalizer, aggregate: Aggregate) -> list[float]:
    """How sure each word of the normalised hypothesis is, 0 to 1, as its tokens tell."""
    text, language = row.prediction.pred_text, row.prediction.language
    of_word = _pieces_of_words(text, written_words(text, language), pieces)
    found: list[float] = []
    for place in places_of(text, row.counts.normalized_hypothesis, language, normalizer.normalize):
        if place.first == place.last:
            continue
        numbers = sorted({number for word in range(place.begin, place.end) for number in of_word[word]})
        log_prob = _LOG_PROB[aggregate]([pieces[number].log_prob for number in numbers])
        found += [min(1.0, math.exp(log_prob))] * (place.last - place.first)
    return found


def _pieces_of_words(text: str, spans: Sequence[tuple[int, int]], pieces: Pieces) -> list[list[int]]:
    """The numbers of the pieces of each word; of mere punctuation only where there is nothing else.

    Whether a comma comes is another doubt than what the word before it is (so whisper-timestamped has it too).
    """
    ends, place = [], 0
    for piece in pieces:
        place += piece.num_characters
        ends.append(place)
    found: list[list[int]] = []
    number = 0
    for begin, end in spans:
        while ends[number] <= begin:
            number += 1
        inside, last = [number], number
        while ends[last] < end:
            last += 1
            inside.append(last)
        starts = [max(begin, ends[one] - pieces[one].num_characters) for one in inside]
        spelling = [
            one for one, start in zip(inside, starts, strict=True) if _is_spelling(text[start : min(end, ends[one])])
        ]
        found.append(spelling or inside)
    return found


def _is_spelling(text: str) -> bool:
    return any(map(str.isalnum, text))


def _judged(pairs: Sequence[WordPair], row: UtteranceScore) -> tuple[list[bool], list[bool], tuple[int, int]]:
    """(wrong, on a term) of each word of the hypothesis; (deleted words, of terms)."""
    places = row.terms.places if row.terms else None
    is_wrong: list[bool] = []
    is_on_term: list[bool] = []
    num_deleted = num_deleted_terms = said = heard = 0
    for pair in pairs:
        is_on = places is not None and (said in places.reference if pair.expected else heard in places.hypothesis)
        num_said, num_heard = (_num_words(text, row.prediction.language) for text in (pair.expected, pair.heard))
        is_wrong += [not pair.is_same] * num_heard
        is_on_term += [is_on] * num_heard
        if not num_heard:
            num_deleted += num_said
            num_deleted_terms += num_said * is_on
        said, heard = said + num_said, heard + num_heard
    return is_wrong, is_on_term, (num_deleted, num_deleted_terms)


def _num_words(text: str, language: str | None) -> int:
    """Of one side of a pair: merged compounds are several words."""
    return len(text) if language in CER_LANGUAGES else len(text.split())
