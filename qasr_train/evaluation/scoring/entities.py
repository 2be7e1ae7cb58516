"""Owns how well a list of terms (drug names, statutes ...) is recognised: recall, precision, F1, error rate on and off terms.

Input: `UtteranceScore`s, a `TermList`, the normaliser's name. Output: `EntityScores`, `entities` of scores.json.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import kaldialign
import numpy as np

from qasr_train.evaluation.scoring.alignment import UtteranceScore
from qasr_train.evaluation.scoring.confusions import MAX_CELLS
from qasr_train.evaluation.scoring.metrics import Resampling, percent, primary_metric_of
from qasr_train.evaluation.scoring.significance import Counts, Interval, error_rate_interval
from qasr_train.text.normalize import Normalizer, get_normalizer
from qasr_train.text.terms import Hit, TermFinder, TermList
from qasr_train.text.tokens import tokens


@dataclass(slots=True)
class UtteranceTerms:
    """The terms of one utterance in order, and its errors on and off them.

    num_errors_*, num_words_*: None where the texts are too long to align. Characters instead of words in CER languages.
    """

    reference: list[str]
    hypothesis: list[str]
    num_words_on_terms: int
    num_words_off_terms: int
    num_errors_on_terms: int | None
    num_errors_off_terms: int | None

    @property
    def missed(self) -> list[str]:
        """Terms spoken more often than they were written."""
        return sorted((Counter(self.reference) - Counter(self.hypothesis)).elements())

    @property
    def added(self) -> list[str]:
        """Terms written more often than they were spoken."""
        return sorted((Counter(self.hypothesis) - Counter(self.reference)).elements())


@dataclass(slots=True)
class TermScore:
    """Figures of one group. Rates in percent are None where there is nothing to divide by.

    num_spoken, num_written: terms in the references, in the outputs. num_found: per utterance and term the smaller of the two.
    on_terms_percent, off_terms_percent: error rate over words of the reference inside and outside terms; an inserted word
        counts as on when it is inside a term of the output. metric: "wer", or "cer" in CER languages.
    num_not_aligned: utterances too long to align, left out of those two rates.
    *_interval: bootstrap intervals of recall, precision and F1.
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
    recall_interval: Interval | None
    precision_interval: Interval | None
    f1_interval: Interval | None


@dataclass(slots=True)
class EntityScores:
    """Terms over a run. by_term: term -> (spoken, written, found). utterances: parallel to the rows; None: not scored."""

    terms: TermList
    overall: TermScore
    sets: dict[str, TermScore]
    by_term: dict[str, tuple[int, int, int]]
    utterances: list[UtteranceTerms | None]
    warnings: list[str]

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


def score_entities(
    rows: Sequence[UtteranceScore], terms: TermList, normalizer_name: str, resampling: Resampling | None = None
) -> EntityScores:
    """Count the terms in every scored row; matched by the normaliser's rules, the longest at each place.

    Errors on and off terms are the B-WER and U-WER of Le et al. 2021 (contextual biasing), with terms of several words.
    """
    normalizer = get_normalizer(normalizer_name)
    languages = sorted({row.language for row in rows if row.is_scored}, key=str)
    finders = {language: TermFinder(terms.spellings.items(), normalizer, language) for language in languages}
    found = [_utterance_terms(row, finders[row.language], normalizer) if row.is_scored else None for row in rows]
    scored = [(row, one) for row, one in zip(rows, found, strict=True) if one is not None]
    draws = resampling or Resampling()
    return EntityScores(
        terms=terms,
        overall=_term_score(scored, draws),
        sets={name: _term_score([pair for pair in scored if pair[0].set == name], draws) for name in _sets(scored)},
        by_term=_by_term([one for _, one in scored]),
        utterances=found,
        warnings=_warnings(finders, normalizer_name),
    )


def entity_fields(one: UtteranceTerms | None) -> dict[str, Any]:
    """`terms` of a row of utterances.jsonl."""
    if one is None:
        return {"terms": None}
    lists = {name: getattr(one, name) for name in ("reference", "hypothesis", "missed", "added")}
    return {"terms": lists}


def _utterance_terms(row: UtteranceScore, finder: TermFinder, normalizer: Normalizer) -> UtteranceTerms:
    said, heard = finder.find(row.normalized_reference), finder.find(row.normalized_hypothesis)
    num_on = sum(hit.stop - hit.start for hit in said)
    num_words = len(tokens(row.normalized_reference, row.language))
    errors = _errors(row, said, heard, normalizer)
    return UtteranceTerms(
        reference=[hit.term for hit in said],
        hypothesis=[hit.term for hit in heard],
        num_words_on_terms=num_on,
        num_words_off_terms=num_words - num_on,
        num_errors_on_terms=errors[0] if errors else None,
        num_errors_off_terms=errors[1] if errors else None,
    )


