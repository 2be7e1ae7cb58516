"""Owns decoding: any recording -> float32 mono at 16 kHz, or an AudioError with the file, the reason and the way out.

Input: the path or the bytes of an encoded file, and the span wanted. soundfile (libsndfile) decodes, soxr resamples;
what libsndfile cannot read goes to torchcodec (ffmpeg) where installed. No file may crash or hang a loader worker.
"""

import io
import logging
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from qasr_train.audio.arrow import is_arrow_reference, read_arrow_audio
from qasr_train.audio.ffmpeg import decode_with_ffmpeg
from qasr_train.audio.formats import (
    HEAD_BYTES,
    LENGTH_TOLERANCE_S,
    MP3,
    UNKNOWN,
    Reader,
    Source,
    check_size,
    file_kind,
    lost_start_samples,
    mp3_lengths,
    promised_samples,
    sized_wav,
)
from qasr_train.errors import AudioError

log = logging.getLogger(__name__)

# Raise it with every change of the samples that come out: it tells features in caches of another decoding apart.
DECODING_VERSION = 1
SAMPLE_RATE_HZ = 16_000
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 384_000  # outside lies no recording of speech, only a broken header
MAX_PEAK = 100.0  # full scale is 1; beyond 40 dB over it a float file holds unscaled integers, or no sound
_QUIET_CHANNEL = 1e-3  # a channel 60 dB below the loudest carries no speech
_CANCELLED = 0.1  # the mean of N independent channels keeps 1/sqrt(N) of their level: below 0.1 they cancel
_BLOCK_SAMPLES = 2**20


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a recording is, as stored: its length in seconds, rate in Hz, channels, and format ("WAV", "MP3")."""

    duration_s: float
    sample_rate_hz: int
    num_channels: int
    format: str


def load_audio(
    audio: str | bytes,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    channel: int | None = None,
    name: str = "",
) -> np.ndarray:
    """Decode a recording, or a span of it.

    Args:
        audio: path of an encoded file, or its bytes, or a reference into an Arrow file (`arrow.py`).
        start_s, end_s: the span in seconds; None means the start / the end. Only the span is decoded.
        channel: the one channel to take, from 0; None: all, averaged.
        name: what messages call the recording besides its path, e.g. the utterance id.

    Returns:
        float32 [S] mono at 16 kHz, S = round(seconds * 16000) give or take one. Not normalised: float files keep
        values beyond 1. Channels are averaged, see `to_mono`.

    Raises:
        AudioError: the file is missing, no audio, damaged, shorter than its header or the span promises (a transcript
            would claim words that are not there), empty, of an absurd rate, or holds NaN.
    """
    source = _source(audio, name)
    samples, sample_rate_hz = _decode(source, start_s, end_s)
    if not len(samples):
        raise AudioError(f"{source.where}: holds no audio (0 samples); remove it from the manifest")
    if channel is not None and channel >= samples.shape[1]:
        raise AudioError(
            f"{source.where}: has {samples.shape[1]} channel(s), none of number {channel}, as they are counted from 0; correct "
            "`channel`, or leave it out"
        )
    _check_values(samples, sample_rate_hz, source.where)
    waveform = to_mono(samples) if channel is None else samples[:, channel]
    if sample_rate_hz != SAMPLE_RATE_HZ:
        waveform = soxr.resample(waveform, sample_rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    if not len(waveform):
        raise AudioError(f"{source.where}: holds {len(samples)} samples at {sample_rate_hz} Hz, too few for 16 kHz")
    return np.ascontiguousarray(waveform, dtype=np.float32)


def probe_audio(audio: str | bytes, *, name: str = "") -> AudioInfo:
    """Length, rate and channels of a recording without decoding it where its header can be trusted.

    Trusted: the sizes in WAV, AIFF, FLAC and the like, checked against the size of the file. MP3 frames are counted. A
    FLAC that states no length, and what only ffmpeg reads, is decoded. Damage inside the sound shows in `load_audio`.

    Raises:
        AudioError: as `load_audio`, for all that shows in the header.
    """
    source = _source(audio, name)
    file = _open(source)
    if file is None:
        samples, rate_hz = decode_with_ffmpeg(source, None, None)
        num_samples, num_channels, label = len(samples), samples.shape[1], source.kind.label
    else:
        with file:
            rate_hz, num_channels, label = _checked_rate(file, source.where), file.channels, file.format
            if _is_open_ended(file):
                num_samples = len(_read_open_ended(file, 0, None, source.where))
            else:
                num_samples = file.frames
                _check_promise(file, source, None)
    if not num_samples:
        raise AudioError(f"{source.where}: holds no audio (0 samples); remove it from the manifest")
    return AudioInfo(num_samples / rate_hz, rate_hz, num_channels, label)


def to_mono(samples: np.ndarray) -> np.ndarray:
    """float32 [S, channels] -> float32 [S]: the mean of the channels that carry sound.

    A channel that is silent (60 dB below the loudest) is left out, as it would only halve the level; where the channels
    cancel each other (one wired in antiphase) the loudest stands for all.
    """
    if samples.shape[1] == 1:
        return samples[:, 0]
    levels = _level(samples)
    loudest = int(np.argmax(levels))
    heard = samples[:, levels > _QUIET_CHANNEL * levels[loudest]]
    if not heard.shape[1]:
        return samples[:, 0]
    mean = heard.mean(axis=1, dtype=np.float32)
    is_cancelled = float(_level(mean[:, None])[0]) < _CANCELLED * float(levels[loudest])
    return samples[:, loudest] if is_cancelled else mean


def _level(samples: np.ndarray) -> np.ndarray:
    """Root mean square of each channel, float64 [channels]."""
    return np.sqrt(np.mean(np.square(samples, dtype=np.float64), axis=0))


def _source(audio: str | bytes, name: str) -> Source:
    """Read the first bytes; refuse what is no plain file (a pipe would block for ever) and what is no recording."""
    where = name or "<audio bytes>"
    if isinstance(audio, str):
        where = f"{audio} ({name})" if name else audio
    if isinstance(audio, str) and is_arrow_reference(audio):
        audio = read_arrow_audio(audio)
    head = audio[:HEAD_BYTES] if isinstance(audio, bytes) else _read_head(audio, where)
    kind = file_kind(head)
    if kind.reader is Reader.NOBODY:
        raise AudioError(f"{where}: is {kind.label}")
    return Source(audio, where, head, kind)


def _read_head(path: str, where: str) -> bytes:
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISREG(mode):
            with Path(path).open("rb") as file:
                return file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise AudioError(f"{where}: no such file; check the path, and `audio_root` where paths are relative") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    raise AudioError(f"{where}: is {'a directory' if stat.S_ISDIR(mode) else 'a pipe or device'}; name an audio file")


def _decode(source: Source, start_s: float | None, end_s: float | None) -> tuple[np.ndarray, int]:
    """(float32 [S, channels], rate in Hz) of the span, by whichever library reads this kind of file."""
    file = _open(source)
    if file is None:
        return decode_with_ffmpeg(source, start_s, end_s)
    with file:
        rate_hz = _checked_rate(file, source.where)
        start = round((start_s or 0.0) * rate_hz)
        stop = None if end_s is None else max(round(end_s * rate_hz), start + 1)
        if _is_open_ended(file):
            return _read_open_ended(file, start, stop, source.where), rate_hz
        _check_promise(file, source, stop)
        stop = _checked_stop(file.frames, start, stop, rate_hz, source.where)
        check_size(stop - start, rate_hz, file.channels, source.where)
        return _read(file, start, stop - start, source), rate_hz


def _open(source: Source) -> soundfile.SoundFile | None:
    """The file opened by libsndfile, or None where it is for ffmpeg (an unknown container or codec)."""
    if source.kind.reader is Reader.FFMPEG:
        return None
    audio = source.audio
    # A path goes in as it is (a Python file costs a callback a read), but libsndfile believes a suffix of .mp3 or .raw
    # over the content, so files misnamed like that are read first.
    suffix = Path(audio).suffix.lower() if isinstance(audio, str) else ""
    if suffix == ".raw" or (suffix == ".mp3" and source.kind not in (MP3, UNKNOWN)):
        audio = source.read_bytes()
    audio = sized_wav(source) or audio
    try:
        return soundfile.SoundFile(_Bytes(audio) if isinstance(audio, bytes) else audio)
    except (soundfile.SoundFileError, TypeError, OSError) as error:
        reason = (getattr(error, "error_string", None) or str(error)).strip(". ")
    if source.kind is UNKNOWN or any(
        words in reason.lower() for words in ("not recognised", "unknown format", "unimplemented")
    ):
        return None
    raise AudioError(f"{source.where}: damaged {source.kind.label} file ({reason}); copy or encode it again")


class _Bytes(io.BytesIO):
    """Bytes as libsndfile reads them: in a damaged file it seeks to before the start, which must not print a traceback."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, or stay where the target does not exist."""
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def _checked_rate(file: soundfile.SoundFile, where: str) -> int:
    rate_hz = file.samplerate
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise AudioError(
            f"{where}: its header states a sample rate of {rate_hz} Hz, outside {MIN_RATE_HZ} to {MAX_RATE_HZ}; "
            "correct the header, or encode the recording again"
        )
    return rate_hz


