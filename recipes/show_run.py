"""Make the page of a fine-tune again: curves, what is best and why; of a run at work, or one older than the page."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("show_run", PROJECT)
