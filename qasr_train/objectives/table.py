"""Owns the table of objectives: a name, its config, how one is built. A new objective adds a line here. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qasr_train.errors import ConfigError
from qasr_train.models.settings import Capability
from qasr_train.objectives.rollout_settings import GSPOConfig, MWERConfig
from qasr_train.objectives.settings import CrossEntropyConfig, KLToBaseConfig, SlotsConfig

if TYPE_CHECKING:  # both bring torch
    from qasr_train.models.base import Trainable
    from qasr_train.objectives.base import Objective


@dataclass(frozen=True)
class ObjectiveEntry:
    """An objective's settings, where it is, and what it needs of a model.

    config: a dataclass with `name`, and `check_run` as `CrossEntropyConfig` has it. module: has `build(config, model)`;
    imported when one is built.
    """

    config: type
    module: str
    needs: frozenset[Capability]


OBJECTIVES: dict[str, ObjectiveEntry] = {
    "cross_entropy": ObjectiveEntry(
        CrossEntropyConfig, "qasr_train.objectives.cross_entropy", frozenset({Capability.TOKEN_LOSS})
    ),
    "kl_to_base": ObjectiveEntry(
        KLToBaseConfig, "qasr_train.objectives.kl_to_base", frozenset({Capability.TOKEN_LOSS})
    ),
    "mwer": ObjectiveEntry(
        MWERConfig, "qasr_train.objectives.mwer", frozenset({Capability.TOKEN_LOSS, Capability.SAMPLES})
    ),
    "gspo": ObjectiveEntry(
        GSPOConfig, "qasr_train.objectives.gspo", frozenset({Capability.TOKEN_LOSS, Capability.SAMPLES})
    ),
    "slots": ObjectiveEntry(SlotsConfig, "qasr_train.objectives.slots", frozenset({Capability.SLOTS})),
}


def build_objective(config: Any, model: "Trainable") -> "Objective":
    """The objective a config describes, refused when the model lacks what it needs; raises as `check_objective`.

    Args:
        model: before its first step, with everything on it that will be trained.
    """
    entry = check_objective(config, family=model.family, capabilities=model.capabilities)
    objective: Objective = import_module(entry.module).build(config, model)
    return objective


def check_objective(
    config: Any,
    *,
    family: str,
    capabilities: frozenset[Capability],
    sources: Sequence[str] | None = None,
    is_sharded: bool = False,
) -> ObjectiveEntry:
    """The entry of the objective a config describes, for a family with these capabilities; needs no weights.

    Args:
        sources: names of data.train; None: not known here. is_sharded: whether processes share the weights (FSDP).

    Raises:
        ConfigError: unknown name, a capability that the family does not have, or a run it cannot be used in.
    """
    entry = OBJECTIVES.get(config.name)
    if entry is None:
        raise ConfigError(f"objective.name={config.name!r} is not an objective; choose one of {', '.join(OBJECTIVES)}")
    if missing := entry.needs - capabilities:
        raise ConfigError(
            f"objective={config.name} needs {', '.join(c.value for c in missing)}, which model.family={family} "
            "does not have; choose another objective or model"
        )
    if sources is not None:
        config.check_run(sources, is_sharded=is_sharded)
    return entry
