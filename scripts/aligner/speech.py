"""Speech whose word times are known: eSpeak NG tells them while it speaks, and sentences are joined to longer clips.

In: a plan of clips (scripts/demo/clips.py) and a seed.  Out: `TimedClip`s, samples with their words and times.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.demo.clips import Clip
from scripts.demo.distortion import add_noise, set_peak, shift_timbre
from scripts.demo.synthesis import SAMPLE_RATE_HZ, Synthesizer


@dataclass(frozen=True)
class TimedClip:
    """samples: [S] float32 at 16 kHz.  words, starts_s, ends_s: in order, seconds; None where eSpeak does not tell."""

    samples: np.ndarray
    language: str
    words: tuple[str, ...]
    starts_s: tuple[float | None, ...]
    ends_s: tuple[float | None, ...]

    @property
    def duration_s(self) -> float:
        """Seconds of samples."""
        return len(self.samples) / SAMPLE_RATE_HZ

    @property
    def text(self) -> str:
        """The words with spaces between."""
        return " ".join(self.words)


def speak_clips(clips: Sequence[Clip], voices: Path | None = None) -> list[TimedClip]:
    """Speak a plan.  voices: eSpeak's data with more voices (scripts/demo/voices.py); None is the data as installed."""
    synthesizer, spoken = Synthesizer(voices), []
    for clip in clips:
        speech = synthesizer.speak_timed(clip.text, clip.delivery)
        words = tuple(clip.text.split())
        spoken.append(TimedClip(speech.samples, clip.language, words, speech.starts_s, speech.ends_s))
    return spoken


def stretch(clip: TimedClip, rng: np.random.Generator) -> TimedClip:
    """Slower and lower, or faster and higher, with its times."""
    samples = shift_timbre(clip.samples, rng)
    factor = len(samples) / max(1, len(clip.samples))
    starts_s, ends_s = ([None if at is None else at * factor for at in times] for times in (clip.starts_s, clip.ends_s))
    return TimedClip(samples, clip.language, clip.words, tuple(starts_s), tuple(ends_s))


def join(clips: Sequence[TimedClip], pauses_s: Sequence[float]) -> TimedClip:
    """One after the other.  pauses_s: silence before each of them and after the last, one more than there are clips."""
    pieces, words = [], []
    starts_s: list[float | None] = []
    ends_s: list[float | None] = []
    at = 0
    for clip, pause_s in zip(clips, pauses_s, strict=False):
        silence = np.zeros(int(pause_s * SAMPLE_RATE_HZ), np.float32)
        pieces += [silence, clip.samples]
        at_s = (at + len(silence)) / SAMPLE_RATE_HZ
        starts_s += [None if one is None else one + at_s for one in clip.starts_s]
        ends_s += [None if one is None else one + at_s for one in clip.ends_s]
        words += clip.words
        at += len(silence) + len(clip.samples)
    pieces.append(np.zeros(int(pauses_s[-1] * SAMPLE_RATE_HZ), np.float32))
    return TimedClip(np.concatenate(pieces), clips[0].language, tuple(words), tuple(starts_s), tuple(ends_s))


def draw_joined(
    clips: Sequence[TimedClip], longest_s: float, seed: int, *, is_distorted: bool = True
) -> Iterator[TimedClip]:
    """Endless clips of up to `longest_s`, of sentences drawn at random with silence around and between them.

    is_distorted: half of the sentences stretched, half of the clips under noise, all of another loudness.
    """
    rng, drawn = np.random.default_rng(seed), random.Random(seed)
    while True:
        target_s, chosen, pauses_s, length_s = drawn.uniform(0.12, 1.0) * longest_s, [], [_pause_s(drawn)], 0.0
        while True:
            clip = drawn.choice(clips)
            clip = stretch(clip, rng) if is_distorted and drawn.random() < 0.4 else clip
            pause_s = _pause_s(drawn)
            if length_s + clip.duration_s + pause_s + pauses_s[0] > (target_s if chosen else longest_s):
                break
            chosen.append(clip)
            pauses_s.append(pause_s)
            length_s += clip.duration_s + pause_s
        if not chosen:
            continue
        joined = join(chosen, pauses_s)
        yield _under_noise(joined, rng) if is_distorted else joined


def _pause_s(rng: random.Random) -> float:
    return rng.uniform(0.0, 0.15) if rng.random() < 0.4 else rng.uniform(0.1, 1.2)


def _under_noise(clip: TimedClip, rng: np.random.Generator) -> TimedClip:
    samples = add_noise(clip.samples, rng.uniform(8, 40), rng) if rng.random() < 0.5 else clip.samples
    samples = set_peak(samples, peak_db=rng.uniform(-20, -0.5))
    return TimedClip(samples, clip.language, clip.words, clip.starts_s, clip.ends_s)
