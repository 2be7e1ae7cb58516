"""Say when each word of a known text was said: JSONL, CTM, TextGrid, SRT, VTT."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("align", PROJECT)
