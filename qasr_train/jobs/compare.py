"""Owns the job of `recipes/compare.py`: a baseline and one candidate or several on the same utterances, judged by the gate.

Input: CompareConfig. Output in out: comparison.json, report.md and report.html (of several candidates also comparisons.json, and
for each a folder with those three); tables and verdicts on stdout. Exit status 1 where a gate fails,
3 where one is undecided. Needs no model and no GPU.
"""

from pathlib import Path

from qasr_train.evaluation.columns.values import By
from qasr_train.evaluation.comparing.compare import Comparison, compare_runs, write_comparison
from qasr_train.evaluation.comparing.several import compare_with_each, short_names, write_comparisons
from qasr_train.evaluation.report.comparison_tables import comparison_summary, several_summary
from qasr_train.evaluation.report.content import write_comparison_report
from qasr_train.evaluation.report.several import write_several_report
from qasr_train.evaluation.scoring.run_files import load_run
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.jobs.settings.compare import CompareConfig
from qasr_train.text.alternatives.lexicon import read_spellings
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import read_terms


def compare(config: CompareConfig) -> int:
    """Compare, write the reports, print the tables and the verdicts; 1 if a gate fails, 3 if one is undecided, else 0.

    Raises:
        UserError: a run or a term list cannot be read; the runs cannot be compared; the directory cannot be written.
    """
    if config.candidates:
        comparisons = compare_several(config)
        for name, comparison in comparisons.items():
            write_comparison_report(Path(config.out) / name, comparison, config.report)
        write_several_report(config.out, comparisons)
        print(several_summary(comparisons, config.out))
        statuses = {one.verdict.exit_status for one in comparisons.values()}
        return 1 if 1 in statuses else max(statuses)
    comparison = compare_one(config)
    write_comparison_report(config.out, comparison, config.report)
    print(comparison_summary(comparison, config.out))
    return comparison.verdict.exit_status


def compare_one(config: CompareConfig) -> Comparison:
    """Pair two runs, test the differences, judge, write OUT/comparison.json; raises as `compare`."""
    assert config.candidate is not None, "several candidates: see compare_several"
    baseline, candidate = _runs(config, config.baseline, config.candidate)
    comparison = compare_runs(
        baseline,
        candidate,
        config.gate,
        resample_by=config.resample_by,
        note=config.note,
        by=By(config.by, config.bins),
        style=config.style,
    )
    write_comparison(config.out, comparison)
    return comparison


def compare_several(config: CompareConfig) -> dict[str, Comparison]:
    """One comparison per candidate, by a short name; OUT/comparisons.json, OUT/<name>/comparison.json; raises as `compare`."""
    baseline, *candidates = _runs(config, config.baseline, *config.candidates)
    comparisons = compare_with_each(
        baseline,
        dict(zip(short_names(config.candidates), candidates, strict=True)),
        config.gate,
        resample_by=config.resample_by,
        note=config.note,
        by=By(config.by, config.bins),
        style=config.style,
    )
    for name, comparison in comparisons.items():
        write_comparison(Path(config.out) / name, comparison)
    write_comparisons(config.out, comparisons, config.gate)
    return comparisons


def _runs(config: CompareConfig, *paths: str) -> list[ScoredRun]:
    terms = read_terms(config.terms) if config.terms else None
    normalizer = get_normalizer(config.normalizer) if config.normalizer else None
    columns = By(config.by, config.bins).carried
    lexicon = read_spellings(config.spellings) if config.spellings else None
    return [load_run(path, normalizer, terms, columns, lexicon) for path in paths]
