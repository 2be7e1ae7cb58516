"""Owns what a noise suite does to a clip: rooms and noises at given ratios, the same for a clip on every machine.

Input: `NoiseConditionsConfig`. Output: `Condition`s, each of which makes another set of every set of a suite; their names.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qasr_train.audio.decode import load_audio
from qasr_train.augment.acoustics import SILENT_POWER, mean_power, mix_noise, reverberate
from qasr_train.augment.sounds import Sound, open_sounds, read_stretch
from qasr_train.augment.variants import utterance_rng
from qasr_train.errors import AudioError
from qasr_train.evaluation.settings import NoiseConditionsConfig
from qasr_train.manifest import Utterance

_NUM_DRAWS = 8  # until a stretch of noise is found that is not silent
_NAME = re.compile(r"(?P<base>.+)@(?:clean|(?P<room>room)?\+?(?:(?P<snr_db>-?\d+(?:\.\d+)?)dB)?)")


@dataclass(frozen=True)
class Condition:
    """One way all clips of a set are changed.

    snr_db: decibels; None: no noise. has_room: heard in a room, before noise is added.
    noises, rooms: recordings to draw from. seed: of the draws.
    """

    snr_db: float | None = None
    has_room: bool = False
    noises: Sequence[Sound] = field(default=(), repr=False)
    rooms: Sequence[Sound] = field(default=(), repr=False)
    seed: int = 0

    def set_name(self, base: str) -> str:
        """What a set is called under this condition: digits@clean, digits@10dB, digits@room, digits@room+10dB."""
        parts = ["room"] if self.has_room else []
        parts += [] if self.snr_db is None else [f"{self.snr_db:g}dB"]
        return f"{base}@{'+'.join(parts) or 'clean'}"

    def apply(self, waveform: np.ndarray, utterance: Utterance) -> np.ndarray:
        """The clip under this condition, float32 [S], as long as before.

        What is drawn depends on the seed and the utterance's id alone: every ratio has the same stretch of the same noise.
        A clip that is itself silent stays so, as no ratio is defined for it.

        Raises:
            AudioError: a noise or an impulse response cannot be decoded, or is silent wherever it was tried.
        """
        if self.has_room:
            rng = utterance_rng(self.seed, 0, utterance, "suite-room")
            room = self.rooms[int(rng.integers(len(self.rooms)))]
            channel = int(rng.integers(room.num_channels))
            waveform = reverberate(waveform, load_audio(room.path, channel=channel, name="suite.noise.rooms"))
        if self.snr_db is None:
            return waveform
        rng = utterance_rng(self.seed, 0, utterance, "suite-noise")
        return mix_noise(waveform, self._draw_noise(len(waveform), rng), self.snr_db, rng)

    def digest(self) -> str:
        """Of what decides the sound: settings, names and sizes of the recordings; so that resuming notices a changed folder."""
        used = [*(self.noises if self.snr_db is not None else []), *(self.rooms if self.has_room else [])]
        files = [(sound.name, Path(sound.path).stat().st_size) for sound in used]
        return hashlib.sha256(repr((self.snr_db, self.has_room, self.seed, files)).encode()).hexdigest()[:16]

    def _draw_noise(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        for _ in range(_NUM_DRAWS):
            sound = self.noises[int(rng.integers(len(self.noises)))]
            stretch = read_stretch(sound, num_samples, rng)
            if mean_power(stretch) >= SILENT_POWER:
                return stretch
        raise AudioError(
            f"suite.noise.files: {_NUM_DRAWS} stretches of noise in a row are silent, the last of {sound.path}; leave such "
            "recordings out"
        )


def conditions(config: NoiseConditionsConfig) -> list[Condition]:
    """Every condition of a config, clean first, then by falling ratio, then the same in a room; [] where it is off.

    Raises:
        DataError: a path names no recording, or one that cannot be opened.
    """
    if config.files is None and config.rooms is None:
        return []
    noises = open_sounds(config.files, "suite.noise.files") if config.files is not None else []
    rooms = open_sounds(config.rooms, "suite.noise.rooms") if config.rooms is not None else []
    ratios: list[float | None] = [None, *(sorted(config.snrs_db, reverse=True) if noises else [])]
    return [
        Condition(snr_db, has_room, noises, rooms, config.seed)
        for has_room in ((False, True) if rooms else (False,))
        for snr_db in ratios
    ]


def parse_set_name(name: str) -> tuple[str, float | None, bool] | None:
    """(set, decibels or None, in a room?) of a name that `Condition.set_name` gave; None for any other."""
    match = _NAME.fullmatch(name)
    if match is None or name.endswith(("@", "+")):
        return None
    snr_db = match["snr_db"]
    return match["base"], None if snr_db is None else float(snr_db), match["room"] is not None
