"""Owns the comparison of several candidates with one baseline: each as `compare` does it, at a share of alpha.

Input: CompareConfig with `candidates`. Output: a `Comparison` per candidate; OUT/comparisons.json, OUT/<name>/comparison.json.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qasr_train.evaluation.comparing.compare import COMPARISON_VERSION, Comparison, compare
from qasr_train.evaluation.scoring.score import write_json
from qasr_train.jobs.settings.compare import CompareConfig


def compare_several(config: CompareConfig) -> dict[str, Comparison]:
    """One comparison per candidate, by a short name, each with alpha divided by their number (Bonferroni).

    So whatever is said to be surely better, surely within the margin, or inside an interval is so for all of them together with
    the confidence that was asked for, whichever of them is picked afterwards.

    Raises:
        DataError, ConfigError: as `compare`.
    """
    gate = replace(config.gate, alpha=config.gate.alpha / len(config.candidates))
    names = short_names(config.candidates)
    comparisons = {
        name: compare(replace(config, candidate=path, candidates=[], out=str(Path(config.out) / name), gate=gate))
        for name, path in zip(names, config.candidates, strict=True)
    }
    write_json(Path(config.out) / "comparisons.json", _row(config, comparisons))
    return comparisons


def short_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path; with its place in the list where another ends alike."""
    ends = [Path(path).resolve().name for path in paths]
    return [end if ends.count(end) == 1 else f"{number}_{end}" for number, end in enumerate(ends, 1)]


def _row(config: CompareConfig, comparisons: dict[str, Comparison]) -> dict[str, Any]:
    return {
        "version": COMPARISON_VERSION,
        "baseline": config.baseline,
        "alpha": config.gate.alpha,
        "correction": "Bonferroni",
        "alpha_each": config.gate.alpha / len(comparisons),
        "candidates": {
            name: {"candidate": one.candidate, "verdict": one.verdict.word, "comparison": f"{name}/comparison.json"}
            for name, one in comparisons.items()
        },
    }
