"""Plant wrong words in a test set that is handed out, and keep the right ones: who learned it by heart writes them."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("plant_errors", PROJECT)
