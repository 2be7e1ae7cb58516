"""Owns the files of a submission: leaderboard.csv and `.eval_results/open_asr_leaderboard.yaml` beside the scores.

Input: a `ScoredRun`. Output: both files where the leaderboard could list the run; where not, none, and none
of an earlier scoring.
"""

from pathlib import Path

from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.submission.eval_results import write_eval_results
from qasr_train.evaluation.submission.leaderboard_csv import write_leaderboard_csv


def write_submission(directory: str | Path, run: ScoredRun) -> None:
    """Write what the Open ASR Leaderboard takes of the run.

    Raises:
        ConfigError: the directory cannot be written.
    """
    write_leaderboard_csv(directory, run)
    write_eval_results(directory, run)
