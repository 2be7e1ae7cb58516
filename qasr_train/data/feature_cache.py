"""Owns the cache of features on disk: what was computed for a clip once is read from then on. Optional, off by default.

Input: utterances and the arrays made of them. Output: the same arrays in half precision. One file a clip, written beside and
renamed, so that any number of processes may share a folder. It holds features of speech: as confidential as the audio.
"""

import fcntl
import hashlib
import logging
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from qasr_train.audio.arrow import arrow_file
from qasr_train.audio.decode import DECODING_VERSION
from qasr_train.batch import FailedAudio, Precomputed, Recording
from qasr_train.data.settings import CacheConfig
from qasr_train.data.workers import load_recording, load_recordings
from qasr_train.errors import ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.models.base import Features, TrainingCollator

log = logging.getLogger(__name__)

_MAGIC = b"QASRFEA1"
_HEADER = struct.Struct("<8sIIII")  # magic, samples of the clip, rows, columns, CRC-32 of what follows
_USAGE = "bytes_used"


@dataclass(frozen=True, slots=True)
class CachedClip:
    """What the cache holds of a clip. values: float16 [rows, columns]. num_samples: of the waveform it was made of."""

    values: np.ndarray
    num_samples: int


@dataclass
class FeatureCache:
    """One kind of feature in a cache directory; picklable, shared by ranks and loader workers.

    folder: the cache directory, shared by all kinds. kind: names what the arrays are, with everything they depend on except
    the clip (see `kind_of`); another kind never sees them. max_bytes: of the folder as a whole. When it is full nothing is
    evicted: epochs read all clips in turn, and whatever makes room then drops each clip just before it is wanted again.
    """

    folder: Path
    kind: str
    max_bytes: int
    _has_warned: bool = field(default=False, init=False, repr=False)

    @classmethod
    def open(cls, config: CacheConfig, kind: str) -> "FeatureCache":
        """Make the directory, readable by its owner alone, and count what lies in it.

        Raises:
            DataError: it cannot be made or written.
        """
        assert config.dir is not None
        cache = cls(Path(config.dir).expanduser().absolute(), kind, int(config.max_gb * 1e9))
        try:
            cache.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for part in cache.folder.glob("*/*/*.part"):  # of a writer that was killed
                if time.time() - part.stat().st_mtime > 3600:
                    part.unlink(missing_ok=True)
            with cache._usage() as file:
                _write_number(file, sum(one.stat().st_size for one in cache.folder.glob("*/*/*.f16")))
        except OSError as error:
            raise DataError(f"data.cache.dir={config.dir}: cannot be used ({error.strerror}); name another") from None
        return cache

    def key(self, utterance: Utterance) -> str | None:
        """What a clip goes by; None: it cannot be told, and the audio is to say why."""
        return sound_key(utterance)

    def read(self, key: str) -> CachedClip | None:
        """What is held under a key; None where there is nothing, or nothing sound (it is then made again, with a warning)."""
        path = self._path(key)
        try:
            data = np.fromfile(path, np.uint8)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(f"{path}: cannot be read ({error.strerror}); the features are computed again")
            return None
        clip = _unpack(data)
        if clip is None:
            log.warning("%s: damaged entry of the feature cache; the features are computed again", path)
            with suppress(OSError):  # of a folder that may only be read
                path.unlink()
                self._count(-len(data))
        return clip

    def holds(self, key: str) -> bool:
        """Whether there is an entry, sound or not."""
        return self._path(key).exists()

    def write(self, key: str, clip: CachedClip) -> None:
        """Keep a clip, whole or not at all; a full cache or disk is told once and ends the keeping, not the run."""
        data = _pack(clip)
        path = self._path(key)
        try:
            if self.holds(key) or not self._count(len(data)):
                return
            try:
                _write_whole(path, data)
            except BaseException:
                self._count(-len(data))
                raise
        except OSError as error:
            self._warn(f"data.cache.dir={self.folder}: cannot be written ({error.strerror}); going on without")

    def num_bytes(self) -> int:
        """Bytes the directory holds, all kinds together."""
        with self._usage() as file:
            return _read_number(file)

    def _path(self, key: str) -> Path:
        return self.folder / self.kind / key[:2] / f"{key}.f16"

    def _count(self, num_bytes: int) -> bool:
        """Add to the bytes used, unless that would pass the limit; True if added."""
        with self._usage() as file:
            used = _read_number(file) + num_bytes
            if num_bytes > 0 and used > self.max_bytes:
                self._warn(
                    f"data.cache.dir={self.folder}: full, max_gb={self.max_bytes / 1e9:g}; what it holds is used, the other "
                    "clips are computed every time; raise data.cache.max_gb, or delete what no run uses from it"
                )
                return False
            _write_number(file, max(0, used))
        return True

    @contextmanager
    def _usage(self) -> Iterator[int]:
        """The open file that counts the bytes used, locked against all other processes."""
        file = os.open(self.folder / _USAGE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)

    def _warn(self, message: str) -> None:
        if not self._has_warned:
            log.warning(message)
        self._has_warned = True


