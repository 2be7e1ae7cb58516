"""Owns DeepSpeed's ZeRO-2 and ZeRO-3 under Accelerate: what they shard, and nothing of how a step is made.

Input: the launch's environment, a model, an optimizer. Output: an Accelerator, a model and an optimizer that the trainer drives
as any other. Left to itself DeepSpeed counts microbatches, clips and updates inside the backward pass; here it does when told.
"""

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import nn

from qasr_train.errors import ConfigError
from qasr_train.models.base import Trainable
from qasr_train.models.safetensors_files import LazyTensor
from qasr_train.training.settings import ZERO_ASKED_FOR

_STAGE = "ACCELERATE_DEEPSPEED_ZERO_STAGE"
_MOMENTS = ("exp_avg", "exp_avg_sq")  # what AdamW remembers of a weight, besides the number of its steps
_SETTINGS_REFUSED = (
    ("ACCELERATE_DEEPSPEED_CONFIG_FILE", ("none",), "deepspeed_config_file", "leave it out, give zero_stage alone"),
    ("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", ("none",), "offload_optimizer_device", "set none, or use FSDP2"),
    ("ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE", ("none",), "offload_param_device", "set none, or use FSDP2"),
    (
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS",
        ("auto", "1"),
        "gradient_accumulation_steps",
        "trainer.num_microbatches",
    ),
    ("ACCELERATE_GRADIENT_CLIPPING", ("auto",), "gradient_clipping", "leave it out, it is trainer.max_grad_norm"),
)


