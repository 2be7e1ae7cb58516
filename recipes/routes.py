"""Hear the same clips by every route to a model: our decoder, transformers' generate, any command; do all say the same?"""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("routes", PROJECT)
