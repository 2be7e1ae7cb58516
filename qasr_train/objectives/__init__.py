"""Owns the table of objectives: a name, its config, and how one is built. A new objective adds one line here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qasr_train.errors import ConfigError
from qasr_train.models.base import ASRModel, Capability
from qasr_train.objectives.base import LossSum, Objective
from qasr_train.objectives.cross_entropy import CrossEntropy, CrossEntropyConfig
from qasr_train.objectives.kl_to_base import KLToBase, KLToBaseConfig

__all__ = ["OBJECTIVES", "LossSum", "Objective", "build_objective", "check_objective"]


@dataclass(frozen=True)
class ObjectiveEntry:
    """An objective's settings and how it is built from them."""

    config: type
    build: Callable[[Any], Objective]


OBJECTIVES: dict[str, ObjectiveEntry] = {
    "cross_entropy": ObjectiveEntry(
        CrossEntropyConfig,
        lambda config: CrossEntropy(label_smoothing=config.label_smoothing, chunk_rows=config.chunk_rows),
    ),
    "kl_to_base": ObjectiveEntry(
        KLToBaseConfig,
        lambda config: KLToBase(
            cross_entropy=CrossEntropy(label_smoothing=config.label_smoothing, chunk_rows=config.chunk_rows),
            kl_weight=config.kl_weight,
            kl_sources=config.kl_sources,
        ),
    ),
}


def build_objective(config: Any, model: ASRModel) -> Objective:
    """The objective a config describes, refused when the model lacks what it needs; raises as `check_objective`.

    Args:
        model: before its first step, with everything on it that will be trained.
    """
    objective = check_objective(config, family=model.family, capabilities=model.capabilities)
    if isinstance(objective, KLToBase):
        objective.keep_base(model)
    return objective


def check_objective(
    config: Any,
    *,
    family: str,
    capabilities: frozenset[Capability],
    sources: Sequence[str] | None = None,
    is_sharded: bool = False,
) -> Objective:
    """The objective a config describes, for a family with these capabilities; needs no weights.

    Args:
        sources: names of data.train; None: not known here. is_sharded: whether processes share the weights (FSDP).

    Raises:
        ConfigError: unknown name, a capability that the family does not have, or a run it cannot be used in.
    """
    entry = OBJECTIVES.get(config.name)
    if entry is None:
        raise ConfigError(f"objective.name={config.name!r} is not an objective; choose one of {', '.join(OBJECTIVES)}")
    objective = entry.build(config)
    if missing := objective.needs - capabilities:
        raise ConfigError(
            f"objective={config.name} needs {', '.join(c.value for c in missing)}, which model.family={family} "
            "does not have; choose another objective or model"
        )
    if sources is not None and isinstance(config, KLToBaseConfig):
        config.check_run(sources, is_sharded=is_sharded)
    return objective
