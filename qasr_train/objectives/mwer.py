"""Owns `objective=mwer`: the expected errors over the hypotheses of each clip (`expected_errors`)."""

from qasr_train.models.base import Trainable
from qasr_train.objectives.hypotheses import expected_errors
from qasr_train.objectives.rollout_settings import MWERConfig
from qasr_train.objectives.sequence import SequenceLoss, sequence_loss


def build(config: MWERConfig, model: Trainable) -> SequenceLoss:
    """What the settings say, holding to the model as it is now where it has a pull to the base."""
    return sequence_loss(config, model, expected_errors)
