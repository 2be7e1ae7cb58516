"""Owns the report of several candidates against one baseline; each candidate has its own report beside it.

Input: a `Comparison` per candidate. Output: report.md and report.html.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from qasr_train.evaluation.comparing.compare import Comparison
from qasr_train.evaluation.comparing.gate import Verdict
from qasr_train.evaluation.report.comparison_tables import several_change_tables, several_table
from qasr_train.evaluation.report.content import axis_label, write_files
from qasr_train.evaluation.report.document import Report
from qasr_train.evaluation.report.plots import Bar, error_rate_plot
from qasr_train.evaluation.report.tables import systems_table


def write_several_report(directory: str | Path, comparisons: Mapping[str, Comparison]) -> Path:
    """Write DIRECTORY/report.md and report.html of several candidates; their own reports hold the utterances."""
    return write_files(Path(directory), several_report(comparisons))


def several_report(comparisons: Mapping[str, Comparison]) -> Report:
    """The report of several candidates against one baseline."""
    first = next(iter(comparisons.values()))
    systems = [first.systems["baseline"], *(one.systems["candidate"] for one in comparisons.values())]
    bars = [
        Bar(name, "baseline", group.test.baseline_percent, group.baseline_interval)
        for name, group in first.sets.items()
        if group.test
    ]
    bars += [
        Bar(name, label, group.test.candidate_percent, group.candidate_interval)
        for label, one in comparisons.items()
        for name, group in one.sets.items()
        if group.test
    ]
    return Report(
        title=f"Speech recognition: {len(comparisons)} candidates against a baseline",
        lead=[
            f"Baseline: {first.baseline}",
            *(f"{name}: {one.candidate}. {_verdict_sentence(one.verdict)}" for name, one in comparisons.items()),
            *([first.note] if first.note else []),
            "Each candidate has a report of its own, with its utterances, in the folder of its name.",
        ],
        tables=[several_table(comparisons), *several_change_tables(comparisons), systems_table(systems)],
        plot=error_rate_plot(bars, axis_label({group.metric for group in first.sets.values()})),
        explored=[],
        num_utterances=0,
        provenance={
            "baseline": first.baseline,
            "candidates": {name: one.candidate for name, one in comparisons.items()},
            "normalizer": first.normalizer.name,
            "gate": dataclasses.asdict(first.gate),
            "versions": first.versions,
        },
        warnings=[f"{name}: {warning}" for name, one in comparisons.items() for warning in one.warnings],
    )


_MARKS = {True: "ok", False: "FAIL", None: "undecided"}


def _verdict_sentence(verdict: Verdict) -> str:
    checks = "; ".join(f"{_MARKS[one.passed]}, {one.role} {one.set}: {one.sentence}" for one in verdict.checks)
    return f"Gate {verdict.word}{f' ({checks})' if checks else ''}."
