"""Evaluate streams by chunks of several lengths beside whole recordings: errors that streaming costs, delays of words."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("sweep_chunks", PROJECT)
