"""Evaluate a model on a suite: predictions, scores, report. On several GPUs: `accelerate launch recipes/evaluate.py ...`."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("evaluate", PROJECT)