def _is_open_ended(file: soundfile.SoundFile) -> bool:
    """Whether the header states no length (a FLAC written to a pipe): libsndfile then reports the largest integer."""
    return file.frames >= 2**62


def _check_promise(file: soundfile.SoundFile, source: Source, stop: int | None) -> None:
    """Refuse a file that holds less sound than its header promises, unless all of the span (to sample `stop`) is there.

    Half a recording under a whole transcript teaches a model to make up words, so it is never passed on as it is.
    """
    held, rate_hz = file.frames, file.samplerate
    promised, tolerance = held, round(LENGTH_TOLERANCE_S * rate_hz)
    if stop is not None and stop <= held and file.format != "MP3":
        return
    if file.format == "MP3":
        lengths = mp3_lengths(source.read_bytes()) if stop is None or stop > held - tolerance else None
        if lengths is None:
            return
        tolerance = max(tolerance, 4 * lengths.samples_per_frame)  # encoders pad both ends by up to three frames
        if lengths.num_samples > held + tolerance:
            raise AudioError(
                f"{source.where}: its header counts {held / rate_hz:.2f} s of {lengths.num_samples / rate_hz:.2f} s it "
                "holds (files joined end to end?), so its end would be lost; encode it again"
            )
        held = lengths.num_samples if lengths.has_promise else held
    else:
        promised = promised_samples(held, file.extra_info, source.head)
        _warn_of_lost_start(file, source.where)
    if promised > held + tolerance:
        raise AudioError(
            f"{source.where}: holds {held / rate_hz:.2f} s of the {promised / rate_hz:.2f} s its header promises "
            "(an incomplete copy?); copy it again, or set end_s within what is there"
        )


