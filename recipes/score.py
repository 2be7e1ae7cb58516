"""Score saved predictions, ours or the leaderboard's, with no model and no GPU: predictions -> scores.json, report."""

from qasr_train.config.command_line import run_recipe
from qasr_train.evaluation.report.content import write_report
from qasr_train.evaluation.report.leaderboard_csv import write_leaderboard_csv
from qasr_train.evaluation.report.tables import score_summary
from qasr_train.evaluation.scoring.score import score
from qasr_train.jobs.settings.score import ScoreConfig


def run(config: ScoreConfig) -> None:
    """Score, write the report, print the table."""
    scores = score(config)
    write_leaderboard_csv(config.out, scores)
    write_report(config.out, scores, config=config.report)
    print(score_summary(scores, config.out))


if __name__ == "__main__":
    run_recipe("score", run)
