"""Owns how the recognition of terms changed between two runs: recall, precision, F1, context recall and echo, paired.

Input: the term counts of each utterance under both systems. Output: `TermChange`s with paired bootstrap intervals and p values.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qasr_train.evaluation.scoring.alignment import UtteranceScore
from qasr_train.evaluation.scoring.context_echo import ContextCounts, ContextScores, context_ratios
from qasr_train.evaluation.scoring.entities import EntityScores, TermCounts, score_entities, term_counts, term_ratios
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.significance import Counts, PairedTest, paired_test
from qasr_train.text.terms import TermList

Key = tuple[str, str]  # set, utterance id
ALL_SETS = ""


@dataclass(slots=True)
class RunTerms:
    """Term counts of one run by utterance; empty where it has none. digest: of the term list they were counted by."""

    terms: dict[Key, TermCounts]
    context: dict[Key, ContextCounts]
    digest: str | None = None


@dataclass(slots=True)
class TermChange:
    """One rate under two systems. set: ALL_SETS where pooled over several. rate: "term recall", "term precision", "term F1",
    "context recall" (more is better), "context echo" (less is better). test: None where there is nothing to divide by.
    """

    rate: str
    set: str
    num_utterances: int
    test: PairedTest | None


def terms_from_rows(rows: Sequence[Mapping[str, Any]], digest: str | None) -> RunTerms:
    """Counts from rows of utterances.jsonl, where they were scored with a term list or had a context."""
    terms, context = {}, {}
    for row in rows:
        if found := row.get("terms"):
            terms[row["set"], row["id"]] = term_counts(found["reference"], found["hypothesis"])
        if offered := row.get("context_terms"):
            num_spoken = len(offered["spoken"])
            context[row["set"], row["id"]] = ContextCounts(
                num_spoken, len(offered["found"]), offered["num_offered"] - num_spoken, len(offered["echoed"])
            )
    return RunTerms(terms, context, digest)


def terms_from_scores(
    rows: Sequence[UtteranceScore], context: ContextScores | None, entities: EntityScores | None = None
) -> RunTerms:
    """Counts of a run that was scored just now."""
    offered = zip(rows, context.utterances, strict=True) if context else ()
    counts = {
        (row.set, row.id): ContextCounts(
            len(one.spoken), len(one.found), len(one.offered) - len(one.spoken), len(one.echoed)
        )
        for row, one in offered
        if one is not None
    }
    found = zip(rows, entities.utterances, strict=True) if entities else ()
    terms = {(row.set, row.id): term_counts(one.reference, one.hypothesis) for row, one in found if one is not None}
    return RunTerms(terms, counts, entities.terms.digest if entities else None)


def count_terms(rows: Sequence[UtteranceScore], terms: TermList, normalizer: str, run: RunTerms) -> RunTerms:
    """The run's counts, those of terms made anew by a list."""
    found = terms_from_scores(rows, None, score_entities(rows, terms, normalizer, Resampling(num_resamples=1)))
    return RunTerms(found.terms, run.context, found.digest)


def compare_terms(
    baseline: RunTerms, candidate: RunTerms, speakers: Mapping[Key, str | None], resampling: Resampling
) -> tuple[list[TermChange], list[str]]:
    """(changes per set and over all, warnings).

    Args:
        speakers: of the utterances to compare on; of these, those with counts in both runs are.
    """
    changes: list[TermChange] = []
    warnings = []
    if baseline.terms and candidate.terms and baseline.digest != candidate.digest:
        warnings.append("the runs were scored with different term lists, so terms are not compared; give terms=FILE")
    elif keys := [key for key in speakers if key in baseline.terms and key in candidate.terms]:
        names = {"recall": "term recall", "precision": "term precision", "f1": "term F1"}
        for name, group in _by_set(keys).items():
            ratios = [term_ratios([run.terms[key] for key in group]) for run in (baseline, candidate)]
            changes += _changes(names, name, ratios, [speakers[key] for key in group], resampling)
    if keys := [key for key in speakers if key in baseline.context and key in candidate.context]:
        names = {"recall": "context recall", "echo": "context echo"}
        for name, group in _by_set(keys).items():
            ratios = [context_ratios([run.context[key] for key in group]) for run in (baseline, candidate)]
            changes += _changes(names, name, ratios, [speakers[key] for key in group], resampling)
    elif bool(baseline.context) != bool(candidate.context):
        warnings.append(
            "only one of the runs was offered terms in a context, so their recall and echo are not compared"
        )
    return changes, warnings


def _by_set(keys: Sequence[Key]) -> dict[str, list[Key]]:
    groups: dict[str, list[Key]] = defaultdict(list)
    for key in keys:
        groups[key[0]].append(key)
    return dict(groups) if len(groups) == 1 else {**groups, ALL_SETS: list(keys)}


def _changes(
    names: Mapping[str, str],
    set_name: str,
    ratios: Sequence[Mapping[str, tuple[Counts, Counts]]],
    speakers: Sequence[str | None],
    resampling: Resampling,
) -> list[TermChange]:
    before, after = ratios
    return [
        TermChange(
            label, set_name, len(speakers), paired_test(before[name], after[name], speakers, [], **asdict(resampling))
        )
        for name, label in names.items()
    ]
