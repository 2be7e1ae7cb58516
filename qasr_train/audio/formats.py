"""Owns what a sound file is by its first bytes, whether it holds the sound its header promises, and limits of size.

Input: the bytes of a file, or what libsndfile logs of it. Output: its kind, its reader, its length. Decodes nothing.
"""

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from qasr_train.errors import AudioError

MAX_SPAN_S = 3600.0  # the models hear 20 minutes at most; an hour leaves room for a caller that cuts
MAX_VALUES = 2**28  # samples x channels decoded at once: 1 GiB of float32
LENGTH_TOLERANCE_S = 0.1  # a header that is off by less than this cannot cost a word
HEAD_BYTES = 2048  # enough for every magic number below and for a NIST SPHERE header


class Reader(Enum):
    """Who can turn a kind of file into samples."""

    SOUNDFILE = "soundfile"
    FFMPEG = "ffmpeg"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file is: a label for messages ("MP4 or M4A"), and its reader."""

    label: str
    reader: Reader


@dataclass(frozen=True, slots=True)
class Source:
    """A recording as it was given, how a message names it, its first bytes, and what they say it is."""

    audio: str | bytes
    where: str
    head: bytes
    kind: FileKind

    def read_bytes(self) -> bytes:
        """The whole encoded file."""
        return self.audio if isinstance(self.audio, bytes) else Path(self.audio).read_bytes()


def check_size(num_samples: float, rate_hz: float, num_channels: int, where: str) -> None:
    """Refuse (AudioError) a span too long to hold in memory; a lying header may promise years."""
    duration_s = num_samples / rate_hz
    if duration_s > MAX_SPAN_S or num_samples * num_channels > MAX_VALUES:
        raise AudioError(
            f"{where}: {duration_s:.0f} s in {num_channels} channel(s) at {rate_hz:g} Hz are too much to decode at "
            "once; cut it into utterances with start_s and end_s"
        )


UNKNOWN = FileKind("of no known kind", Reader.SOUNDFILE)  # libsndfile knows rarer formats than the table below
MP3 = FileKind("MP3", Reader.SOUNDFILE)
_GIT_LFS = FileKind("a git-LFS pointer, not the recording (run `git lfs pull`)", Reader.NOBODY)
_WEB_PAGE = FileKind("a web page or XML, not a recording (download it again)", Reader.NOBODY)
_MAGIC = (
    (0, b"version https://git-lfs", _GIT_LFS),
    (0, b"RIFF", FileKind("WAV", Reader.SOUNDFILE)),
    (0, b"RIFX", FileKind("WAV", Reader.SOUNDFILE)),
    (0, b"RF64", FileKind("WAV (RF64)", Reader.SOUNDFILE)),
    (0, b"fLaC", FileKind("FLAC", Reader.SOUNDFILE)),
    (0, b"OggS", FileKind("Ogg", Reader.SOUNDFILE)),
    (0, b"FORM", FileKind("AIFF", Reader.SOUNDFILE)),
    (0, b"caff", FileKind("CAF", Reader.SOUNDFILE)),
    (0, b".snd", FileKind("AU", Reader.SOUNDFILE)),
    (0, b"riff", FileKind("Wave64", Reader.SOUNDFILE)),
    (0, b"NIST_1A", FileKind("NIST SPHERE", Reader.SOUNDFILE)),
    (0, b"ID3", MP3),
    (4, b"ftyp", FileKind("MP4 or M4A", Reader.FFMPEG)),
    (0, b"\x1aE\xdf\xa3", FileKind("WebM or Matroska", Reader.FFMPEG)),
    (0, b"#!AMR", FileKind("AMR", Reader.FFMPEG)),
    (0, b"0&\xb2u", FileKind("WMA", Reader.FFMPEG)),
    (0, b"FLV", FileKind("FLV", Reader.FFMPEG)),
    (0, b"\x1f\x8b", FileKind("a gzip archive; unpack it first", Reader.NOBODY)),
    (0, b"PK\x03\x04", FileKind("a zip archive; unpack it first", Reader.NOBODY)),
)


def file_kind(head: bytes) -> FileKind:
    """The kind of a file by the first `HEAD_BYTES` of its content; its name is not trusted."""
    if not head:
        return FileKind("empty (0 bytes)", Reader.NOBODY)
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if head[0] == 0xFF and head[1:2] and head[1] & 0xE0 == 0xE0:
        is_adts = head[1] & 0xF6 == 0xF0  # layer bits 00 mean AAC, not MPEG audio
        return FileKind("AAC (ADTS)", Reader.FFMPEG) if is_adts else MP3
    if head.lstrip().startswith(b"<"):
        return _WEB_PAGE
    if _is_text(head):
        return FileKind(f"text, not a recording (starts {head[:30].decode('ascii')!r})", Reader.NOBODY)
    return UNKNOWN


def _is_text(head: bytes) -> bool:
    return all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head)


# What libsndfile's log says of a chunk that is cut off: "data : 352000 (should be 175978)". For WAV the size of the
# `data` chunk decides; a wrong `RIFF` size alone is a common slip of writers and costs no sound.
_CUT_OFF = re.compile(r"^\s*(?:data|SSND|Data Size|Riff size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_STREAMED_BYTES = 0x7FFF_0000  # writers that cannot seek leave 0x7FFFF000 to 0xFFFFFFFF as the size: no promise
_NIST_SAMPLES = re.compile(rb"sample_count -i (\d+)")


def promised_samples(num_samples: int, soundfile_log: str, head: bytes) -> int:
    """How many samples per channel the header of a file promises, where `num_samples` are there.

    Knows the size fields of WAV, RF64, Wave64, AIFF, AU and NIST SPHERE. FLAC fails to decode where it is cut, MP3 is
    measured by `mp3_lengths`, and Ogg promises nothing: a cut Ogg file cannot be told from a short one.
    """
    cut_off = _CUT_OFF.search(soundfile_log)
    if cut_off:
        promised_bytes, held_bytes = int(cut_off[1]), int(cut_off[2])
        if held_bytes < promised_bytes < _STREAMED_BYTES:
            return max(num_samples, round(num_samples * promised_bytes / max(held_bytes, 1)))
    nist = _NIST_SAMPLES.search(head) if head.startswith(b"NIST_1A") else None
    return max(num_samples, int(nist[1])) if nist else num_samples


def sized_wav(source: Source) -> bytes | None:
    """The bytes of a WAV whose header says that it holds nothing though sound follows, with the size it has; None: not so.

    Recorders that lose power, and programs that write to a pipe, leave a size of 0.
    """
    begin = source.head.find(b"data\0\0\0\0", 12)
    if not source.head.startswith(b"RIFF") or begin < 0:
        return None
    data = source.read_bytes()
    rest = len(data) - begin - 8
    next_size = int.from_bytes(data[begin + 12 : begin + 16], "little")
    is_other_chunk = (
        data[begin + 8 : begin + 12].isascii() and next_size + 8 <= rest
    )  # as after a recording of no samples
    if rest <= 0 or is_other_chunk:
        return None
    return data[: begin + 4] + min(rest, 0xFFFF_FFFF).to_bytes(4, "little") + data[begin + 8 :]


_LOST_START = re.compile(r"extraneous header packets.*?PCM offset\s*:\s*(\d+)", re.DOTALL)


def lost_start_samples(soundfile_log: str) -> int:
    """How many samples libsndfile skips at the start of a Vorbis file whose sound begins on the page of its headers."""
    lost = _LOST_START.search(soundfile_log)
    return int(lost[1]) if lost else 0


@dataclass(frozen=True, slots=True)
class Mp3Lengths:
    """Samples per channel an MP3 holds, counted frame by frame, and whether a Xing/VBRI tag promises a length."""

    num_samples: int
    samples_per_frame: int
    has_promise: bool


# Layer III bitrates in kbit/s: MPEG 1, then MPEG 2 and 2.5 (ISO 11172-3 and 13818-3, table of bitrate_index).
_KBITS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def mp3_lengths(data: bytes) -> Mp3Lengths | None:
    """Count the frames of an MP3 by walking their headers, some 1 ms for 10 s of sound; None where it is no Layer III.

    Needed because libsndfile believes the tag of the first frame, or guesses from the first bitrate: a file joined
    from several, or of variable bitrate without a tag, would lose its end without a word.
    """
    position = _after_id3(data)
    num_samples, samples_per_frame, has_promise, is_first = 0, 0, False, True
    while True:
        position, size, samples_per_frame_here = _next_frame(data, position)
        if not size:
            break
        frame = data[position : position + 200] if is_first else b""
        is_tag = b"Xing" in frame or b"Info" in frame or b"VBRI" in frame
        has_promise = has_promise or is_tag
        samples_per_frame = samples_per_frame_here
        num_samples += 0 if is_tag else samples_per_frame
        is_first = False
        position += size
    return Mp3Lengths(num_samples, samples_per_frame, has_promise) if samples_per_frame else None


def _after_id3(data: bytes) -> int:
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _next_frame(data: bytes, position: int) -> tuple[int, int, int]:
    """(position, bytes, samples) of the frame at `position`, or of the next that another follows; zeros at the end."""
    size, samples = _frame_size(data, position)
    if size:
        return position, size, samples
    while (position := data.find(b"\xff", position + 1)) >= 0:
        size, samples = _frame_size(data, position)
        if size and _frame_size(data, position + size)[0]:
            return position, size, samples
    return len(data), 0, 0


def _frame_size(data: bytes, position: int) -> tuple[int, int]:
    """(bytes, samples) of the whole Layer III frame whose header stands at `position`; zeros where there is none."""
    header = data[position : position + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0, 0
    version, bitrate, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return 0, 0
    kbits = (_KBITS_MPEG1 if version == 3 else _KBITS_MPEG2)[bitrate]
    samples = 1152 if version == 3 else 576
    size = samples // 8 * kbits * 1000 // _RATES_HZ[version][rate] + (header[2] >> 1 & 1)
    return (size, samples) if position + size <= len(data) else (0, 0)
