"""Compare runs on the same utterances: gains, losses, how sure they are; exit status 1 when the gate of a candidate fails."""

from pathlib import Path

from qasr_train.config.command_line import run_recipe
from qasr_train.evaluation.comparing.compare import compare
from qasr_train.evaluation.comparing.several import compare_several
from qasr_train.evaluation.report.comparison_tables import comparison_summary, several_summary
from qasr_train.evaluation.report.content import write_comparison_report
from qasr_train.evaluation.report.several import write_several_report
from qasr_train.jobs.settings.compare import CompareConfig


def run(config: CompareConfig) -> int:
    """Compare, write the reports, print the table and the verdict."""
    if config.candidates:
        comparisons = compare_several(config)
        for name, comparison in comparisons.items():
            write_comparison_report(Path(config.out) / name, comparison, config.report)
        write_several_report(config.out, comparisons)
        print(several_summary(comparisons, config.out))
        return int(any(one.verdict.passed is False for one in comparisons.values()))
    comparison = compare(config)
    write_comparison_report(config.out, comparison, config.report)
    print(comparison_summary(comparison, config.out))
    return int(comparison.verdict.passed is False)


if __name__ == "__main__":
    run_recipe("compare", run)
