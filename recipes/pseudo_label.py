"""Label recordings without transcripts by a model, and keep what it heard well. On several GPUs: `accelerate launch ...`."""

from qasr_train.pseudo_label import pseudo_label
from qasr_train.recipe import run_recipe

if __name__ == "__main__":
    run_recipe("pseudo_label", pseudo_label)
