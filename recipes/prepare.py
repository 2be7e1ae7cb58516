"""Check a raw corpus: any source -> manifest, rejects with reasons, summary; converts to 16 kHz FLAC on request."""

from qasr_train.prepare.job import prepare
from qasr_train.recipe import run_recipe

if __name__ == "__main__":
    run_recipe("prepare", prepare)
