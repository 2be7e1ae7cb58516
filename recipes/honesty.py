"""Probe whether a model knows a test set by heart: wrong references, masked numbers, spelling switches; status 1 if so."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("honesty", PROJECT)
