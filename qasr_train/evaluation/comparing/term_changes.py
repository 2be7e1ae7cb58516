"""Owns how other rates changed between two runs, paired: recall, precision, F1 of terms, context recall and echo, MER.

Input: two runs, and their utterances in pairs. Output: `TermChange`s with paired intervals and p values.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qasr_train.evaluation.comparing.paired import PairedTest, paired_test
from qasr_train.evaluation.comparing.pairs import Pair
from qasr_train.evaluation.mixed.counts import elsewhere_counts, mixed_counts, switch_counts
from qasr_train.evaluation.scoring.context_echo import context_counts, context_ratios
from qasr_train.evaluation.scoring.entities import term_counts, term_ratios
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.significance import Counts
from qasr_train.evaluation.scoring.utterance import UtteranceScore

ALL_SETS = ""
MIXED_RATES = {"mer": "MER", "switch": "errors at switches", "other": "errors elsewhere"}
Ratios = Mapping[str, tuple[Counts, Counts]]


@dataclass(frozen=True, slots=True)
class TermChange:
    """One rate under two systems. set: ALL_SETS where pooled over several. rate: "term recall", "term precision", "term F1",
    "context recall" (more is better), "context echo", those of MIXED_RATES (less is better).
    test: None where there is nothing to divide by.
    """

    rate: str
    set: str
    num_utterances: int
    test: PairedTest | None


def compare_terms(
    baseline: ScoredRun, candidate: ScoredRun, pairs: Sequence[Pair], resampling: Resampling
) -> tuple[list[TermChange], list[str]]:
    """(changes per set and over all, warnings).

    Args:
        pairs: the utterances to compare on; of these, those with terms (MER) in both runs are.
    """
    changes: list[TermChange] = []
    warnings = []
    runs = (baseline, candidate)
    have_terms = [any(row.terms is not None for row in run.rows) for run in runs]
    digests = [run.terms.digest if run.terms else None for run in runs]
    if all(have_terms) and digests[0] != digests[1]:
        warnings.append("the runs were scored with different term lists, so terms are not compared; give terms=FILE")
    elif found := [pair for pair in pairs if pair.baseline.terms is not None and pair.candidate.terms is not None]:
        names = {"recall": "term recall", "precision": "term precision", "f1": "term F1"}
        for name, group in _by_set(found).items():
            changes += _changes(names, name, group, _term_ratios, resampling)
    offered = [p for p in pairs if p.baseline.context_terms is not None and p.candidate.context_terms is not None]
    have_context = [any(row.context_terms is not None for row in run.rows) for run in runs]
    if offered:
        names = {"recall": "context recall", "echo": "context echo"}
        for name, group in _by_set(offered).items():
            changes += _changes(names, name, group, _context_ratios, resampling)
    elif have_context[0] != have_context[1]:
        warnings.append(
            "only one of the runs was offered terms in a context, so their recall and echo are not compared"
        )
    if mixed := [pair for pair in pairs if pair.baseline.mixed and pair.candidate.mixed]:
        for name, group in _by_set(mixed).items():
            changes += _changes(MIXED_RATES, name, group, _mixed_ratios, resampling)
    return changes, warnings


def _term_ratios(rows: Sequence[UtteranceScore]) -> Ratios:
    return term_ratios([term_counts(row.terms) for row in rows if row.terms is not None])


def _context_ratios(rows: Sequence[UtteranceScore]) -> Ratios:
    return context_ratios([context_counts(row.context_terms) for row in rows if row.context_terms is not None])


def _mixed_ratios(rows: Sequence[UtteranceScore]) -> Ratios:
    return {"mer": mixed_counts(rows), "switch": switch_counts(rows), "other": elsewhere_counts(rows)}


def _by_set(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.set].append(pair)
    return dict(groups) if len(groups) == 1 else {**groups, ALL_SETS: list(pairs)}


def _changes(
    names: Mapping[str, str],
    set_name: str,
    pairs: Sequence[Pair],
    ratios_of: Callable[[Sequence[UtteranceScore]], Ratios],
    resampling: Resampling,
) -> list[TermChange]:
    before, after = ratios_of([pair.baseline for pair in pairs]), ratios_of([pair.candidate for pair in pairs])
    speakers = [pair.candidate.prediction.speaker for pair in pairs]
    return [
        TermChange(
            label, set_name, len(pairs), paired_test(before[name], after[name], speakers, **resampling.options())
        )
        for name, label in names.items()
    ]
