"""Text to 16 kHz speech with eSpeak NG, driven by ctypes (500-900 times real time on one core).

Owns the list of timbres, and which of them no training ever uses.  In: text, voice, rate, pitch.  Out: float32 samples, and
when each word was said, which eSpeak tells while it speaks.
eSpeak NG is GPL-3-or-later: it is an optional extra, imported here only when a `Synthesizer` is made, and never shipped.
Its output is NOT bit-exact inside one process (the wave generator keeps state): never compare hashes of audio.
"""

import ctypes
import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

SAMPLE_RATE_HZ = 16_000

# Every timbre ("variant") of eSpeak NG 1.52 except joke voices that are hard even for people, and "rob", which
# crashes the library (segmentation fault on some Spanish words).
ALL_TIMBRES = (
    "Alex Alicia Andrea Andy Annie AnxiousAndy Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Mike "
    "Nguyen Reed RicishayMax RicishayMax2 RicishayMax3 Storm Tweaky UniRobot adam anika announcer antonio aunty belinda "
    "benjamin boris caleb david ed edward edward2 f1 f2 f3 f4 f5 grandma grandpa gustave ian iven iven2 iven3 iven4 john "
    "kaukovalta klatt klatt2 klatt3 klatt4 klatt5 klatt6 linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel mike2 "
    "norbert pablo paul pedro quincy robert robosoft robosoft2 robosoft3 robosoft4 robosoft5 robosoft6 robosoft7 "
    "robosoft8 sandro shelby steph steph2 steph3 travis victor whisper zac"
).split()

# Never heard in training: five named after women and seven after men, spread over the makers of the variants.
HELD_OUT_TIMBRES = "f5 Annie belinda linda shelby m4 m7 adam Hugo michel victor klatt4".split()
TRAINED_TIMBRES = [name for name in ALL_TIMBRES if name not in HELD_OUT_TIMBRES]

# eSpeak language names per language, as the model names them; several accents where eSpeak has them.
ACCENTS = {
    "English": ["en-us", "en-us", "en", "en-gb-x-rp", "en-gb-scotland", "en-029"],
    "German": ["de"],
    "Spanish": ["es", "es-419"],
    "French": ["fr", "fr-be", "fr-ch"],
    "Italian": ["it"],  # of scripts/aligner/italian.py alone
}

# Training and test settings never coincide: rates in words a minute and pitches (0..99) are on two shifted grids.
TRAINED_RATES_WPM = range(110, 201, 10)
HELD_OUT_RATES_WPM = range(125, 196, 10)
TRAINED_PITCHES = range(15, 86, 10)
HELD_OUT_PITCHES = range(20, 81, 10)

_SYNCHRONOUS_OUTPUT = 2
_DO_NOT_EXIT_ON_ERROR = 0x8000
_UTF8 = 1
_RATE, _PITCH, _PITCH_RANGE, _WORD_GAP = 1, 3, 4, 7
_TELL_PHONEMES = 1
_NO_MORE_EVENTS, _WORD, _SENTENCE_END, _PHONEME = 0, 1, 5, 7
_PAUSES = (b"_", b"_:", b"_::", b"_!")  # what eSpeak calls phonemes of silence


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h; text_position counts characters from 1, audio_position milliseconds."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Delivery:
    """How one sentence is spoken: an eSpeak voice ("en-us+f3"), words a minute, and eSpeak's 0..99 pitch settings."""

    voice: str
    rate_wpm: int
    pitch: int
    pitch_range: int


@dataclass(frozen=True)
class Speech:
    """What was spoken, and when.

    samples: [S] float32 at 16 kHz in -1..1.  starts_s, ends_s: of each word of the text as spaces cut it, seconds; None where
    eSpeak says it in one with its neighbour ("of the"), so that nobody can tell.
    """

    samples: np.ndarray
    starts_s: tuple[float | None, ...]
    ends_s: tuple[float | None, ...]


class Synthesizer:
    """eSpeak NG in this process.  It has global state in C, so make one a process and never share it over threads."""

    def __init__(self, data: Path | None = None) -> None:
        """data: eSpeak's data directory; None is the one of the package."""
        self._library = _load_library()
        self._pieces: list[np.ndarray] = []
        self._events: list[tuple[int, int, float, bytes]] = []  # (type, text position, seconds, name)
        self._callback = _SYNTH_CALLBACK(self._collect)  # kept: C holds only a bare pointer to it
        self._native_rate_hz = self._library.espeak_Initialize(
            _SYNCHRONOUS_OUTPUT,
            0,
            str(data or data_directory()).encode(),
            _DO_NOT_EXIT_ON_ERROR | _TELL_PHONEMES,
        )
        if self._native_rate_hz <= 0:
            raise ValueError("eSpeak NG could not start: reinstall it with pip install 'qasr_train[demo]'")
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, delivery: Delivery) -> np.ndarray:
        """Returns [S] float32 at 16 kHz in -1..1, silence at both ends cut to 10 ms."""
        return self.speak_timed(text, delivery).samples

    def speak_timed(self, text: str, delivery: Delivery) -> Speech:
        """The same with the times of the words."""
        library = self._library
        if library.espeak_SetVoiceByName(delivery.voice.encode()) != 0:
            raise ValueError(f"eSpeak NG has no voice {delivery.voice!r}")
        for parameter, value in (
            (_RATE, delivery.rate_wpm),
            (_PITCH, delivery.pitch),
            (_PITCH_RANGE, delivery.pitch_range),
            (_WORD_GAP, 0),
        ):
            library.espeak_SetParameter(parameter, value, 0)
        encoded = text.encode() + b"\0"
        self._pieces.clear()
        self._events.clear()
        library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _UTF8, None, None)
        library.espeak_Synchronize()
        if not self._pieces:
            raise ValueError(f"eSpeak NG made no sound for {text!r} with voice {delivery.voice!r}")
        samples = np.concatenate(self._pieces).astype(np.float32) / 32768.0
        trimmed, cut_samples = _trim(soxr.resample(samples, self._native_rate_hz, SAMPLE_RATE_HZ, quality="MQ"))
        starts_s, ends_s = _word_times(text, self._events, cut_samples / SAMPLE_RATE_HZ, len(trimmed) / SAMPLE_RATE_HZ)
        return Speech(trimmed, starts_s, ends_s)

    def _collect(self, wav: object, num_samples: int, events: object) -> int:
        if wav and num_samples > 0:
            self._pieces.append(np.ctypeslib.as_array(wav, shape=(num_samples,)).copy())
        for event in events:  # a pointer: endless but for its own end
            if event.type == _NO_MORE_EVENTS:
                break
            self._events.append((event.type, event.text_position, event.audio_position / 1000, event.name))
        return 0