def refuse_zero() -> None:
    """Refuse a launch with DeepSpeed that asks for what is not done here.

    Raises:
        ConfigError: DeepSpeed is not installed, one process, another stage, or a setting that is the trainer's own.
    """
    if find_spec("deepspeed") is None:
        raise ConfigError(
            "the launch asks for DeepSpeed, which is not installed; pip install 'qasr_train[deepspeed]', or launch with "
            "FSDP2, which shards the same: configs/launch/fsdp2.yaml"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        raise ConfigError(
            "the launch asks for DeepSpeed with one process, and it shards over processes; use configs/launch/single.yaml"
        )
    if (stage := os.environ.get(_STAGE, "2")) not in ("2", "3"):
        raise ConfigError(f"zero_stage: {stage} in the launch; only 2 and 3 are supported, without sharding use DDP")
    for name, allowed, key, remedy in _SETTINGS_REFUSED:
        if (value := os.environ.get(name, allowed[0])) not in allowed:
            raise ConfigError(f"{key}: {value} in the launch is not supported; {remedy}")


class ZeroAccelerator(Accelerator):
    """Accelerate for processes of its own kind (DDP's), whose model and optimizer DeepSpeed shards.

    With its DeepSpeed kind, Accelerate updates inside `backward`, before the trainer can see that the loss is not finite, and
    takes no CPU. So Accelerate is not told, and the four things that differ are here.
    """

    zero: "ZeroOptimizer"

    def __init__(self, **arguments: Any) -> None:
        if arguments["cpu"]:
            os.environ["DS_ACCELERATOR"] = "cpu"  # DeepSpeed takes a GPU where it sees one
        self.zero_stage = int(os.environ.get(_STAGE, "2"))
        asked_for = os.environ.pop(ZERO_ASKED_FOR)
        try:
            super().__init__(**arguments)
        finally:
            os.environ[ZERO_ASKED_FOR] = asked_for
        self._is_last = True

    def share(self, model: Trainable, optimizer: torch.optim.Optimizer) -> tuple["ZeroModel", "ZeroOptimizer"]:
        """The model and its optimizer, sharded.

        Raises:
            ConfigError: the optimizer keeps what cannot be cut into shards and put together again.
        """
        if not isinstance(optimizer, torch.optim.AdamW):
            raise ConfigError("optim.name: DeepSpeed shards adamw only here; set optim.name=adamw, or use FSDP2 or DDP")
        import deepspeed

        deepspeed.utils.logger.setLevel(logging.WARNING)
        # It calls torch's collectives by names that torch will rename; nothing a user could do about it.
        warnings.filterwarnings("ignore", message="`torch.distributed.*` is deprecated", category=FutureWarning)
        engine, *_ = deepspeed.initialize(
            model=_LossFinder(cast(nn.Module, model), self),
            optimizer=optimizer,
            config={
                # Two numbers that it wants and that mean nothing here: the trainer's loss is a share of the whole step's.
                "train_micro_batch_size_per_gpu": 1,
                "gradient_accumulation_steps": 1,
                "zero_optimization": {"stage": self.zero_stage},
                "zero_allow_untested_optimizer": True,  # its test is the list of names; AdamW works a number at a time
                "steps_per_print": None,
            },
        )
        self.zero = ZeroOptimizer(engine, self.zero_stage)
        return ZeroModel(engine), self.zero

    @contextmanager
    def no_sync(self, model: Any) -> Iterator[None]:
        """Backward passes inside are not the last of their step."""
        self._is_last = False
        try:
            yield
        finally:
            self._is_last = True

    def backward(self, loss: torch.Tensor, **_: Any) -> None:
        """Add gradients to this process's shard; no update."""
        self.zero.backward(loss, is_last=self._is_last)

    def clip_grad_norm_(
        self, parameters: Iterable[nn.Parameter], max_norm: float, norm_type: float = 2.0
    ) -> torch.Tensor:
        """The norm of all gradients, which the update will scale down to `max_norm`. Not finite: nan."""
        self.zero.set_max_norm(max_norm)
        if self.zero_stage == 2:
            norm = self.zero.sharded.scaled_global_norm()
            return torch.where(norm < 0, torch.nan, norm)  # below zero is how it says: not finite
        from deepspeed.utils import safe_get_local_grad

        squares = torch.stack([safe_get_local_grad(parameter).double().square().sum() for parameter in parameters])
        return cast(torch.Tensor, self.reduce(squares.sum(), reduction="sum")).sqrt()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Hold every weight whole on every process meanwhile; a no-op under ZeRO-2, where they are."""
        if self.zero_stage == 2:
            yield
            return
        from deepspeed.runtime.zero.stage3 import unwrap_model_for_generation

        with unwrap_model_for_generation(self.zero.engine):
            yield


class _LossFinder(nn.Module):
    """The model as DeepSpeed calls it: with autocast, and with the tensors of the result in a list, where it looks for them."""

    def __init__(self, model: nn.Module, accelerator: Accelerator) -> None:
        super().__init__()
        self.model = model
        self._autocast = accelerator.autocast  # inside: DeepSpeed switches off one that is around it

    def forward(self, *arguments: Any, **named: Any) -> tuple[Any, list[torch.Tensor]]:
        with self._autocast():
            # Not `self.model(...)`: ZeRO-3's hooks on every module look into results with `vars`, which ours do not have.
            result = self.model.forward(*arguments, **named)
        fields = (getattr(result, name) for name in result.__dataclass_fields__)
        return result, [value for value in fields if isinstance(value, torch.Tensor)]


class ZeroModel:
    """What the objective calls in the place of the model."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._engine(*arguments, **named)[0]

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of the model, each as this process holds it."""
        return cast(Iterator[nn.Parameter], self._engine.parameters())


class ZeroOptimizer:
    """An optimizer over shards: updates when told, and gives and takes its state whole, by the names of parameters."""

    def __init__(self, engine: Any, stage: int) -> None:
        self.engine = engine
        self.sharded = engine.optimizer  # DeepSpeed's, around the optimizer of one long vector a group
        self._stage = stage
        self._has_gradients = False

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of the optimizer that was given, with their learning rates."""
        return cast(list[dict[str, Any]], self.sharded.param_groups)

    def backward(self, loss: torch.Tensor, *, is_last: bool) -> None:
        """One microbatch; is_last: of its step."""
        self._has_gradients = True
        self.engine.set_gradient_accumulation_boundary(is_last)
        self.engine.backward(loss)
        if not is_last:
            self.engine.step()  # it only counts

    def set_max_norm(self, max_norm: float) -> None:
        """Gradients of a longer norm are scaled down to it at the next update."""
        self.sharded.clip_grad = 0.0 if max_norm == float("inf") else max_norm  # 0 is its word for: not at all

    def step(self) -> None:
        """Update the weights and forget the gradients."""
        self.engine.step()
        self._has_gradients = False

    def zero_grad(self) -> None:
        """Forget gradients that no update has used: it leaves a step out, and clears up, where one of them is nan."""
        if not self._has_gradients:
            return
        from deepspeed.utils import safe_set_full_grad

        trained = next(p for p in self.engine.parameters() if p.requires_grad)
        shape = getattr(trained, "ds_shape", trained.shape)
        safe_set_full_grad(trained, torch.full(shape, torch.nan, device=self.engine.device))
        self.engine.step()
        self._has_gradients = False
        if self.engine.was_step_applied():
            raise RuntimeError("DeepSpeed made an update with a gradient that is not finite")

    def tensors(self, trained: Mapping[str, nn.Parameter]) -> dict[str, LazyTensor]:
        """ "name of the parameter/name of the value" -> what gathers it; all processes must ask in the same order."""
        from deepspeed.utils import safe_get_full_optimizer_state

        found: dict[str, LazyTensor] = {}
        if not self.sharded.optimizer.state:
            return found
        self._link_state()
        for name, parameter in trained.items():
            shape = getattr(parameter, "ds_shape", parameter.shape)
            for key in _MOMENTS:
                read = _reading(safe_get_full_optimizer_state, parameter, key)
                found[f"{name}/{key}"] = LazyTensor(torch.Size(shape), torch.float32, read)
            step = next(iter(self.sharded.optimizer.state.values()))["step"]
            found[f"{name}/step"] = LazyTensor(step.shape, step.dtype, step.clone)
        return found

    def load(
        self,
        trained: Mapping[str, nn.Parameter],
        weights: Mapping[str, torch.Tensor],
        values: Mapping[str, Mapping[str, torch.Tensor]],
    ) -> None:
        """Take whole weights, and what the optimizer remembered of each."""
        import deepspeed
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        with deepspeed.zero.GatheredParameters(list(trained.values()), modifier_rank=0), torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(weights[name])
        self._make_state(max((float(own["step"]) for own in values.values()), default=0.0))
        for name, parameter in trained.items():
            safe_set_full_fp32_param(parameter, weights[name].to(self.engine.device))
            for key, value in values.get(name, {}).items():
                if key in _MOMENTS:
                    safe_set_full_optimizer_state(parameter, value.to(self.engine.device), key)

    def _make_state(self, num_steps: float) -> None:
        """An empty memory of each shard, as AdamW makes it at its first step."""
        if not num_steps:
            return
        zero2 = self._stage == 2
        for shard in (
            self.sharded.single_partition_of_fp32_groups if zero2 else self.sharded.fp32_partitioned_groups_flat
        ):
            moments = {key: torch.zeros_like(shard, requires_grad=False) for key in _MOMENTS}
            step = torch.tensor(num_steps, dtype=torch.float32, device=shard.device)
            self.sharded.optimizer.state[shard] = {"step": step, **moments}
        self._link_state()

    def _link_state(self) -> None:
        """Tell each weight where its moments lie. DeepSpeed does so after the first group's update, when others have none yet."""
        if self._stage != 2:
            return
        from deepspeed.utils import lazy_init_hp_params_optimizer_state

        shards = self.sharded.single_partition_of_fp32_groups
        for weights, shard in zip(self.sharded.bit16_groups, shards, strict=True):
            lazy_init_hp_params_optimizer_state(weights, shard, self.sharded.optimizer.state)


def _reading(gather: Any, parameter: nn.Parameter, key: str) -> Any:
    return lambda: gather(parameter, key)
