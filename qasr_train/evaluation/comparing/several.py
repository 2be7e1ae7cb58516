"""Owns the comparison of several candidates with one baseline: each as `compare_runs` does it, at a share of alpha.

Input: the runs, by short names. Output: a `Comparison` per candidate, and comparisons.json, which says where each of them lies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qasr_train.evaluation.columns.values import By
from qasr_train.evaluation.comparing.compare import COMPARISON_VERSION, Comparison, compare_runs
from qasr_train.evaluation.scoring.run_files import write_result
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.significance import ResampleBy
from qasr_train.evaluation.settings import GateConfig


def compare_with_each(
    baseline: ScoredRun,
    candidates: Mapping[str, ScoredRun],
    gate: GateConfig,
    *,
    resample_by: ResampleBy = ResampleBy.auto,
    note: str | None = None,
    by: By | None = None,
    style: Sequence[str] = (),
) -> dict[str, Comparison]:
    """One comparison per candidate, by its name, each with alpha divided by their number (Bonferroni).

    So whatever is said to be surely better, surely within the margin, or inside an interval is so for all of them together with
    the confidence that was asked for, whichever of them is picked afterwards.

    Raises:
        DataError, ConfigError: as `compare_runs`.
    """
    each = replace(gate, alpha=gate.alpha / len(candidates))
    return {
        name: compare_runs(baseline, candidate, each, resample_by=resample_by, note=note, by=by, style=style)
        for name, candidate in candidates.items()
    }


def short_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path; with its place in the list where another ends alike."""
    ends = [Path(path).resolve().name for path in paths]
    return [end if ends.count(end) == 1 else f"{number}_{end}" for number, end in enumerate(ends, 1)]


def write_comparisons(directory: str | Path, comparisons: Mapping[str, Comparison], gate: GateConfig) -> None:
    """Write DIRECTORY/comparisons.json; the comparison of a candidate lies in a folder of its name.

    Args:
        gate: with the alpha that all the candidates share.

    Raises:
        ConfigError: the directory cannot be written.
    """
    write_result(Path(directory) / "comparisons.json", _row(comparisons, gate))


def _row(comparisons: Mapping[str, Comparison], gate: GateConfig) -> dict[str, Any]:
    first = next(iter(comparisons.values()))
    return {
        "version": COMPARISON_VERSION,
        "baseline": first.baseline,
        "alpha": gate.alpha,
        "correction": "Bonferroni",
        "alpha_each": gate.alpha / len(comparisons),
        "candidates": {
            name: {"candidate": one.candidate, "verdict": one.verdict.word, "comparison": f"{name}/comparison.json"}
            for name, one in comparisons.items()
        },
    }
