"""Owns torch.compile of the layers that repeat in a model: which code is compiled, when it runs, how often it was compiled.

Input: transformers' layers. Output: the same layers, their forward pass compiled in training mode. One layer's code serves
all layers of its kind, and lengths are symbols in it: batches of other shapes are not compiled again. What depends on the
number of rows, as attention over packed rows does, has to stay outside of them.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from qasr_train.errors import ConfigError


def compile_layers(layers: Iterable[nn.Module], *, backend: str = "inductor") -> None:
    """Compile the forward pass of each layer; compiled code runs in training mode only.

    A layer that is copied afterwards (copy.deepcopy) would compute with the weights of the one it was copied from.

    Args:
        layers: transformers' layers, whose activations may be recomputed in the backward pass.
        backend: of torch.compile.
    """
    for layer in layers:
        own = type(layer).forward
        # Newer transformers wrap `forward` in the recomputing of activations, older ones do that around it, in `__call__`.
        recomputes_inside = hasattr(own, "__wrapped__")
        plain = getattr(own, "__wrapped__", own).__get__(layer)
        compiled = torch.compile(plain, dynamic=True, backend=backend)
        layer.forward = partial(_forward, layer, plain, compiled, recomputes_inside)


def num_compilations() -> int:
    """Graphs that torch.compile has made in this process so far."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def refuse_compiling(device: torch.device, *, is_sharded: bool) -> None:
    """Refuse torch.compile where it cannot be done.

    Raises:
        ConfigError: weights are sharded by FSDP or DeepSpeed, or no C compiler is there (C++ for a CPU).
    """
    if is_sharded:
        raise ConfigError(
            "trainer.compile=true: layers whose weights are sharded by FSDP or DeepSpeed are not compiled here; launch with "
            "DDP, or set trainer.compile=false"
        )
    # Those that Triton and torch's inductor look for; a variable that names one wins, be it there or not.
    variable, names = ("CC", ("gcc", "clang")) if device.type == "cuda" else ("CXX", ("g++",))
    if named := os.environ.get(variable):
        if not shutil.which(named):
            raise ConfigError(
                f"trainer.compile=true needs the compiler that {variable}={named} names, and it is not there; name another, "
                "or set trainer.compile=false"
            )
    elif not any(map(shutil.which, names)):
        raise ConfigError(
            f"trainer.compile=true needs a compiler, and {' or '.join(names)} is not on the PATH; install it, name another in "
            f"{variable}, or set trainer.compile=false"
        )


def _forward(
    layer: Any, plain: Callable[..., Any], compiled: Callable[..., Any], recomputes: bool, *args: Any, **kwargs: Any
) -> Any:
    if not layer.training:  # other shapes and caches, for which compiling would not pay
        return plain(*args, **kwargs)
    if recomputes and layer.gradient_checkpointing:
        return layer._gradient_checkpointing_func(partial(compiled, **kwargs), *args)
    return compiled(*args, **kwargs)
