"""Owns decoding by ffmpeg through torchcodec, an optional extra, for what libsndfile cannot read (M4A, MP4, WebM).

Input: a `Source` and a span in seconds. Output: float32 [S, channels] at the file's own rate, or an AudioError.
"""

import re

import numpy as np

from qasr_train.audio.formats import LENGTH_TOLERANCE_S, UNKNOWN, Source, check_size
from qasr_train.errors import AudioError


def decode_with_ffmpeg(source: Source, start_s: float | None, end_s: float | None) -> tuple[np.ndarray, int]:
    """(float32 [S, channels], rate in Hz) of the span; None means the start / the end.

    Raises:
        AudioError: torchcodec is missing or does not load (says what to install), ffmpeg cannot decode the file, or the
            span reaches beyond it.
    """
    where, label = source.where, source.kind.label
    try:
        from torchcodec.decoders import AudioDecoder
    except ImportError:
        raise AudioError(f"{where}: is {label}, which soundfile does not read; {_way_out(source)}") from None
    except (RuntimeError, OSError) as error:  # its libraries do not load: no ffmpeg, or a build for another torch
        raise AudioError(
            f"{where}: is {label}; torchcodec is installed but does not load ({_first_line(error)}): install ffmpeg, "
            "and the torchcodec that goes with your torch"
        ) from None
    start_s = start_s or 0.0
    try:
        decoder = AudioDecoder(source.audio)
        rate_hz, num_channels = decoder.metadata.sample_rate, decoder.metadata.num_channels
        duration_s = (decoder.metadata.duration_seconds or 0.0) if end_s is None else end_s - start_s
        check_size(duration_s * rate_hz, rate_hz, num_channels, where)
        samples = decoder.get_samples_played_in_range(start_seconds=start_s, stop_seconds=end_s).data
    except AudioError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = _first_line(error)
        raise AudioError(f"{where}: is {label}, and ffmpeg cannot decode it ({reason}); {_way_out(source)}") from None
    held_s = start_s + samples.shape[1] / rate_hz
    if end_s is not None and held_s < end_s - LENGTH_TOLERANCE_S:
        raise AudioError(f"{where}: end_s={end_s:g} lies beyond the end of the recording at {held_s:g} s")
    return np.ascontiguousarray(samples.numpy().T, dtype=np.float32), rate_hz


def _first_line(error: Exception) -> str:
    """The first line of a message of torchcodec, without the place in its C++ source."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^\w+, \S+:\d+, ", "", lines[0]).strip()


def _way_out(source: Source) -> str:
    install = "`pip install 'qasr_train[ffmpeg]'` and install ffmpeg"
    if source.kind is UNKNOWN:
        first_bytes = source.head[:8].hex(" ")
        return (
            f"raw samples (it starts with bytes {first_bytes}) need a header first, e.g. "
            f"`ffmpeg -f s16le -ar 16000 -ac 1 -i FILE out.wav`; for a rarer format {install}"
        )
    return f"convert it to WAV or FLAC, or {install}"