def _warn_of_lost_start(file: soundfile.SoundFile, where: str) -> None:
    num_lost = lost_start_samples(file.extra_info)
    if num_lost:
        log.warning(
            "%s: libsndfile skips its first %.2f s (headers of an early Vorbis encoder); encode it again with ffmpeg",
            where,
            num_lost / file.samplerate,
        )


def _checked_stop(num_samples: int, start: int, stop: int | None, rate_hz: int, where: str) -> int:
    """The sample after the last one wanted; refuses a span that reaches beyond the recording."""
    if num_samples and start >= num_samples:
        raise AudioError(
            f"{where}: start_s={start / rate_hz:g} lies beyond the end of the recording at {num_samples / rate_hz:g} s"
        )
    if stop is None:
        return num_samples
    if stop > num_samples + LENGTH_TOLERANCE_S * rate_hz:
        raise AudioError(
            f"{where}: end_s={stop / rate_hz:g} lies beyond the end of the recording at {num_samples / rate_hz:g} s"
        )
    return min(stop, num_samples)


def _read(file: soundfile.SoundFile, start: int, num_samples: int, source: Source) -> np.ndarray:
    """float32 [S, channels]: `num_samples` from `start`, in blocks, so that a lying header allocates little."""
    rate_hz, blocks, num_read = file.samplerate, [], 0
    try:
        if start:
            file.seek(start)
        while num_read < num_samples:
            block = file.read(min(_BLOCK_SAMPLES, num_samples - num_read), dtype="float32", always_2d=True)
            if not len(block):
                break
            blocks.append(block)
            num_read += len(block)
    except soundfile.SoundFileError as error:
        reason = (getattr(error, "error_string", None) or str(error)).strip(". ")
        raise AudioError(
            f"{source.where}: damaged or cut off within its {file.frames / rate_hz:.2f} s ({reason}); copy it again"
        ) from None
    # An MP3 without a tag states its length by guess, and a decoder drops the padding of the encoder.
    if num_samples - num_read > LENGTH_TOLERANCE_S * rate_hz and file.format != "MP3":
        held_s, promised_s = (start + num_read) / rate_hz, (start + num_samples) / rate_hz
        raise AudioError(
            f"{source.where}: holds {held_s:.2f} s of the {promised_s:.2f} s its header promises "
            "(an incomplete copy?); copy it again"
        )
    return blocks[0] if len(blocks) == 1 else np.concatenate([np.zeros((0, file.channels), np.float32), *blocks])


