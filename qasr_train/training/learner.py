"""Owns what a run trains: a model with all that is trained on it, its objective, and the processes it learns on.

Input: configs of model, adaptation and objective. Output: a `Learner`, before its optimizer is made and its weights are shared.
"""

from dataclasses import dataclass, replace
from typing import Any

from accelerate import Accelerator

from qasr_train.data.buckets import BatchBudget
from qasr_train.data.encoder_cache import EncodingRun
from qasr_train.data.settings import SampleByErrorConfig
from qasr_train.models.adapt import ParameterCounts, apply_adaptation, count_parameters
from qasr_train.models.base import Trainable
from qasr_train.models.families import load_trainable
from qasr_train.models.settings import AdaptConfig, Recompute
from qasr_train.objectives.base import Objective
from qasr_train.objectives.rollout_settings import HypothesesConfig
from qasr_train.objectives.table import build_objective
from qasr_train.rewards.table import make_rewards
from qasr_train.run.processes import processes_of
from qasr_train.training.rollout.hearing import make_ear
from qasr_train.training.rollout.rollouts import Rollouts, make_rollouts
from qasr_train.training.settings import is_sharding_asked_for


@dataclass(frozen=True)
class Learner:
    """A model, the loss it learns by, and Accelerate on this process's device.

    rollouts: draws the hypotheses that it learns from; None: it learns from transcripts alone.
    """

    accelerator: Accelerator
    model: Trainable
    objective: Objective
    rollouts: Rollouts | None = None

    def drawing(
        self,
        objective_config: Any,
        *,
        seed: int,
        max_new_tokens: int | None,
        sampling: SampleByErrorConfig | None = None,
    ) -> "Learner":
        """The same with rollouts, where the objective learns from them; see `make_rollouts`. sampling: None: as if off."""
        rollouts = make_rollouts(
            objective_config,
            self.accelerator,
            self.model,
            seed=seed,
            max_new_tokens=max_new_tokens,
            ear=make_ear(sampling) if sampling else None,
        )
        return replace(self, rollouts=rollouts)

    def parameter_counts(self) -> ParameterCounts:
        """How many parameters there are and are trained, before the processes share them."""
        return count_parameters(self.model.module, self.model.parts)

    def budget(self, asked: BatchBudget) -> BatchBudget:
        """What a batch of this model may hold.

        Sharded layers are gathered by all processes at once, so a family computes all rows of a batch in one pass there.
        """
        return asked.hearing(self.model.collator.windows_s, are_apart=not is_sharding_asked_for())

    def encoding_run(self, budget: BatchBudget, *, num_workers: int) -> EncodingRun:
        """How the encoder outputs of a cache are made: as the forward pass of training makes them."""
        accelerator = self.accelerator
        return EncodingRun(
            budget=budget,
            num_workers=num_workers,
            device=accelerator.device,
            precision=f"{accelerator.mixed_precision} {accelerator.device.type}",
            autocast=accelerator.autocast,
            processes=processes_of(accelerator),
        )


def refuse_rewards(objective_config: Any) -> None:
    """Refuse rewards that cannot be had, before a model is loaded: raises as `make_rewards`; other objectives have none."""
    if isinstance(objective_config, HypothesesConfig):
        make_rewards(objective_config.rewards, objective_config.reward_rules)


def load_learner(
    accelerator: Accelerator,
    model_config: Any,
    adapt: AdaptConfig,
    objective_config: Any,
    *,
    makes_features: bool,
    recompute: Recompute,
    compiles: bool,
) -> Learner:
    """The model with everything on it that is trained, and the objective, which may have copied it.

    Args:
        makes_features: False: batches carry waveforms, of which the model makes its features on the device.
        recompute: activations that are not kept for the backward pass. compiles: whether torch compiles the layers.

    Raises:
        UserError: the checkpoint cannot be loaded, or `adapt` names what is not in it.
    """
    model = load_trainable(model_config, device=accelerator.device, makes_features=makes_features)
    model.module = apply_adaptation(model.module, adapt, model.parts)
    objective = build_objective(objective_config, model)
    model.set_gradient_checkpointing(recompute)
    if compiles:
        model.compile_layers()  # after the objective: a copy would compute with the weights of this one
        accelerator.print("trainer.compile=true: the first step compiles the layers, some 40 s for the 0.6B")
    return Learner(accelerator, model, objective)
