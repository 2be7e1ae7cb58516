"""Owns a model that several processes share (DDP, FSDP2, ZeRO): wrapped, held whole where it must be, agreed on in an error.

Input: an Accelerator, a model, an optimizer. Output: a `SharedModel`. The engine is Accelerate; nothing here communicates by
itself.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method

from qasr_train.errors import UserError
from qasr_train.models.base import RowDecoder, Sampler, Trainable
from qasr_train.training.deepspeed_zero import ZeroAccelerator, ZeroOptimizer


@dataclass(frozen=True)
class SharedModel:
    """A model and its optimizer as the processes share them.

    model: ours, of whose weights a process may hold a part. wrapped: what stands in its place in a training step.
    """

    accelerator: Accelerator
    model: Trainable
    wrapped: Any
    optimizer: torch.optim.Optimizer | ZeroOptimizer

    @property
    def is_sharded(self) -> bool:
        """Whether what is trained lies in shards on the processes, so that all of them take part in saving it."""
        return self.accelerator.is_fsdp2 or isinstance(self.accelerator, ZeroAccelerator)

    @contextmanager
    def readable_weights(self) -> Iterator[None]:
        """Where tensors are not gathered one at a time while they are written (ZeRO-3), hold all of them whole meanwhile."""
        with self.accelerator.gathered() if isinstance(self.accelerator, ZeroAccelerator) else nullcontext():
            yield


def share_model(accelerator: Accelerator, model: Trainable, optimizer: torch.optim.Optimizer) -> SharedModel:
    """The model as the processes share it, with its optimizer. FSDP2 shards each transformer layer, and the rest as one.

    Raises:
        ConfigError: DeepSpeed cannot shard this optimizer.
    """
    if isinstance(accelerator, ZeroAccelerator):
        return SharedModel(accelerator, model, *accelerator.share(model, optimizer))
    if accelerator.is_fsdp2:
        plugin = accelerator.state.fsdp_plugin
        plugin.transformer_cls_names_to_wrap = _layer_classes(model.module)
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    if accelerator.is_fsdp2:
        others = [
            *(["transcribe_rows"] if isinstance(model, RowDecoder) else []),
            *(["draw"] if isinstance(model, Sampler) else []),
        ]
        for name in ("transcribe", *others):
            register_fsdp_forward_method(wrapped, name)
        wrapped.forward = _with_autocast(accelerator, wrapped.forward)
    return SharedModel(accelerator, model, wrapped, optimizer)


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


def raise_everywhere(accelerator: Accelerator, error: UserError | None) -> None:
    """Raise an error of any process on all of them; all must call it, with None where all is well."""
    errors = [error] if accelerator.num_processes == 1 else gather_object([error])
    found = next((one for one in errors if one is not None), None)
    if found is not None:
        raise found


def sum_everywhere(accelerator: Accelerator, value: float) -> float:
    """The sum of a number over all processes; all must call it."""
    return sums_everywhere(accelerator, [value])[0]


def sums_everywhere(accelerator: Accelerator, values: Sequence[float]) -> list[float]:
    """The sum of each number over all processes, in one exchange; all must call it with as many."""
    if accelerator.num_processes == 1:
        return list(values)
    totals = torch.tensor(values, dtype=torch.float64, device=accelerator.device)
    return accelerator.reduce(totals, reduction="sum").tolist()


def _layer_classes(module: Any) -> list[str]:
    """The classes of layers that transformers never splits, which are the ones that repeat."""
    base = module.get_base_model() if hasattr(module, "get_base_model") else module
    return sorted(base._no_split_modules)


def _modules(model: Any) -> list[nn.Module]:
    return list(model.modules())
