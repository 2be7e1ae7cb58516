"""Label recordings without transcripts by a model, and keep what it heard well. On several GPUs: `accelerate launch ...`."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("pseudo_label", PROJECT)
