"""Evaluate a fine-tune at several strengths between its base and itself: what is gained against what is forgotten."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("sweep_strength", PROJECT)
