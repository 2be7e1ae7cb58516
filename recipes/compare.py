"""Compare two runs on the same utterances: gains, losses, how sure they are; exit status 1 when the gate fails."""

from qasr_train.evaluation.compare import CompareConfig, compare
from qasr_train.evaluation.report import write_comparison_report
from qasr_train.evaluation.tables import comparison_summary
from qasr_train.recipe import run_recipe


def run(config: CompareConfig) -> int:
    """Compare, write the report, print the table and the verdict."""
    comparison = compare(config)
    write_comparison_report(config.out, comparison, config.report)
    print(comparison_summary(comparison, config.out))
    return int(comparison.verdict.passed is False)


if __name__ == "__main__":
    run_recipe("compare", run)
