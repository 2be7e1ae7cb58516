"""Rank the transcripts of a manifest by their distance from what a base model hears; leave out the worst if asked."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("check_transcripts", PROJECT)
