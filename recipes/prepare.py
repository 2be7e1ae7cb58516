"""Check a raw corpus: any source -> manifest, rejects with reasons, summary; converts to 16 kHz FLAC on request."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("prepare", PROJECT)
