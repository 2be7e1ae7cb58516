"""Owns what is drawn for a clip in an epoch (how often a noise, at which ratio, which room, which codec), and when it is applied.

Input: `AugmentConfig`. Output: `Augmenter`, at three moments: the plan of an epoch, a recording in a loader worker, the features
of a batch. What is drawn is a function of (run seed, epoch, utterance) alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qasr_train.augment.plan import PlanLimits, add_silence, draw_speeds, join_clips
from qasr_train.augment.prefixes import draw_prefixes
from qasr_train.augment.settings import AugmentConfig
from qasr_train.augment.sounds import Sound, open_sounds
from qasr_train.augment.spectrum import Mask, cover, draw_masks
from qasr_train.augment.variants import Variant, utterance_rng
from qasr_train.augment.waveform import Background, Change, Gain, Noise, Reverb, Telephone, draw_sound
from qasr_train.batch import Batch, Recording
from qasr_train.manifest import Utterance


@dataclass(frozen=True)
class Augmenter:
    """Applies an `AugmentConfig`; picklable, holds no state that changes.

    seed: of the run. limits: of length. noises, rooms: recordings to draw from, empty where not used.
    """

    config: AugmentConfig
    seed: int
    limits: PlanLimits
    noises: Sequence[Sound] = ()
    rooms: Sequence[Sound] = ()

    def plan(self, utterances: Sequence[Utterance], epoch: int, *, source: str) -> Sequence[Utterance]:
        """What a source gives an epoch instead: clips sped up, cut, joined and added, with the durations they will have."""
        config, limits, seed = self.config, self.limits, self.seed
        sped = draw_speeds(utterances, config.speed, limits, seed=seed, epoch=epoch)
        cut = draw_prefixes(sped, config.prefix, drawn_of=utterances, seed=seed, epoch=epoch)
        utterances = join_clips(cut, config.join, limits, seed=seed, epoch=epoch)
        return add_silence(utterances, config.silence, limits, source=source, seed=seed, epoch=epoch)

    def recording(self, recording: Recording, epoch: int) -> Recording:
        """The recording with its waveform changed; runs in a loader worker.

        Raises:
            AudioError: a noise or impulse response cannot be decoded any more.
        """
        waveform = recording.waveform
        for change in self.changes(recording.utterance, epoch):
            waveform = change(waveform)
        return replace(recording, waveform=waveform)

    def features(self, batch: Batch, utterances: Sequence[Utterance], epoch: int) -> Batch:
        """The batch with parts of its features covered up, in place; `utterances` are its rows."""
        for row, utterance in enumerate(utterances):
            num_frames = int(batch.input_features_mask[row].sum())
            masks = self.masks(utterance, epoch, num_frames=num_frames, num_bins=batch.input_features.shape[1])
            if masks:
                cover(batch.input_features[row, :, :num_frames], masks)
        return batch

    def changes(self, utterance: Utterance, epoch: int) -> list[Change]:
        """What is drawn for the sound of an utterance, in the order it is applied."""
        config, changes = self.config, list[Change]()
        if isinstance(utterance, Variant) and utterance.is_silence:
            changes.append(self._background(self._rng(utterance, epoch, "silence")))
        else:
            rng = self._rng(utterance, epoch, "reverb")
            if rng.uniform() < config.reverb.probability:
                room = draw_sound(self.rooms, rng)
                changes.append(Reverb(room, int(rng.integers(room.num_channels))))
            rng = self._rng(utterance, epoch, "noise")
            if rng.uniform() < config.noise.probability:
                snr_db = float(rng.uniform(config.noise.min_snr_db, config.noise.max_snr_db))
                changes.append(Noise(draw_sound(self.noises, rng), snr_db, int(rng.integers(2**63))))
        rng = self._rng(utterance, epoch, "gain")
        if rng.uniform() < config.gain.probability:
            changes.append(Gain(float(rng.uniform(config.gain.min_db, config.gain.max_db))))
        rng = self._rng(utterance, epoch, "telephone")
        if rng.uniform() < config.telephone.probability:
            changes.append(Telephone(config.telephone.codecs[int(rng.integers(len(config.telephone.codecs)))]))
        return changes

    def masks(self, utterance: Utterance, epoch: int, *, num_frames: int, num_bins: int) -> list[Mask]:
        """What is drawn for the features of an utterance."""
        rng = self._rng(utterance, epoch, "spec_augment")
        return draw_masks(self.config.spec_augment, num_frames=num_frames, num_bins=num_bins, rng=rng)

    def describe(self, utterance: Utterance, epoch: int, *, num_frames: int, num_bins: int) -> list[str]:
        """Everything done to an utterance in an epoch, name and drawn values, in the order it is done."""
        said: list[str] = []
        if isinstance(utterance, Variant) and utterance.parts:
            gaps_s = " ".join(f"{gap_s:.2f}" for gap_s in utterance.gaps_s)
            said.append(f"joined {len(utterance.parts)} clips, gaps {gaps_s} s{_speeds(utterance.parts)}")
        elif isinstance(utterance, Variant) and utterance.speed != 1.0:
            said.append(f"speed {utterance.speed:g}")
        if isinstance(utterance, Variant) and utterance.is_prefix:
            said.append(f"cut at {utterance.duration_s:g} s, {len(utterance.words)} words said")
        said += [str(change) for change in self.changes(utterance, epoch)]
        masks = self.masks(utterance, epoch, num_frames=num_frames, num_bins=num_bins)
        return said + [str(mask) for mask in masks]

    def _background(self, rng: np.random.Generator) -> Background:
        silence = self.config.silence
        is_recorded = bool(self.noises) and rng.uniform() < 0.5
        level_db = float(rng.uniform(silence.min_level_db, silence.max_level_db))
        sound = draw_sound(self.noises, rng) if is_recorded else None
        return Background(sound, level_db, int(rng.integers(2**63)))

    def _rng(self, utterance: Utterance, epoch: int, purpose: str) -> np.random.Generator:
        return utterance_rng(self.seed, epoch, utterance, purpose)


def make_augmenter(
    config: AugmentConfig, *, seed: int, max_duration_s: float, max_target_tokens: int
) -> Augmenter | None:
    """The augmenter of a run, or None where nothing is switched on; noises and impulse responses are checked.

    Raises:
        DataError: a path of `augment.noise` or `augment.reverb` that is nothing, holds nothing, or holds what cannot be opened.
    """
    if not config.is_on:
        return None
    is_noisy = config.noise.probability > 0 or config.silence.share > 0
    noises, rooms = list[Sound](), list[Sound]()
    if is_noisy and config.noise.path:
        noises = open_sounds(config.noise.path, "augment.noise.path")
    if config.reverb.probability and config.reverb.path:
        rooms = open_sounds(config.reverb.path, "augment.reverb.path")
    return Augmenter(config, seed, PlanLimits(max_duration_s, max_target_tokens), noises, rooms)


def _speeds(parts: Sequence[Utterance]) -> str:
    speeds = [part.speed if isinstance(part, Variant) else 1.0 for part in parts]
    return f", speeds {' '.join(f'{speed:g}' for speed in speeds)}" if set(speeds) != {1.0} else ""
