"""Evaluate a model on a suite: predictions, scores, report. On several GPUs: `accelerate launch recipes/evaluate.py ...`."""

from qasr_train.evaluation.evaluate import evaluate
from qasr_train.recipe import run_recipe

if __name__ == "__main__":
    run_recipe("evaluate", evaluate)
