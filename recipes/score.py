"""Score saved predictions, ours or the leaderboard's, with no model and no GPU: predictions -> scores.json, report."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("score", PROJECT)
