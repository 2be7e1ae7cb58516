"""Owns how well a list of terms (drug names, statutes ...) is recognised: recall, precision, F1, error rate on and off terms.

Input: scored rows, a `TermList`, the normaliser. Output: the rows with their terms; `EntityScores`, `entities` of scores.json.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from qasr_train.evaluation.scoring.groups import Groups
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.rates import percent, primary_metric_of
from qasr_train.evaluation.scoring.significance import Counts, Interval, error_rate_interval
from qasr_train.evaluation.scoring.utterance import TermErrors, TermPlaces, UtteranceScore, UtteranceTerms
from qasr_train.evaluation.scoring.word_pairs import utterance_pairs
from qasr_train.text.normalize import Normalizer
from qasr_train.text.terms import Hit, TermFinder, TermList
from qasr_train.text.tokens import tokens


@dataclass(frozen=True, slots=True)
class CountedTerms:
    """The term list by which a run's terms were counted. digest: of the file; None where scores.json says none."""

    path: str
    digest: str | None
    num_terms: int


@dataclass(frozen=True, slots=True)
class TermScore:
    """Figures of one group. Rates in percent are None where there is nothing to divide by.

    num_spoken, num_written: terms in the references, in the outputs. num_found: per utterance and term the smaller of the two.
    on_terms_percent, off_terms_percent: error rate over words of the reference inside and outside terms; an inserted word
        counts as on when it is inside a term of the output. metric: "wer", or "cer" in CER languages.
    num_term_errors, term_error_percent: edits between the sequences of terms in reference and output, a term of several words as
        one, and of the terms spoken: what medwer calls medical WER.
    num_not_aligned: utterances too long to align, left out of those two rates.
    *_interval: intervals of recall, precision and F1.
    """

    num_utterances: int
    num_spoken: int
    num_written: int
    num_found: int
    recall_percent: float | None
    precision_percent: float | None
    f1_percent: float | None
    metric: str
    on_terms_percent: float | None
    off_terms_percent: float | None
    num_errors_on_terms: int
    num_errors_off_terms: int
    num_words_on_terms: int
    num_words_off_terms: int
    num_not_aligned: int
    num_term_errors: int
    term_error_percent: float | None
    recall_interval: Interval | None
    precision_interval: Interval | None
    f1_interval: Interval | None


@dataclass(frozen=True, slots=True)
class EntityScores:
    """Terms over a run. by_term: term -> (spoken, written, found)."""

    terms: CountedTerms
    overall: TermScore
    sets: dict[str, TermScore]
    by_term: dict[str, tuple[int, int, int]]

    def to_json(self) -> dict[str, Any]:
        """`entities` of scores.json; `terms` lists those that were spoken or written at all."""
        names = ("num_spoken", "num_written", "num_found")
        return {
            "terms_file": self.terms.path,
            "terms_digest": self.terms.digest,
            "num_terms": self.terms.num_terms,
            "overall": dataclasses.asdict(self.overall),
            "sets": {name: dataclasses.asdict(group) for name, group in self.sets.items()},
            "terms": {term: dict(zip(names, counts, strict=True)) for term, counts in self.by_term.items()},
        }


def find_terms(
    rows: Sequence[UtteranceScore], terms: TermList, normalizer: Normalizer
) -> tuple[list[UtteranceScore], list[str]]:
    """(the rows, with the terms in each that is scored; warnings). Matched by the normaliser's rules, the longest at each place.

    Errors on and off terms are the B-WER and U-WER of Le et al. 2021 (contextual biasing), with terms of several words.
    """
    languages = sorted({row.prediction.language for row in rows if row.is_scored}, key=str)
    finders = {language: TermFinder(terms.spellings.items(), normalizer, language) for language in languages}
    found = [
        replace(
            row, terms=_utterance_terms(row, finders[row.prediction.language], normalizer) if row.is_scored else None
        )
        for row in rows
    ]
    return found, _warnings(finders, normalizer.name)


def counted_terms(terms: TermList) -> CountedTerms:
    """What is recorded of a list."""
    return CountedTerms(terms.path, terms.digest, terms.num_terms)


def score_entities(rows: Sequence[UtteranceScore], terms: CountedTerms, resampling: Resampling) -> EntityScores:
    """Figures of the terms that `find_terms` found."""
    scored = [row for row in rows if row.terms is not None]
    groups = Groups(scored, lambda part: _term_score(part, resampling))
    return EntityScores(
        terms=terms,
        overall=groups.by(lambda row: "").get("") or _term_score([], resampling),
        sets=groups.by(lambda row: row.prediction.set),
        by_term=_by_term([row.terms for row in scored if row.terms is not None]),
    )


def _utterance_terms(row: UtteranceScore, finder: TermFinder, normalizer: Normalizer) -> UtteranceTerms:
    said, heard = finder.find(row.counts.normalized_reference), finder.find(row.counts.normalized_hypothesis)
    return UtteranceTerms(
        reference=[hit.term for hit in said],
        hypothesis=[hit.term for hit in heard],
        errors=_errors(row, said, heard, normalizer),
        places=TermPlaces(_covered(said), _covered(heard)),
    )


