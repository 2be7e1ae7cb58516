"""Write a checkpoint for others to load: merged, as an adapter, or in the original layout, with a model card."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("export", PROJECT)
