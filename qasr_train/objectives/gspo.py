"""Owns `objective=gspo`: clipped policy ratios of the hypotheses of each clip (`ClippedRatios`); GRPO is a setting of it."""

from qasr_train.models.base import Trainable
from qasr_train.objectives.hypotheses import ClippedRatios
from qasr_train.objectives.rollout_settings import GSPOConfig
from qasr_train.objectives.sequence import SequenceLoss, sequence_loss


def build(config: GSPOConfig, model: Trainable) -> SequenceLoss:
    """What the settings say, holding to the model as it is now where it has a pull to the base."""
    ratios = ClippedRatios(
        level=config.level,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
        divide_by_std=config.divide_by_std,
        divide_by_length=config.divide_by_length,
    )
    return sequence_loss(config, model, ratios, counts_repeats=config.count_repeats)
