"""Owns what a worker process of `prepare` does to one recording: decode, measure, fingerprint, convert to FLAC.

Input: JSON lines on stdin (`Task`). Output: one JSON line each on stdout (`Reply`). Run as `python -m qasr_train.corpus.worker`:
a process of its own, so that a codec that crashes or hangs costs one recording, not the run.
"""

import hashlib
import io
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from qasr_train.audio.decode import SAMPLE_RATE_HZ, load_audio
from qasr_train.errors import AudioError

READY = b"ready\n"
_QUIET_PEAK = 0.05  # below it 16 bits leave less than 11 for the sound, so 24 are written


@dataclass(frozen=True, slots=True)
class Task:
    """One recording to check.

    audio, start_s, end_s, channel: as in Utterance.
    flac: where to write the span as 16 kHz mono FLAC; None leaves the audio as it is.
    """

    audio: str
    start_s: float | None = None
    end_s: float | None = None
    flac: str | None = None
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What decoding a recording tells.

    duration_s: seconds of the span. peak: largest absolute sample, 1 is full scale.
    digest: equal for recordings that are the same sound at 16 kHz and 16 bits, in whatever format. num_clipped_samples:
    samples at or beyond full scale. is_scaled: the FLAC was written softer, as its samples were beyond full scale.
    """

    duration_s: float
    peak: float
    digest: str
    num_clipped_samples: int = 0
    is_scaled: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a task: exactly one of the three is set.

    measured: what was found. rejected: why the recording cannot be used. failed: (errno, path) of a write that failed.
    """

    measured: Measured | None = None
    rejected: str | None = None
    failed: tuple[int, str] | None = None


def check(task: Task) -> Reply:
    """Decode a recording and answer; a recording that cannot be used is an answer, not an exception."""
    try:
        waveform = load_audio(task.audio, start_s=task.start_s, end_s=task.end_s, channel=task.channel)
    except AudioError as error:
        return Reply(rejected=str(error).removeprefix(f"{task.audio}: "))
    except MemoryError:
        return Reply(rejected="needs more memory than there is; cut it into utterances with start_s and end_s")
    peak = float(np.abs(waveform).max())
    measured = Measured(
        duration_s=round(len(waveform) / SAMPLE_RATE_HZ, 4),
        peak=round(peak, 6),
        digest=_digest(waveform),
        num_clipped_samples=int((np.abs(waveform) >= 0.999).sum()),
        is_scaled=task.flac is not None and peak > 1,
    )
    if task.flac is not None:
        try:
            write_flac(Path(task.flac), waveform)
        except OSError as error:
            return Reply(failed=(error.errno or 0, task.flac))
    return Reply(measured=measured)


def _digest(waveform: np.ndarray) -> str:
    pcm = np.round(np.clip(waveform, -1, 1) * 32767).astype("<i2")
    return hashlib.sha1(pcm.tobytes()).hexdigest()


def write_flac(path: Path, waveform: np.ndarray) -> None:
    """Write float32 [S] at 16 kHz as mono FLAC, all or nothing; louder than full scale is scaled down, not clipped."""
    peak = float(np.abs(waveform).max())
    encoded = io.BytesIO()  # in memory first: libsndfile hides why a write fails
    subtype = "PCM_24" if peak < _QUIET_PEAK else "PCM_16"
    soundfile.write(encoded, waveform / max(peak, 1.0), SAMPLE_RATE_HZ, format="FLAC", subtype=subtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(encoded.getvalue())
    part.replace(path)


def encode_reply(reply: Reply) -> bytes:
    """One JSON line."""
    return json.dumps(asdict(reply)).encode() + b"\n"


def decode_reply(line: bytes) -> Reply:
    """What `encode_reply` wrote."""
    fields = json.loads(line)
    measured, failed = fields["measured"], fields["failed"]
    return Reply(
        measured=Measured(**measured) if measured else None,
        rejected=fields["rejected"],
        failed=(failed[0], failed[1]) if failed else None,
    )


def serve() -> None:
    """Answer tasks until stdin ends, as it does when the parent is gone."""
    threading.Thread(target=_end_with_parent, args=[os.getppid()], daemon=True).start()
    # Replies keep the real stdout; what a codec prints there goes to stderr and cannot garble them.
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    replies.write(READY)
    for line in sys.stdin.buffer:
        replies.write(encode_reply(check(Task(**json.loads(line)))))


def _end_with_parent(parent: int) -> None:
    """End this process when its parent is gone, even in the middle of a recording that takes for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    serve()
