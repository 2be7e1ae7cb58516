"""Owns one process of a launch by srun or torchrun: what a launch file of accelerate asks for, as environment; then the recipe.

Input: --launch FILE (configs/launch/), a recipe, its arguments; variables of SLURM or torchrun. Output: the recipe's exit status.
`accelerate launch` does the same in one process a machine, and hides the exit status; srun's tasks pass it on.
"""

import argparse
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType

# Our own variables by the SLURM variable that holds the same number.
_FROM_SLURM = {"RANK": "SLURM_PROCID", "LOCAL_RANK": "SLURM_LOCALID", "WORLD_SIZE": "SLURM_NTASKS"}


def main() -> None:
    """Set the environment and become the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launch", required=True, help="a file of configs/launch/")
    parser.add_argument("recipe", help="e.g. recipes/finetune.py")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the recipe")
    options = parser.parse_args()
    for path in (options.launch, options.recipe):
        if not Path(path).is_file():
            fail(f"{path} does not exist; start from the repository's root, or give the whole path")
    os.environ.update(rank_variables(os.environ) | sharding_variables(options.launch))
    sys.argv = [options.recipe, *options.arguments]
    runpy.run_path(options.recipe, run_name="__main__")


def rank_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """RANK, LOCAL_RANK and WORLD_SIZE as srun numbers its tasks; nothing where torchrun has set them."""
    if "RANK" in environment or "SLURM_PROCID" not in environment:
        return {}
    return {own: environment[slurm] for own, slurm in _FROM_SLURM.items()}


def sharding_variables(launch_file: str) -> dict[str, str]:
    """How accelerate hands a launch file's settings of FSDP or DeepSpeed to the processes; {} for DDP and a single process."""
    try:
        config = load_config_from_file(launch_file)
    except ValueError as error:  # an unknown key, or no distributed_type
        fail(f"{launch_file}: {' '.join(str(error).split())}")
    if config.distributed_type is DistributedType.FSDP:
        settings = {key.upper(): str(value).lower() for key, value in config.fsdp_config.items()}
        return {"ACCELERATE_USE_FSDP": "true"} | settings
    if config.distributed_type is DistributedType.DEEPSPEED:
        settings = {_deepspeed_name(key): str(value).lower() for key, value in config.deepspeed_config.items()}
        return {"ACCELERATE_USE_DEEPSPEED": "true"} | settings
    return {}


def _deepspeed_name(key: str) -> str:
    """zero_stage -> ACCELERATE_DEEPSPEED_ZERO_STAGE; two keys go without the middle."""
    return f"ACCELERATE_{'' if key.startswith(('gradient_', 'deepspeed_')) else 'DEEPSPEED_'}{key.upper()}"


def fail(sentence: str) -> NoReturn:
    """End as a recipe does after a user's mistake."""
    print(f"error: {sentence}", file=sys.stderr, flush=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
