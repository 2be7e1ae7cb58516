"""Fine-tune a model: manifests -> checkpoints. On several GPUs: `accelerate launch recipes/finetune.py ...`."""

from qasr_train.config.command_line import run_recipe
from qasr_train.jobs.recipes import PROJECT

if __name__ == "__main__":
    run_recipe("finetune", PROJECT)
