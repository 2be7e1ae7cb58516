"""Owns the table of objectives: a name, its config, and how one is built. A new objective adds one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qasr_train.errors import ConfigError
from qasr_train.models.base import ASRModel, Capability
from qasr_train.objectives.base import LossSum, Objective
from qasr_train.objectives.cross_entropy import CrossEntropy, CrossEntropyConfig

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
}


def build_objective(config: Any, model: ASRModel) -> Objective:
    """The objective a config describes, refused when the model lacks what it needs; raises as `check_objective`."""
    return check_objective(config, family=model.family, capabilities=model.capabilities)


def check_objective(config: Any, *, family: str, capabilities: frozenset[Capability]) -> Objective:
    """The objective a config describes, for a family with these capabilities; needs no weights.

    Raises:
        ConfigError: unknown name, or a capability that the family does not have.
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
    return objective
