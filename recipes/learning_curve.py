"""Say how many recordings are needed: fine-tune on growing amounts of a source, evaluate each, draw error rate by amount."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("learning_curve", PROJECT)
