"""Transcribe recordings of any length: text, subtitles, tables of times."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("transcribe", PROJECT)
