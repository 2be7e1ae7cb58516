"""Compare runs on the same utterances: gains, losses, how sure they are; exit status 1 when a gate fails."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("compare", PROJECT)
