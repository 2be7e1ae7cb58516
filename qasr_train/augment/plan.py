"""Owns the augmentation that changes which clips an epoch holds, or how long they are: speed, joining, silence.

Input: the utterances a source gives an epoch. Output: what is planned and batched instead, with true durations. Opens no audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qasr_train.augment.settings import JoinConfig, SilenceConfig, SpeedConfig
from qasr_train.augment.variants import (
    NO_AUDIO,
    Variant,
    VariedUtterances,
    copy_of,
    uniforms,
    utterance_rng,
    utterance_uniform,
    vary,
)
from qasr_train.manifest import Utterance
from qasr_train.sources.table import Joined, durations_of
from qasr_train.text.alternatives.notation import first_spelling

UNSPACED = ("Chinese", "Cantonese", "Japanese")  # sentences stand side by side; Thai has a space between them


@dataclass(frozen=True)
class PlanLimits:
    """What no clip may pass: seconds, and target tokens, of which a transcript has at most one a byte."""

    max_duration_s: float
    max_target_tokens: int


def draw_speeds(
    utterances: Sequence[Utterance], config: SpeedConfig, limits: PlanLimits, *, seed: int, epoch: int
) -> Sequence[Utterance]:
    """A share of the clips faster or slower; one that would pass the limit of length stays as it is."""
    if not config.probability:
        return utterances
    drawn = uniforms(seed, epoch, utterances, "speed") / config.probability
    factors = np.ones(len(utterances))
    is_drawn = drawn < 1.0
    factors[is_drawn] = np.array(config.factors)[(drawn[is_drawn] * len(config.factors)).astype(np.int64)]
    durations_s = durations_of(utterances)
    factors[durations_s / factors > limits.max_duration_s] = 1.0
    return VariedUtterances(utterances, factors, durations_s / factors, _at_speed)


def _at_speed(utterance: Utterance, factor: float, duration_s: float) -> Utterance:
    return utterance if factor == 1.0 else vary(utterance, speed=factor, duration_s=duration_s)


def join_clips(
    utterances: Sequence[Utterance], config: JoinConfig, limits: PlanLimits, *, seed: int, epoch: int
) -> Sequence[Utterance]:
    """Some clips joined with the next ones of their language and speaker, in the order of the epoch; none is lost.

    A clip without speech stays alone: its target does not join. So does one that was cut: nothing follows what broke off.
    """
    if not config.probability:
        return utterances
    longest_s = min(config.max_duration_s or limits.max_duration_s, limits.max_duration_s)
    done: list[Utterance] = []
    open_clips: dict[tuple[str | None, str | None], _OpenClip] = {}
    for utterance in utterances:
        group = (utterance.language, utterance.speaker)
        clip = open_clips.get(group)
        if not (utterance.text or "").strip() or _is_prefix(utterance):
            done.append(utterance)
        elif clip is not None and clip.takes(utterance):
            clip.add(utterance)
        elif utterance_uniform(seed, epoch, utterance, "join") < config.probability:
            if clip is not None:
                done.append(clip.close())
            rng = utterance_rng(seed, epoch, utterance, "join length")
            open_clips[group] = _OpenClip(utterance, longest_s, limits.max_target_tokens, config.max_gap_s, rng)
        else:
            done.append(utterance)
    return done + [clip.close() for clip in open_clips.values()]


def _is_prefix(utterance: Utterance) -> bool:
    return isinstance(utterance, Variant) and utterance.is_prefix


class _OpenClip:
    """A joined clip that still takes others."""

    def __init__(
        self, first: Utterance, longest_s: float, max_bytes: int, max_gap_s: float, rng: np.random.Generator
    ) -> None:
        self.parts, self.gaps_s = [first], list[float]()
        self.aim_s = float(rng.uniform(0.0, longest_s))
        self.longest_s, self.max_bytes, self.max_gap_s, self.rng = longest_s, max_bytes, max_gap_s, rng
        self.next_gap_s = self._draw_gap()

    @property
    def duration_s(self) -> float:
        return sum(part.duration_s or 0.0 for part in self.parts) + sum(self.gaps_s)

    def takes(self, utterance: Utterance) -> bool:
        if len(self.parts) > 1 and self.duration_s >= self.aim_s:
            return False
        num_bytes = sum(len((part.text or "").encode()) + 1 for part in (*self.parts, utterance)) + 16
        grown_s = self.duration_s + self.next_gap_s + (utterance.duration_s or 0.0)
        return grown_s <= self.longest_s and num_bytes <= self.max_bytes

    def add(self, utterance: Utterance) -> None:
        self.parts.append(utterance)
        self.gaps_s.append(self.next_gap_s)
        self.next_gap_s = self._draw_gap()

    def _draw_gap(self) -> float:
        return round(float(self.rng.uniform(0.0, self.max_gap_s)), 3)

    def close(self) -> Utterance:
        if len(self.parts) == 1:
            return self.parts[0]
        first = self.parts[0]
        contexts = dict.fromkeys(part.context for part in self.parts if part.context)
        return vary(
            first,
            id=f"{first.id}+{len(self.parts) - 1}",
            text=("" if first.language in UNSPACED else " ").join(
                first_spelling(part.text or "").strip() for part in self.parts
            ),
            duration_s=self.duration_s,
            context="\n".join(contexts) or first.context,
            speed=1.0,
            copy=max(copy_of(part) for part in self.parts),
            parts=tuple(self.parts),
            gaps_s=tuple(self.gaps_s),
        )


def add_silence(
    utterances: Sequence[Utterance], config: SilenceConfig, limits: PlanLimits, *, source: str, seed: int, epoch: int
) -> Sequence[Utterance]:
    """The utterances and, after them, clips without speech, as many as make up the share asked for."""
    num_added = round(len(utterances) * config.share / (1.0 - config.share))
    longest_s = min(config.max_duration_s, limits.max_duration_s)
    shortest_s = min(config.min_duration_s, longest_s)
    added: list[Utterance] = []
    for number in range(num_added):
        name = f"silence-{source}-{number}"
        clip = Variant(id=name, audio=NO_AUDIO, text="", origin="augment.silence", is_silence=True)
        rng = utterance_rng(seed, epoch, clip, "silence length")
        added.append(vary(clip, duration_s=round(float(rng.uniform(shortest_s, longest_s)), 3)))
    return Joined([utterances, added]) if added else utterances
