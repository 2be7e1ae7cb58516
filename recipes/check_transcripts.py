"""Rank the transcripts of a manifest by their distance from what a base model hears; leave out the worst if asked."""

from qasr_train.check_transcripts import check_transcripts
from qasr_train.recipe import run_recipe

if __name__ == "__main__":
    run_recipe("check_transcripts", check_transcripts)