def _errors(row: UtteranceScore, said: list[Hit], heard: list[Hit], normalizer: Normalizer) -> tuple[int, int] | None:
    """Errors (on terms, off terms); None where the texts are too long to align."""
    if row.normalized_reference == row.normalized_hypothesis:
        return 0, 0
    reference, hypothesis = (
        tokens(text, row.language) for text in (row.normalized_reference, row.normalized_hypothesis)
    )
    if len(reference) * len(hypothesis) > MAX_CELLS:
        return None
    on_reference, on_hypothesis = _covered(said), _covered(heard)
    merges = normalizer.merges_compounds
    num_on = num_off = place = heard_place = 0
    for expected, got in kaldialign.align(reference, hypothesis, "", merge_compounds=merges):
        is_same = expected == got or (merges and expected.replace(" ", "") == got.replace(" ", ""))
        is_on = place in on_reference if expected else heard_place in on_hypothesis
        num_on += not is_same and is_on
        num_off += not is_same and not is_on
        place += len(expected.split())  # merged compounds are several words
        heard_place += len(got.split())
    return num_on, num_off


def _covered(hits: Sequence[Hit]) -> set[int]:
    return {place for hit in hits for place in range(hit.start, hit.stop)}


@dataclass(frozen=True, slots=True)
class TermCounts:
    """Terms of one utterance: in the reference, in the output, and the smaller of both per term."""

    num_spoken: int
    num_written: int
    num_found: int


def term_counts(reference: Sequence[str], hypothesis: Sequence[str]) -> TermCounts:
    """Counts of the terms of a reference and an output, each in order and as often as it stands there."""
    num_found = (Counter(reference) & Counter(hypothesis)).total()
    return TermCounts(len(reference), len(hypothesis), num_found)


def term_ratios(counts: Sequence[TermCounts]) -> dict[str, tuple[Counts, Counts]]:
    """Recall, precision and F1 as (numerators, denominators) per utterance, each (utterances,) int."""
    spoken, written, found = (
        np.asarray([getattr(one, name) for one in counts], dtype=np.int64)
        for name in ("num_spoken", "num_written", "num_found")
    )
    return {"recall": (found, spoken), "precision": (found, written), "f1": (2 * found, spoken + written)}


def _term_score(scored: Sequence[tuple[UtteranceScore, UtteranceTerms]], resampling: Resampling) -> TermScore:
    ones = [one for _, one in scored]
    aligned = [one for one in ones if one.num_errors_on_terms is not None]
    counts = [term_counts(one.reference, one.hypothesis) for one in ones]
    num_spoken, num_written = sum(one.num_spoken for one in counts), sum(one.num_written for one in counts)
    num_found = sum(one.num_found for one in counts)
    speakers, options = [row.speaker for row, _ in scored], dataclasses.asdict(resampling)
    intervals = {name: error_rate_interval(*ratio, speakers, **options) for name, ratio in term_ratios(counts).items()}
    errors_on = sum(one.num_errors_on_terms or 0 for one in aligned)
    errors_off = sum(one.num_errors_off_terms or 0 for one in aligned)
    words_on, words_off = (
        sum(one.num_words_on_terms for one in aligned),
        sum(one.num_words_off_terms for one in aligned),
    )
    return TermScore(
        num_utterances=len(ones),
        num_spoken=num_spoken,
        num_written=num_written,
        num_found=num_found,
        recall_percent=percent(num_found, num_spoken),
        precision_percent=percent(num_found, num_written),
        f1_percent=percent(2 * num_found, num_spoken + num_written),
        metric=primary_metric_of({row.language for row, _ in scored}),
        on_terms_percent=percent(errors_on, words_on),
        off_terms_percent=percent(errors_off, words_off),
        num_errors_on_terms=errors_on,
        num_errors_off_terms=errors_off,
        num_words_on_terms=words_on,
        num_words_off_terms=words_off,
        num_not_aligned=len(ones) - len(aligned),
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


def _sets(scored: Sequence[tuple[UtteranceScore, UtteranceTerms]]) -> list[str]:
    return sorted({row.set for row, _ in scored})


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
