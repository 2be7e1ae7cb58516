"""Owns what makes a training clip differ from epoch to epoch: its sound and features, its context, the slots of its words.

Input: the settings of augmentation and contexts, a run's seed and limits. Output: `Changes`, for training and showing a batch.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from qasr_train.augment.augmenter import Augmenter, make_augmenter
from qasr_train.augment.contexts import ContextDrawer, make_context_drawer
from qasr_train.augment.prefixes import describe_prefixes
from qasr_train.augment.settings import AugmentConfig, ContextConfig, PrefixConfig
from qasr_train.augment.variants import utterance_rng
from qasr_train.batch import Batch, Recording
from qasr_train.manifest import Utterance
from qasr_train.sources.table import have_words

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SlotDrawer:
    """Draws which words have slots (arXiv 2601.18220, dynamic slot insertion). share: of the words. seed: of the run."""

    share: float
    seed: int

    def __call__(self, recording: Recording, epoch: int) -> Recording:
        """The recording with a draw for each of its words; one of them at least has slots."""
        utterance = recording.utterance
        rng = utterance_rng(self.seed, epoch, utterance, "slots")
        drawn = rng.uniform(size=max(1, len(utterance.words))) < self.share
        drawn[int(rng.integers(len(drawn)))] = True
        return replace(recording, slotted=tuple(drawn.tolist()))


@dataclass(frozen=True)
class Changes:
    """What is done to clips at three moments of an epoch: when it is planned, to a recording, to the features of a batch.

    All is a function of a run's seed, the epoch and the utterance, so that a resumed run repeats it. Picklable.
    augmenter: of sound and features. contexts: of what stands in the system turn. None: these stay as they are.
    slots: which words of an aligner's clip have slots; None: all of them.
    """

    augmenter: Augmenter | None = None
    contexts: ContextDrawer | None = None
    slots: SlotDrawer | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is done at all."""
        return not (self.augmenter is None and self.contexts is None and self.slots is None)

    def plan(self, utterances: Sequence[Utterance], epoch: int, *, source: str) -> Sequence[Utterance]:
        """What a source gives an epoch instead; see `Augmenter.plan`."""
        return self.augmenter.plan(utterances, epoch, source=source) if self.augmenter else utterances

    def describe(self, sources: Mapping[str, Sequence[Utterance]], *, is_streamed: bool = False) -> list[str]:
        """Lines on which clips of these lists can be cut, by name of their source; raises as `describe_prefixes`.

        is_streamed: whether there are streams beside them.
        """
        prefix = self.augmenter.config.prefix if self.augmenter else PrefixConfig()
        return describe_prefixes(prefix, sources, is_streamed=is_streamed) if prefix.probability else []

    def tell_of_window(self, source: str, utterances: Sequence[Utterance]) -> None:
        """Warn where nothing can be cut of what was read of a stream first, of which nothing was known at the start."""
        is_asked_for = self.augmenter is not None and self.augmenter.config.prefix.probability > 0
        if is_asked_for and not have_words(utterances).any():
            log.warning(
                "source %s: none of the first %d clips has times of its words (`words`), so augment.prefix cuts none of them",
                source,
                len(utterances),
            )

    def recording(self, recording: Recording, epoch: int) -> Recording:
        """The recording as an epoch has it, first its sound, then its context; runs in a loader worker.

        Raises:
            AudioError: a noise or impulse response cannot be decoded any more.
        """
        if self.augmenter:
            recording = self.augmenter.recording(recording, epoch)
        if self.slots:
            recording = self.slots(recording, epoch)
        return self.contexts(recording, epoch) if self.contexts else recording

    def features(self, batch: Batch, utterances: Sequence[Utterance], epoch: int) -> Batch:
        """The batch with parts of its features covered up, in place; `utterances` are its rows."""
        return self.augmenter.features(batch, utterances, epoch) if self.augmenter else batch


NO_CHANGES = Changes()


def make_changes(
    augment: AugmentConfig,
    context: ContextConfig,
    *,
    seed: int,
    max_duration_s: float,
    max_target_tokens: int,
    slotted: float = 1.0,
) -> Changes:
    """Open noises, rooms and term lists.

    Args:
        seed: of the run; with epoch and utterance it decides every draw.
        max_duration_s, max_target_tokens: what a joined or lengthened clip may have at most.
        slotted: share of the words of a clip that have slots, of an aligner.

    Raises:
        UserError: a noise, a room or a term list is not there, or cannot be used.
    """
    return Changes(
        make_augmenter(augment, seed=seed, max_duration_s=max_duration_s, max_target_tokens=max_target_tokens),
        make_context_drawer(context, seed=seed),
        SlotDrawer(slotted, seed) if slotted < 1 else None,
    )
