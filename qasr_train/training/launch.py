"""Owns the launch of a training run: what it may ask for, and Accelerate on the device it computes on.

Input: a device, a number format, the launch's environment (`accelerate launch`, torchrun, srun). Output: an Accelerator, or one
sentence before anything is loaded.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import PartialState
from accelerate.utils import FullyShardedDataParallelPlugin, InitProcessGroupKwargs
from torch.distributed import DistError
from torch.distributed.fsdp import MixedPrecisionPolicy

from qasr_train.errors import ConfigError, TrainingError
from qasr_train.models.blocks.compiled import refuse_compiling
from qasr_train.run.device import choose_dtype
from qasr_train.run.settings import Precision
from qasr_train.training.batch_search import refuse_batch_search
from qasr_train.training.deepspeed_zero import ZeroAccelerator, refuse_zero
from qasr_train.training.settings import ZERO_ASKED_FOR, TrainerConfig, is_on, is_sharding_asked_for


def make_accelerator(
    device: torch.device,
    precision: Precision,
    *,
    project_dir: Path,
    trackers: Sequence[str] = (),
    collective_timeout_s: float,
) -> Accelerator:
    """Accelerate on a device that `refuse_launch` has not refused.

    Args:
        precision: of the forward pass; float16 is refused.
        project_dir: where trackers write. trackers: names of those that are fed beside metrics.jsonl.
        collective_timeout_s: how long a process waits for the others in one operation.

    Raises:
        TrainingError: the processes did not find each other.
    """
    dtype = choose_dtype(precision, device)
    if device.type == "cpu":
        # Denormal numbers slow a CPU: a prototype of LoRA on the encoder took 1.46 s a step with them, 0.23 s without.
        torch.set_flush_denormal(True)
    _reset_accelerate()
    plugin = sharding_plugin(dtype)
    with _told_where_to_meet():
        accelerator = (ZeroAccelerator if is_on(ZERO_ASKED_FOR) else Accelerator)(
            cpu=device.type == "cpu",
            mixed_precision="bf16" if dtype is torch.bfloat16 else "no",
            log_with=list(trackers) or None,
            project_dir=str(project_dir),
            fsdp_plugin=plugin,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=collective_timeout_s))],
        )
    shard_on_cpu(accelerator, plugin)
    return accelerator


@contextmanager
def _told_where_to_meet() -> Iterator[None]:
    """Turn torch's report that the processes of a launch did not come together into a sentence."""
    try:
        yield
    except DistError as error:
        place, port, rank, number = (
            os.environ.get(n, "?") for n in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")
        )
        raise TrainingError(
            f"process {rank} of {number} did not find the others at {place}:{port} ({str(error).splitlines()[0]}); check that "
            "every machine was started, with the same number of processes, and reaches that address and port"
        ) from None


def _reset_accelerate() -> None:
    """Forget the state of an earlier job of the same process (--multirun), whose device or precision may differ."""
    from accelerate.state import AcceleratorState, PartialState

    if PartialState._shared_state and PartialState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)


def refuse_machine(device: torch.device, config: TrainerConfig) -> None:
    """Refuse what this launch, or this machine under it, cannot do of the settings; raises ConfigError as `refuse_launch`."""
    refuse_launch(device)
    if config.find_batch_seconds:
        refuse_batch_search(device, is_sharded=is_sharding_asked_for())
    if config.compile:
        refuse_compiling(device, is_sharded=is_sharding_asked_for())


def refuse_launch(device: torch.device) -> None:
    """Refuse what the launcher's settings ask for and this trainer cannot do.

    Raises:
        ConfigError: FSDP 1, what FSDP or DeepSpeed cannot do here, or more processes than GPUs; says what to use.
    """
    if is_on(ZERO_ASKED_FOR):
        refuse_zero()
    num_local, num_gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if device.type == "cuda" and 0 < num_gpus < num_local:
        raise ConfigError(
            f"the launch starts {num_local} processes on this machine, which has {num_gpus} GPU{'s' * (num_gpus != 1)}; start "
            f"one a GPU: --num_processes {num_gpus} (accelerate launch), --nproc-per-node {num_gpus} (torchrun)"
        )
    if not is_on("ACCELERATE_USE_FSDP"):
        return
    version = os.environ.get("FSDP_VERSION", "1")
    if version != "2":
        raise ConfigError(f"fsdp_version: {version} in the launch; only FSDP2 is supported, set fsdp_version: 2")
    if is_on("FSDP_ACTIVATION_CHECKPOINTING"):
        raise ConfigError(
            "fsdp_activation_checkpointing: true in the launch renames the layers; set it to false and use "
            "trainer.gradient_checkpointing=all"
        )
    if is_on("FSDP_OFFLOAD_PARAMS") and device.type == "cpu":
        raise ConfigError(
            "fsdp_offload_params: true in the launch, but this run computes on a CPU and has nothing to offload; set it "
            "to false"
        )


def sharding_plugin(dtype: torch.dtype) -> FullyShardedDataParallelPlugin | None:
    """What Accelerate needs to shard with FSDP2, where the launch asks for it; else None.

    Args:
        dtype: of the forward pass. Weights, gradients and optimizer stay float32, and gradients are reduced in it.
    """
    if not is_on("ACCELERATE_USE_FSDP"):
        return None
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        cpu_ram_efficient_loading=False,  # every process reads the checkpoint, mapped; meta tensors would lose the tied head
        mixed_precision_policy=policy if dtype is not torch.float32 else None,
    )


def shard_on_cpu(accelerator: Accelerator, plugin: FullyShardedDataParallelPlugin | None) -> None:
    """Let Accelerate shard among CPU processes too, which it does on accelerators alone; no-op for anything else."""
    if plugin is None or accelerator.distributed_type is not DistributedType.MULTI_CPU:
        return
    accelerator.state.fsdp_plugin = plugin
    accelerator.state.distributed_type = DistributedType.FSDP
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
