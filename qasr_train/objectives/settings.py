"""Owns the settings of the objectives. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from qasr_train.config.patterns import matches
from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError


@dataclass
class CrossEntropyConfig:
    """Next-token cross entropy on the target."""

    name: str = setting("cross_entropy", help="name; the objective, see `qasr_train/objectives/table.py`")
    label_smoothing: float = setting(0.0, ge=0, lt=1, help="share of probability spread over the vocabulary; 0: off")

    chunk_rows: int | None = setting(
        256, ge=1, help="tokens whose logits are held at a time, gradient included. null: all of them at once"
    )

    def __post_init__(self) -> None:
        check_settings(self, "objective")

    def check_run(self, sources: Sequence[str], *, is_sharded: bool) -> None:
        """Raise ConfigError where the run cannot be trained on this; here any can.

        Args:
            sources: names of data.train. is_sharded: whether processes share the weights (FSDP, DeepSpeed).
        """


@dataclass
class KLToBaseConfig(CrossEntropyConfig):
    """Cross entropy on every row, and on rows of some sources the divergence from the model as it was before training."""

    name: str = setting("kl_to_base", help="name; the objective, see `qasr_train/objectives/table.py`")
    kl_weight: float = setting(1.0, gt=0, help="factor of the KL divergence, base || model, in nats a token")
    kl_sources: list[str] = setting(
        ["replay*"], help="patterns; sources of data.train whose rows are held to the base. Others are only learned"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kl_sources:
            raise ConfigError(
                "objective.kl_sources=[] holds no row to the base; name sources, or use objective=cross_entropy"
            )

    def check_run(self, sources: Sequence[str], *, is_sharded: bool) -> None:
        """Raises ConfigError where a pattern matches no source of data.train, or weights are sharded over processes."""
        refuse_no_base(self.name, self.kl_sources, sources, is_sharded=is_sharded)


def refuse_no_base(name: str, patterns: Sequence[str], sources: Sequence[str], *, is_sharded: bool) -> None:
    """Refuse a pull to the base that cannot be had.

    Args:
        name: of the objective. patterns: `objective.kl_sources`. sources: names of data.train.
        is_sharded: whether processes share the weights (FSDP, DeepSpeed).

    Raises:
        ConfigError: a pattern matches no source, or weights are sharded.
    """
    if is_sharded:
        raise ConfigError(
            f"objective={name} asks the base about some rows of some processes, which weights sharded by FSDP or "
            f"DeepSpeed cannot answer; launch with DDP, or use {_WITHOUT_BASE.get(name, 'objective.kl_weight=0')}"
        )
    for pattern in patterns:
        if not any(matches("objective.kl_sources", pattern, one) for one in sources):
            raise ConfigError(
                f"objective.kl_sources: {pattern!r} matches no source of data.train ({', '.join(sources)}); give general "
                f"speech with data.train.replay.path=..., or use {_WITHOUT_BASE.get(name, 'objective.kl_weight=0')}"
            )


_WITHOUT_BASE = {"kl_to_base": "objective=cross_entropy"}


@dataclass
class SlotsConfig:
    """Cross entropy over the time slots of an aligner, at the slots alone."""

    name: str = setting("slots", help="name; the objective, see `qasr_train/objectives/table.py`")
    slotted: float = setting(
        0.7,
        gt=0,
        le=1,
        help="share of the words that have slots in an epoch, drawn anew in each, so that no word's times lean on the others'. "
        "1: all",
    )

    def __post_init__(self) -> None:
        check_settings(self, "objective")

    def check_run(self, sources: Sequence[str], *, is_sharded: bool) -> None:
        """Any run will do."""
