"""What the base model is trained on: a plan of utterances, synthesised once into one file and read from it at random.

A plan is a list of `Clip`s, fixed by its seed.  The audio file holds int16 samples of all clips end to end
(memory-mapped: 60,000 clips are about 3 GB).
"""

import json
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from scripts.demo.corpus import draw_digits, draw_pseudo_words, draw_sentence, draw_words
from scripts.demo.synthesis import (
    HELD_OUT_TIMBRES,
    TRAINED_TIMBRES,
    Delivery,
    Synthesizer,
    draw_delivery,
)
from scripts.demo.vocabulary import LANGUAGES

_LANGUAGE_SHARES = (0.34, 0.22, 0.22, 0.22)  # English first: fine-tuning on English follows most often
_process_synthesizer: Synthesizer | None = None


@dataclass(frozen=True)
class Clip:
    """One utterance to synthesise: its text, its language by name, and how it is spoken."""

    text: str
    language: str
    delivery: Delivery


@dataclass(frozen=True)
class ClipStore:
    """Synthesised clips on disk.  `samples` is [all samples] int16, clip i is samples[offsets[i]:offsets[i + 1]]."""

    clips: list[Clip]
    samples: np.ndarray
    offsets: np.ndarray

    def audio(self, index: int) -> np.ndarray:
        """[S] float32 in -1..1 of clip `index`."""
        return self.samples[self.offsets[index] : self.offsets[index + 1]].astype(np.float32) / 32768.0

    def num_samples(self, index: int) -> int:
        """Length of clip `index` in samples."""
        return int(self.offsets[index + 1] - self.offsets[index])


def plan_short_clips(num_clips: int, seed: int) -> list[Clip]:
    """One or two real words each, for the stage that learns to align sound and spelling."""
    rng = random.Random(seed)
    clips = []
    for _ in range(num_clips):
        language, num_words = _draw_language(rng), rng.choice((1, 1, 2))
        draw = rng.choices((draw_words, draw_digits), (85, 15))[0]
        text = draw(language, num_words, rng)
        clips.append(Clip(text, language, draw_delivery(language, TRAINED_TIMBRES, False, rng)))
    return clips


def plan_training_clips(num_clips: int, seed: int, timbres: Sequence[str] = TRAINED_TIMBRES) -> list[Clip]:
    """The main mixture: sentences, words in random order, digits, and words that do not exist."""
    rng = random.Random(seed)
    clips = []
    for _ in range(num_clips):
        language, draw = _draw_language(rng), rng.random()
        if draw < 0.50:
            text = draw_sentence(language, rng, held_out=False)
        elif draw < 0.72:
            text = draw_words(language, rng.choices((1, 2, 3, 4, 5, 7), (15, 20, 25, 20, 14, 6))[0], rng)
        elif draw < 0.82:
            text = draw_digits(language, rng.choices((1, 2, 3, 5), (50, 20, 20, 10))[0], rng)
        else:
            text = draw_pseudo_words(language, rng.choices((1, 2, 3, 4), (35, 35, 20, 10))[0], rng)
        clips.append(Clip(text, language, draw_delivery(language, timbres, False, rng)))
    return clips


def plan_test_clips(num_clips_per_language: int, seed: int, is_timbre_held_out: bool) -> list[Clip]:
    """Held-out sentences at held-out rates and pitches, with trained timbres or with timbres never trained on."""
    rng = random.Random(seed)
    timbres = HELD_OUT_TIMBRES if is_timbre_held_out else TRAINED_TIMBRES
    clips = []
    for language in LANGUAGES:
        for _ in range(num_clips_per_language):
            text = draw_sentence(language, rng, held_out=True)
            clips.append(Clip(text, language, draw_delivery(language, timbres, True, rng)))
    return clips


def synthesise_store(clips: list[Clip], path: Path, num_processes: int, voices: Path | None = None) -> ClipStore:
    """Speaks every clip into `path`.int16 and opens the result; an existing file of the same plan is used again.

    voices: eSpeak's data with more voices (voices.py); None is the data as installed.
    """
    audio_path, offsets_path, plan_path = (path.with_suffix(suffix) for suffix in (".int16", ".npy", ".json"))
    plan = json.dumps([asdict(clip) for clip in clips])
    if not plan_path.exists() or plan_path.read_text() != plan:
        lengths = []
        # Not multiprocessing.Pool: that waits for ever when the C library kills a worker; this raises.
        pool = ProcessPoolExecutor(num_processes, initializer=_start_synthesizer, initargs=(voices,))
        with pool, audio_path.open("wb") as audio_file:
            for samples in pool.map(speak_clip, clips, chunksize=64):
                audio_file.write(samples.tobytes())
                lengths.append(len(samples))
        np.save(offsets_path, np.concatenate([[0], np.cumsum(lengths)]))
        plan_path.write_text(plan)
    return ClipStore(clips, np.memmap(audio_path, np.int16, "r"), np.load(offsets_path))


def speak_clip(clip: Clip) -> np.ndarray:
    """[S] int16 at 16 kHz.  Makes this process's synthesizer at the first call (eSpeak's state is per process)."""
    if _process_synthesizer is None:
        _start_synthesizer()
    samples = _process_synthesizer.speak(clip.text, clip.delivery)
    return (np.clip(samples, -1, 1) * 32767).astype(np.int16)


def _start_synthesizer(voices: Path | None = None) -> None:
    global _process_synthesizer
    _process_synthesizer = Synthesizer(voices)


def _draw_language(rng: random.Random) -> str:
    return rng.choices(LANGUAGES, _LANGUAGE_SHARES)[0]
