"""Show what the model is given and which tokens are supervised, for a few utterances of a manifest."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("show_batch", PROJECT)