def draw_delivery(language: str, timbres: Sequence[str], is_held_out: bool, rng: random.Random) -> Delivery:
    """A random voice of `language` from `timbres`; rate and pitch from the held-out grid or the training grid."""
    rates = HELD_OUT_RATES_WPM if is_held_out else TRAINED_RATES_WPM
    pitches = HELD_OUT_PITCHES if is_held_out else TRAINED_PITCHES
    return Delivery(
        voice=f"{rng.choice(ACCENTS[language])}+{rng.choice(timbres)}",
        rate_wpm=rng.choice(rates),
        pitch=rng.choice(pitches),
        pitch_range=rng.choice((20, 35, 50, 65, 80)),
    )


def require_espeak() -> None:
    """Raises ValueError naming the extra to install when the optional package is missing."""
    try:
        import espeakng_loader  # noqa: F401
    except ImportError:
        raise ValueError(
            "synthesising speech needs the package espeakng-loader: pip install 'qasr_train[demo]'"
        ) from None


def data_directory() -> Path:
    """eSpeak's data as installed: dictionaries, and `voices/!v` with a file a timbre."""
    import espeakng_loader

    return Path(espeakng_loader.get_data_path())


def _load_library() -> ctypes.CDLL:
    """The C library with every argument type given: a `size_t` passed as an int crashes on 64-bit machines."""
    require_espeak()
    import espeakng_loader

    library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    c_int, c_uint, c_char_p, c_void_p = ctypes.c_int, ctypes.c_uint, ctypes.c_char_p, ctypes.c_void_p
    argument_types: dict[str, list[type]] = {
        "espeak_Initialize": [c_int, c_int, c_char_p, c_int],
        "espeak_SetSynthCallback": [_SYNTH_CALLBACK],
        "espeak_SetVoiceByName": [c_char_p],
        "espeak_SetParameter": [c_int, c_int, c_int],
        "espeak_Synth": [c_char_p, ctypes.c_size_t, c_uint, c_int, c_uint, c_uint, ctypes.POINTER(c_uint), c_void_p],
        "espeak_Synchronize": [],
    }
    for name, types in argument_types.items():
        function: Callable[..., int] = getattr(library, name)
        function.argtypes = types
        function.restype = None if name == "espeak_SetSynthCallback" else c_int
    return library


def _word_times(
    text: str, events: Sequence[tuple[int, int, float, bytes]], cut_s: float, duration_s: float
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """(starts, ends) of the words of `text` in seconds after the first `cut_s`; as `Speech` has them.

    A word ends where a pause or the next word begins.  What eSpeak says in one with the word before it has no event.
    """
    begins: dict[int, float] = {}  # position in the text -> when the word there begins
    borders: list[tuple[float, bool]] = []  # (when, whether it is a pause or the end that begins there)
    for kind, position, at_s, name in events:
        if kind == _WORD:
            begins.setdefault(position - 1, at_s)
            borders.append((at_s, False))
        elif kind == _SENTENCE_END or (kind == _PHONEME and name in _PAUSES):
            borders.append((at_s, True))

    def kept(at_s: float | None) -> float | None:
        return None if at_s is None else min(duration_s, max(0.0, at_s - cut_s))

    words = [match.start() for match in re.finditer(r"\S+", text)]
    starts = [begins.get(place) for place in words]
    ends: list[float | None] = []
    for start, following in zip(starts, [*starts[1:], math.inf], strict=True):
        after = [border for border in borders if start is not None and border[0] > start]
        is_pause = bool(after) and after[0][1]
        ends.append(after[0][0] if after and (following is not None or is_pause) else None)
    return tuple(map(kept, starts)), tuple(map(kept, ends))


def _trim(samples: np.ndarray, threshold: float = 0.004, margin_samples: int = 160) -> tuple[np.ndarray, int]:
    """[S] -> [S'] float32 without the near-silence that eSpeak puts around a sentence (up to 0.3 s), samples cut in front."""
    loud = np.flatnonzero(np.abs(samples) > threshold)
    if loud.size == 0:
        return samples, 0
    first = max(0, int(loud[0]) - margin_samples)
    return samples[first : loud[-1] + margin_samples], first
