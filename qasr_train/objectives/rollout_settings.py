"""Owns the settings of the objectives that learn from the model's own hypotheses. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.objectives.settings import refuse_no_base
from qasr_train.rewards.settings import RewardRules
from qasr_train.rewards.table import check_weights


class RatioLevel(str, Enum):
    """Of what a policy ratio is taken, and clipped."""

    sequence = "sequence"  # of a whole hypothesis: GSPO
    token = "token"  # of each token: GRPO


class DrawnBy(str, Enum):
    """How the hypotheses of a clip are found."""

    samples = "samples"  # the greedy one, and draws
    beam = "beam"  # the likeliest of a beam


@dataclass
class HypothesesConfig:
    """What the objectives share: how hypotheses are drawn, what they are worth, what is learned beside them."""

    name: str = setting(help="name; the objective, see `qasr_train/objectives/table.py`")
    num_hypotheses: int = setting(4, help="hypotheses a clip; at least 2")
    drawn_by: DrawnBy = setting(
        DrawnBy.samples,
        help="how they are found: samples (the greedy one, the others drawn), beam (a beam's likeliest)",
    )
    temperature: float = setting(
        1.0, gt=0, le=5, help="divisor of the logits that hypotheses are drawn by; 0.7 to 1.0 is usual"
    )
    rewards: dict[str, float] = setting(
        {"gated_errors": 1.0},
        help="name -> weight; what makes a hypothesis good (docs/sequence_training.md). 0: off",
    )
    reward_rules: RewardRules = setting(RewardRules(), help="by what rules hypotheses are judged")
    cross_entropy_weight: float = setting(
        0.01,
        ge=0,
        help="factor; cross entropy of a clip's transcript, in nats, beside the loss of its hypotheses. 0: off",
    )
    kl_weight: float = setting(
        0.0, ge=0, help="factor; KL divergence from the model before training, in nats, over the transcript. 0: off"
    )
    kl_sources: list[str] = setting(["*"], help="patterns; sources of data.train whose clips are held to the base")
    chunk_rows: int | None = setting(
        256, ge=1, help="tokens whose logits are held at a time, gradient included. null: all of them at once"
    )

    def __post_init__(self) -> None:
        check_settings(self, "objective")
        if self.num_hypotheses < 2:
            raise ConfigError(
                f"objective.num_hypotheses={self.num_hypotheses}: one hypothesis is no better or worse than itself, so nothing "
                "is learned; set at least 2, or use objective=cross_entropy"
            )
        if self.drawn_by is DrawnBy.beam and self.temperature != 1.0:
            raise ConfigError(
                f"objective.temperature={self.temperature:g}: says how far samples stray, and objective.drawn_by=beam draws "
                "none; leave it out, or set drawn_by=samples"
            )
        check_weights(self.rewards)

    @property
    def has_references(self) -> bool:
        """Whether transcripts are learned beside the hypotheses."""
        return self.cross_entropy_weight > 0 or self.kl_weight > 0

    def check_run(self, sources: Sequence[str], *, is_sharded: bool) -> None:
        """Raises ConfigError as `KLToBaseConfig.check_run`, where there is a pull to the base."""
        if self.kl_weight > 0:
            refuse_no_base(self.name, self.kl_sources, sources, is_sharded=is_sharded)


@dataclass
class MWERConfig(HypothesesConfig):
    """Minimum word error rate training: the expected errors over the list of hypotheses."""

    name: str = setting("mwer", help="name; the objective, see `qasr_train/objectives/table.py`")
    rewards: dict[str, float] = setting(
        {"error_count": 1.0},
        help="name -> weight; what makes a hypothesis good (docs/sequence_training.md). 0: off",
    )


@dataclass
class GSPOConfig(HypothesesConfig):
    """Group sequence policy optimisation; with `level=token` GRPO."""

    name: str = setting("gspo", help="name; the objective, see `qasr_train/objectives/table.py`")
    level: RatioLevel = setting(
        RatioLevel.sequence, help="of what the ratio is taken and clipped: sequence (GSPO), token (GRPO)"
    )
    clip_low: float = setting(
        3e-4, gt=0, lt=1, help="how far below 1 a ratio counts: about 3e-4 of sequences, 0.2 of tokens"
    )
    clip_high: float = setting(
        4e-4, gt=0, help="how far above 1 a ratio counts: about 4e-4 of sequences, 0.2 of tokens"
    )
    divide_by_std: bool = setting(
        True, help="whether a clip's advantages are divided by their spread; false as in Dr. GRPO"
    )
    divide_by_length: bool = setting(
        True, help="whether a hypothesis's ratio or sum is divided by its tokens; false as in Dr. GRPO"
    )
    count_repeats: bool = setting(
        False, help="whether a hypothesis counts as often as it was drawn; false: once, however often"
    )
    updates_per_rollout: int = setting(
        1, ge=1, help="updates made with the same hypotheses, in one step; above 1 the ratios are clipped"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count_repeats and self.drawn_by is DrawnBy.beam:
            raise ConfigError(
                "objective.count_repeats=true counts draws, and a beam (objective.drawn_by=beam) holds every hypothesis once; "
                "set one of the two otherwise"
            )
