"""Fine-tune a model: manifests -> checkpoints. On several GPUs: `accelerate launch recipes/finetune.py ...`."""

from qasr_train.finetune import finetune
from qasr_train.recipe import run_recipe

if __name__ == "__main__":
    run_recipe("finetune", finetune)
