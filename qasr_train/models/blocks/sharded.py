"""Owns telling whether the weights of layers lie in shards on several processes, which gather a layer's when it is used.

Every process must then use each layer as often as the others, whatever its rows are, or they wait for one another for ever.
"""

from torch import nn
from torch.distributed.fsdp import FSDPModule


def gathers_layers(module: nn.Module) -> bool:
    """Whether anything in a module is gathered when it is used (FSDP2, ZeRO-3)."""
    return any(isinstance(one, FSDPModule) for one in module.modules()) or any(
        hasattr(parameter, "ds_id") for parameter in module.parameters()
    )