def _read_open_ended(file: soundfile.SoundFile, start: int, stop: int | None, where: str) -> np.ndarray:
    """float32 [S, channels] of a file that states no length, read until it ends.

    At the end soundfile fails to seek behind the last sample and loses the count of what it read; the samples lie in
    the buffer all the same, so a buffer filled with NaN shows how many came.
    """
    blocks, position = [np.zeros((0, file.channels), np.float32)], start
    try:
        file.seek(start)
        while stop is None or position < stop:
            block = np.full((min(_BLOCK_SAMPLES, (stop or 2**62) - position), file.channels), np.nan, np.float32)
            has_ended = _fill(file, block)
            num_read = len(block) - int(np.isnan(block[:, 0]).sum())
            blocks.append(block[:num_read])
            position += num_read
            check_size(position - start, file.samplerate, file.channels, where)
            if has_ended or num_read < len(block):
                break
    except soundfile.SoundFileError as error:
        position_s = position / file.samplerate
        raise AudioError(f"{where}: damaged after {position_s:.2f} s or later ({error}); copy it again") from None
    _checked_stop(position, start, stop, file.samplerate, where)
    return np.concatenate(blocks)


def _fill(file: soundfile.SoundFile, block: np.ndarray) -> bool:
    """Read into `block`; True where the file ended within it."""
    try:
        file.read(out=block)
    except soundfile.LibsndfileError as error:
        if error.code != 39:  # SFE_BAD_SEEK of libsndfile: the seek behind the last sample
            raise
        return True
    return False


def _check_values(samples: np.ndarray, rate_hz: int, where: str) -> None:
    # NaN and infinity make the sum not finite; only then is it worth looking for them one by one.
    with np.errstate(invalid="ignore"):  # infinity less infinity
        is_finite = np.isfinite(samples.sum(dtype=np.float64))
    if not is_finite:
        is_bad = ~np.isfinite(samples).all(axis=1)
        raise AudioError(
            f"{where}: {int(is_bad.sum())} of {len(samples)} samples are NaN or infinite, the first at "
            f"{int(np.argmax(is_bad)) / rate_hz:.3f} s; write the recording again"
        )
    peak = float(max(samples.max(), -samples.min()))
    if peak > MAX_PEAK:
        raise AudioError(
            f"{where}: its samples reach {peak:g} where 1 is full scale; divide integers stored as float by 32768"
        )