def _errors(row: UtteranceScore, said: list[Hit], heard: list[Hit], normalizer: Normalizer) -> TermErrors | None:
    """None where the texts are too long to align."""
    num_words_on = sum(hit.stop - hit.start for hit in said)
    num_words_off = len(tokens(row.counts.normalized_reference, row.prediction.language)) - num_words_on
    if row.counts.normalized_reference == row.counts.normalized_hypothesis:
        return TermErrors(0, 0, num_words_on, num_words_off)
    pairs = utterance_pairs(row, normalizer)
    if pairs is None:
        return None
    on_reference, on_hypothesis = _covered(said), _covered(heard)
    num_on = num_off = place = heard_place = 0
    for pair in pairs:
        is_on = place in on_reference if pair.expected else heard_place in on_hypothesis
        num_on += not pair.is_same and is_on
        num_off += not pair.is_same and not is_on
        place += len(pair.expected.split())  # merged compounds are several words
        heard_place += len(pair.heard.split())
    return TermErrors(num_on, num_off, num_words_on, num_words_off)


def _covered(hits: Sequence[Hit]) -> frozenset[int]:
    return frozenset(place for hit in hits for place in range(hit.start, hit.stop))


@dataclass(frozen=True, slots=True)
class TermCounts:
    """Terms of one utterance: in the reference, in the output, and the smaller of both per term."""

    num_spoken: int
    num_written: int
    num_found: int


def term_counts(terms: UtteranceTerms) -> TermCounts:
    """Counts of the terms of one utterance, each as often as it stands there."""
    num_found = (Counter(terms.reference) & Counter(terms.hypothesis)).total()
    return TermCounts(len(terms.reference), len(terms.hypothesis), num_found)


def term_ratios(counts: Sequence[TermCounts]) -> dict[str, tuple[Counts, Counts]]:
    """Recall, precision and F1 as (numerators, denominators) per utterance, each (utterances,) int."""
    spoken, written, found = (
        np.asarray([getattr(one, name) for one in counts], dtype=np.int64)
        for name in ("num_spoken", "num_written", "num_found")
    )
    return {"recall": (found, spoken), "precision": (found, written), "f1": (2 * found, spoken + written)}


def _term_score(rows: Sequence[UtteranceScore], resampling: Resampling) -> TermScore:
    found = [row.terms for row in rows if row.terms is not None]
    errors = [one.errors for one in found if one.errors is not None]
    counts = [term_counts(one) for one in found]
    num_spoken, num_written = sum(one.num_spoken for one in counts), sum(one.num_written for one in counts)
    num_found = sum(one.num_found for one in counts)
    num_term_errors = sum(Levenshtein.distance(one.reference, one.hypothesis) for one in found)
    speakers, options = [row.prediction.speaker for row in rows], resampling.options()
    intervals = {name: error_rate_interval(*ratio, speakers, **options) for name, ratio in term_ratios(counts).items()}
    errors_on, errors_off = sum(one.num_errors_on for one in errors), sum(one.num_errors_off for one in errors)
    words_on, words_off = sum(one.num_words_on for one in errors), sum(one.num_words_off for one in errors)
    return TermScore(
        num_utterances=len(found),
        num_spoken=num_spoken,
        num_written=num_written,
        num_found=num_found,
        recall_percent=percent(num_found, num_spoken),
        precision_percent=percent(num_found, num_written),
        f1_percent=percent(2 * num_found, num_spoken + num_written),
        metric=primary_metric_of({row.prediction.language for row in rows}),
        on_terms_percent=percent(errors_on, words_on),
        off_terms_percent=percent(errors_off, words_off),
        num_errors_on_terms=errors_on,
        num_errors_off_terms=errors_off,
        num_words_on_terms=words_on,
        num_words_off_terms=words_off,
        num_not_aligned=len(found) - len(errors),
        num_term_errors=num_term_errors,
        term_error_percent=percent(num_term_errors, num_spoken),
        recall_interval=intervals["recall"],
        precision_interval=intervals["precision"],
        f1_interval=intervals["f1"],
    )


def _by_term(ones: Sequence[UtteranceTerms]) -> dict[str, tuple[int, int, int]]:
    """term -> (spoken, written, found), the most often missed first."""
    spoken: Counter[str] = Counter()
    written: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for one in ones:
        spoken.update(one.reference)
        written.update(one.hypothesis)
        found.update(Counter(one.reference) & Counter(one.hypothesis))
    order = sorted(spoken | written, key=lambda term: (found[term] - spoken[term], found[term] - written[term], term))
    return {term: (spoken[term], written[term], found[term]) for term in order}


def _warnings(finders: dict[str | None, TermFinder], normalizer_name: str) -> list[str]:
    warnings = []
    for language, finder in finders.items():
        rules = f"by {normalizer_name} in {language or 'an unknown language'}"
        if finder.unfindable:
            warnings.append(f"terms: normalised {rules}, nothing is left of {_listed(finder.unfindable)}; never found")
        if finder.doubled:
            spelling, term = finder.doubled[0]
            warnings.append(
                f"terms: normalised {rules}, {len(finder.doubled)} spellings are those of another term and count as that, "
                f"the first {spelling!r} as {term!r}"
            )
    return warnings


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
