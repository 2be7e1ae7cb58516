"""Owns Accelerate and what several processes add to a run: sharing the model (DDP, FSDP2, ZeRO), agreeing on an error, refusals.

Input: the settings and the launch's environment (`accelerate launch`, torchrun, srun). Output: an Accelerator and a wrapped
model, or one sentence before anything is loaded. The engine is Accelerate; nothing here communicates by itself.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import PartialState
from accelerate.utils import FullyShardedDataParallelPlugin, InitProcessGroupKwargs, gather_object
from torch import nn
from torch.distributed import DistError
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, register_fsdp_forward_method

from qasr_train.errors import ConfigError, TrainingError, UserError
from qasr_train.models.base import RowDecoder, Trainable
from qasr_train.models.compiled import refuse_compiling
from qasr_train.run.device import choose_device, choose_dtype
from qasr_train.run.settings import TrackingConfig
from qasr_train.run.tracking import tracker_names
from qasr_train.training.batch_search import refuse_batch_search
from qasr_train.training.deepspeed_zero import ZeroAccelerator, refuse_zero
from qasr_train.training.settings import ZERO_ASKED_FOR, TrainerConfig, is_on, is_sharding_asked_for


def make_accelerator(trainer: TrainerConfig, tracking: TrackingConfig, *, project_dir: Path) -> Accelerator:
    """Accelerate on the device and in the precision asked for.

    Raises:
        ConfigError: a GPU was asked for and there is none, or the launch asks for what this trainer cannot do.
        TrainingError: the processes did not find each other.
    """
    device = choose_device(trainer.device, key="trainer.device")
    refuse_launch(device)
    if trainer.find_batch_seconds:
        refuse_batch_search(device, is_sharded=is_sharding_asked_for())
    if trainer.compile:
        refuse_compiling(device, is_sharded=is_sharding_asked_for())
    dtype = choose_dtype(trainer.precision, device)
    if device.type == "cpu":
        # Denormal numbers slow a CPU: a prototype of LoRA on the encoder took 1.46 s a step with them, 0.23 s without.
        torch.set_flush_denormal(True)
    _reset_accelerate()
    plugin = sharding_plugin(dtype)
    with _told_where_to_meet():
        accelerator = (ZeroAccelerator if is_on(ZERO_ASKED_FOR) else Accelerator)(
            cpu=device.type == "cpu",
            mixed_precision="bf16" if dtype is torch.bfloat16 else "no",
            log_with=tracker_names(tracking) or None,
            project_dir=str(project_dir),
            fsdp_plugin=plugin,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=trainer.collective_timeout_s))],
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


def share_model(accelerator: Accelerator, model: Trainable, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
    """The model as the processes share it, and its optimizer. FSDP2 shards each transformer layer, and the rest as one."""
    if isinstance(accelerator, ZeroAccelerator):
        return accelerator.share(model, optimizer)
    if accelerator.is_fsdp2:
        plugin = accelerator.state.fsdp_plugin
        plugin.transformer_cls_names_to_wrap = _layer_classes(model.module)
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    if accelerator.is_fsdp2:
        for name in ("transcribe", "transcribe_rows") if isinstance(model, RowDecoder) else ("transcribe",):
            register_fsdp_forward_method(wrapped, name)
        wrapped.forward = _with_autocast(accelerator, wrapped.forward)
    return wrapped, optimizer


def _with_autocast(accelerator: Accelerator, forward: Callable[..., Any]) -> Callable[..., Any]:
    """Accelerate puts autocast around a forward pass except under FSDP2, where float32 input would meet bfloat16 weights."""

    @wraps(forward)
    def cast_forward(*arguments: Any, **named: Any) -> Any:
        with accelerator.autocast():
            return forward(*arguments, **named)

    return cast_forward


@contextmanager
def whole_weights(accelerator: Accelerator, model: Trainable) -> Iterator[None]:
    """Hold every weight whole on every process meanwhile; a no-op where nothing is sharded.

    Generation takes another number of steps on each process, so they could not gather each layer when it is used.
    """
    if isinstance(accelerator, ZeroAccelerator):
        with accelerator.gathered():
            yield
        return
    sharded = [module for module in _modules(model) if isinstance(module, FSDPModule)]
    for module in sharded:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in sharded:
            module.reshard()
            is_root = module is model
            reshards = not is_root and accelerator.state.fsdp_plugin.reshard_after_forward
            module.set_reshard_after_forward(reshards, recurse=False)


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether what is trained lies in shards on the processes, so that all of them take part in saving it."""
    return accelerator.is_fsdp2 or isinstance(accelerator, ZeroAccelerator)


@contextmanager
def readable_weights(accelerator: Accelerator) -> Iterator[None]:
    """Where tensors are not gathered one at a time while they are written (ZeRO-3), hold all of them whole meanwhile."""
    with accelerator.gathered() if isinstance(accelerator, ZeroAccelerator) else nullcontext():
        yield


def raise_everywhere(accelerator: Accelerator, error: UserError | None) -> None:
    """Raise an error of any process on all of them; all must call it, with None where all is well."""
    errors = [error] if accelerator.num_processes == 1 else gather_object([error])
    found = next((one for one in errors if one is not None), None)
    if found is not None:
        raise found


def _layer_classes(module: Any) -> list[str]:
    """The classes of layers that transformers never splits, which are the ones that repeat."""
    base = module.get_base_model() if hasattr(module, "get_base_model") else module
    return sorted(base._no_split_modules)


def _modules(model: Any) -> list[nn.Module]:
    return list(model.modules())
