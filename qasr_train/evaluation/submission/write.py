"""Owns the files of a submission: leaderboard.csv, those of languages, and `.eval_results/open_asr_leaderboard.yaml`.

Input: a `ScoredRun`. Output: the files where the leaderboard could list the run; where not, none, and none
of an earlier scoring.
"""

from pathlib import Path

from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.submission.eval_results import write_eval_results
from qasr_train.evaluation.submission.language_csv import write_language_csvs
from qasr_train.evaluation.submission.leaderboard_csv import write_leaderboard_csv


def write_submission(directory: str | Path, run: ScoredRun) -> None:
    """Write what the Open ASR Leaderboard takes of the run.

    Raises:
        ConfigError: the directory cannot be written.
    """
    write_leaderboard_csv(directory, run)
    write_language_csvs(directory, run)
    write_eval_results(directory, run)