@dataclass(frozen=True)
class CachedMels:
    """Gives recordings with their features instead of their waveforms, from a cache that it fills; runs in loader workers.

    What is not kept yet is rounded to half precision all the same, so that an epoch does not depend on what was kept.
    """

    cache: FeatureCache
    log_mel: Features

    @classmethod
    def open(cls, config: CacheConfig, collator: TrainingCollator) -> "CachedMels":
        """The cache of a collator's features; other settings, or another version of the code that makes them, start anew.

        Raises:
            ConfigError: the family makes no log-mel of ours. DataError: the directory cannot be used.
        """
        log_mel = features_of(collator)
        return cls(FeatureCache.open(config, mel_kind(log_mel)), log_mel)

    def __call__(self, utterances: Sequence[Utterance]) -> tuple[list[Recording], list[FailedAudio]]:
        """The recordings of a batch; see `LoadRows`."""
        return load_recordings(utterances, self.load)

    def load(self, utterance: Utterance) -> Recording:
        """As `load_recording`, which it calls where nothing is kept; raises the same."""
        key = self.cache.key(utterance)
        clip = self.cache.read(key) if key else None
        if clip is None:
            waveform = load_recording(utterance).waveform
            clip = CachedClip(self.log_mel(waveform).numpy().astype(np.float16), len(waveform))
            if key:
                self.cache.write(key, clip)
        held = Precomputed(clip.num_samples, mel=torch.from_numpy(clip.values))
        return Recording(utterance, np.zeros(0, np.float32), precomputed=held)


def features_of(collator: TrainingCollator) -> Features:
    """What makes a collator's features; raises ConfigError where they do not belong to one clip alone."""
    if collator.log_mel is None:
        raise ConfigError("data.cache.dir: models of this family make their own features; set data.cache.dir=null")
    return collator.log_mel


def mel_kind(log_mel: Features) -> str:
    """The kind of these log-mels: their version and settings, and what decodes the clips they are made of."""
    libraries = f"{soundfile.__libsndfile_version__} {soxr.__version__}"
    return kind_of("mel", log_mel.fingerprint, libraries, str(DECODING_VERSION))


def kind_of(name: str, *parts: bytes | str) -> str:
    """The name of a folder of features: what they are, and a digest of all that decides their values except the clip."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return f"{name}-{digest.hexdigest()}"


def sound_key(utterance: Utterance) -> str | None:
    """What an utterance's sound goes by, its text left aside; None: it cannot be told, and the audio is to say why.

    A file is known by path, size and time of change, and by span and channel: reading it to know it would cost what the cache
    saves, above all for spans of long recordings. Bytes are known by their digest.
    """
    held = utterance.audio
    if isinstance(held, bytes):
        source = hashlib.blake2b(held, digest_size=16).hexdigest()
    else:
        path = Path(arrow_file(held) or held).absolute()
        try:
            state = path.stat()
        except (OSError, ValueError):
            return None
        source = f"{held}\0{path}\0{state.st_size}\0{state.st_mtime_ns}"
    span = f"{source}\0{utterance.start_s}\0{utterance.end_s}"
    if utterance.channel is not None:
        span += f"\0channel {utterance.channel}"
    return hashlib.blake2b(span.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")  # readable by its owner alone
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _pack(clip: CachedClip) -> bytes:
    values = np.ascontiguousarray(clip.values, dtype=np.float16)
    body = values.tobytes()
    return _HEADER.pack(_MAGIC, clip.num_samples, *values.shape, zlib.crc32(body)) + body


def _unpack(data: np.ndarray) -> CachedClip | None:
    """uint8 [bytes of a file] -> what it holds; None where it is cut off or damaged."""
    if len(data) < _HEADER.size:
        return None
    magic, num_samples, num_rows, num_columns, checksum = _HEADER.unpack_from(data.data)
    body = data[_HEADER.size :]
    if magic != _MAGIC or len(body) != 2 * num_rows * num_columns or zlib.crc32(body.data) != checksum:
        return None
    return CachedClip(body.view(np.float16).reshape(num_rows, num_columns), num_samples)


def _read_number(file: int) -> int:
    text = os.pread(file, 20, 0)
    return int(text) if text.isdigit() else 0


def _write_number(file: int, number: int) -> None:
    os.pwrite(file, b"%020d" % number, 0)
