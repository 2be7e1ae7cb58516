"""Owns what makes a training clip differ from epoch to epoch: its sound and features, then its context.

Input: the settings of augmentation and contexts, a run's seed and limits. Output: `Changes`, for training and showing a batch.
"""

from dataclasses import dataclass

from qasr_train.augment.augmenter import Augmenter, make_augmenter
from qasr_train.augment.contexts import make_context_drawer
from qasr_train.augment.settings import AugmentConfig, ContextConfig
from qasr_train.batch import Transform


@dataclass(frozen=True)
class Changes:
    """augment: of sound and features; None: none. transforms: of a loaded recording in an epoch, in this order."""

    augment: Augmenter | None
    transforms: tuple[Transform, ...]


def make_changes(
    augment: AugmentConfig, context: ContextConfig, *, seed: int, max_duration_s: float, max_target_tokens: int
) -> Changes:
    """Open noises, rooms and term lists.

    Args:
        seed: of the run; with epoch and utterance it decides every draw.
        max_duration_s, max_target_tokens: what a joined or lengthened clip may have at most.

    Raises:
        UserError: a noise, a room or a term list is not there, or cannot be used.
    """
    augmenter = make_augmenter(augment, seed=seed, max_duration_s=max_duration_s, max_target_tokens=max_target_tokens)
    contexts = make_context_drawer(context, seed=seed)
    return Changes(augmenter, (contexts,) if contexts else ())
