"""Decoding: the 64 awkward files of ../shared/odd_audio, spans, mixing to mono, lying headers, ffmpeg through a stand-in."""

import io
import logging
import os
import struct
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

from qasr_train.audio.decode import MAX_PEAK, SAMPLE_RATE_HZ, load_audio, probe_audio, to_mono
from qasr_train.audio.formats import MAX_SPAN_S, mp3_lengths
from qasr_train.errors import AudioError
from tests.helpers import SHARED, needs_shared, tone, write_wav

JFK = 0.783  # peak of the recording most mk_* files were made from

# file -> (samples at 16 kHz, peak) for a waveform. Samples are frames * 16000 / rate of ../shared/odd_audio/MANIFEST.json,
# rounded; the peak of a file of several unlike channels is that of their mean.
WAVEFORMS = {
    "mk ünïcode naïve 文件 (1).wav": (176000, JFK),
    "mk.opus": (176000, 0.81),
    "mk_11025_tagged_16000.wav": (121275, JFK),
    "mk_1_sample.wav": (1, 0.1),
    "mk_22k.aiff": (48000, JFK),
    "mk_44k_stereo.wav": (64000, JFK),
    "mk_48k.mp3": (176000, 0.76),
    "mk_50ms.wav": (800, 0.57),
    "mk_5ms.wav": (80, 0.155),
    "mk_6ch.wav": (32000, JFK),
    "mk_8k_mono.wav": (176000, JFK),
    "mk_96k.flac": (48000, JFK),
    "mk_adpcm.wav": (177132, JFK),
    "mk_antiphase_stereo.wav": (48000, JFK),  # the mean of its channels would be silence
    "mk_clipped.wav": (176000, 1.0),
    "mk_dc_offset.wav": (176000, 1.0),
    "mk_float32.wav": (176000, 1.107),
    "mk_gsm_like_alaw.wav": (176000, 0.797),
    "mk_long_90s.flac": (1440000, JFK),
    "mk_mp3_named.wav": (176000, 0.76),
    "mk_mulaw_8k.wav": (176000, 0.793),
    "mk_odd_rate_11025.wav": (121275, JFK),  # its header says 16000, so nothing tells that it is slow
    "mk_one_ch_silent.wav": (48000, JFK),  # the mean of its channels would be half as loud
    "mk_over_unity_float.wav": (176000, 3.131),
    "mk_ref_16k.wav": (176000, JFK),
    "mk_rf64.wav": (48000, JFK),
    "mk_silence_3s.wav": (48000, 0.0),
    "mk_very_quiet.wav": (176000, 0.00076),
    "real_Example.ogg": (93694, 0.147),  # libsndfile skips the first 0.25 s; see the test of the warning
    "real_audio-stereo-24-bit-44100Hz.flac": (43919, 0.58),
    "real_audio-stereo-24-bit-44100Hz.wav": (43919, 0.58),
    "real_audio-stereo-32-bit-44100Hz.wav": (43919, 0.58),
    "real_audio-stereo-8-bit-44100Hz.wav": (43919, 0.58),
    "real_chinese.flac": (15303, 0.108),
    "real_common_voice_en_651325.mp3": (38016, 0.207),
    "real_empty.wav": (131392, 0.084),
    "real_example3.sph": (46242, 0.414),
    "real_french.aiff": (40524, 0.704),
    "real_mono_c0.opus": (8086, 0.015),
    "real_real_8ch.wav": (1600, 0.031),
    "real_stereo.mp3": (16000, 0.667),
    "real_stereo.opus": (16086, 0.416),
    "real_stereo.sph": (16000, 0.693),
    "real_stereo.wav": (16000, 0.693),
    "real_test.opus": (129024, 0.179),
}

NEEDS_FFMPEG = "convert it to WAV or FLAC, or `pip install 'qasr_train[ffmpeg]'` and install ffmpeg"
ERRORS = {
    "mk.m4a": f": is MP4 or M4A, which soundfile does not read; {NEEDS_FFMPEG}",
    "mk_corrupt_mid.flac": ": damaged or cut off within its 11.00 s (Error : flac decoder lost sync); copy it again",
    "mk_header_only.wav": ": holds no audio (0 samples); remove it from the manifest",
    "mk_html_error.wav": ": is a web page or XML, not a recording (download it again)",
    "mk_lfs_pointer.wav": ": is a git-LFS pointer, not the recording (run `git lfs pull`)",
    "mk_m4a_named.mp3": f": is MP4 or M4A, which soundfile does not read; {NEEDS_FFMPEG}",
    "mk_nan_inf_float.wav": ": 11 of 16000 samples are NaN or infinite, the first at 0.006 s; write the recording again",
    "mk_truncated.flac": ": damaged or cut off within its 11.00 s (Error : flac decoder lost sync); copy it again",
    "mk_truncated.wav": ": holds 5.50 s of the 11.00 s its header promises (an incomplete copy?); copy it again, or",
    "mk_vid.mp4": f": is MP4 or M4A, which soundfile does not read; {NEEDS_FFMPEG}",
    "mk_webm.webm": f": is WebM or Matroska, which soundfile does not read; {NEEDS_FFMPEG}",
    "mk_zero_bytes.wav": ": is empty (0 bytes)",
    "mk_zero_frames.wav": ": holds no audio (0 samples); remove it from the manifest",
    "real_awful.wav": ": its header states a sample rate of 1092676 Hz, outside 4000 to 384000; correct the header",
    "real_bad.wav": ": damaged WAV file (Error in WAV file. No 'data' chunk marker); copy or encode it again",
    "real_evil.wav": ": damaged WAV file (Error in WAV file. No 'data' chunk marker); copy or encode it again",
    "real_goforward.raw": ": is of no known kind, which soundfile does not read; raw samples (it starts with bytes f6 ff",
    "real_missing_wav_header.wav": ": is of no known kind, which soundfile does not read; raw samples (it starts with byte",
    "real_null.wav": ": holds no audio (0 samples); remove it from the manifest",
}


@pytest.fixture(autouse=True)
def _no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentences are those of a machine without torchcodec, whatever is installed here."""
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)


def encoded(
    waveform: np.ndarray,
    *,
    format: str,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    subtype: str | None = None,
    **options: object,
) -> bytes:
    """The waveform as an encoded file in memory."""
    file = io.BytesIO()
    soundfile.write(file, waveform, sample_rate_hz, format=format, subtype=subtype, **options)
    return file.getvalue()


@needs_shared
def test_the_tables_name_every_odd_file() -> None:
    files = {path.name for path in (SHARED / "odd_audio").iterdir()} - {"MANIFEST.json", "LICENSES.md"}
    assert files == set(WAVEFORMS) | set(ERRORS)


@needs_shared
@pytest.mark.parametrize("as_bytes", [False, True], ids=["path", "bytes"])
@pytest.mark.parametrize("file", WAVEFORMS)
def test_odd_file_gives_its_waveform(file: str, as_bytes: bool) -> None:
    path = SHARED / "odd_audio" / file
    num_samples, peak = WAVEFORMS[file]
    waveform = load_audio(path.read_bytes() if as_bytes else str(path))
    assert waveform.dtype == np.float32 and waveform.ndim == 1
    assert abs(len(waveform) - num_samples) <= 1
    assert float(np.abs(waveform).max()) == pytest.approx(peak, rel=0.05)


@needs_shared
@pytest.mark.parametrize("as_bytes", [False, True], ids=["path", "bytes"])
@pytest.mark.parametrize("file", ERRORS)
def test_odd_file_gives_its_sentence(file: str, as_bytes: bool) -> None:
    path = SHARED / "odd_audio" / file
    with pytest.raises(AudioError) as error:
        load_audio(path.read_bytes() if as_bytes else str(path), name="" if not as_bytes else "u7")
    assert str(error.value).startswith(("u7" if as_bytes else str(path)) + ERRORS[file])
    assert "\n" not in str(error.value)


@needs_shared
@pytest.mark.parametrize("file", WAVEFORMS)
def test_probe_gives_the_length_of_the_waveform(file: str) -> None:
    info = probe_audio(str(SHARED / "odd_audio" / file))
    # 5 ms of slack: an MP3's tag counts padding that its decoder drops.
    assert info.duration_s == pytest.approx(WAVEFORMS[file][0] / SAMPLE_RATE_HZ, abs=0.005)


@needs_shared
def test_lost_start_of_an_early_vorbis_file_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load_audio(str(SHARED / "odd_audio" / "real_Example.ogg"))
    assert "real_Example.ogg: libsndfile skips its first 0.25 s" in caplog.text


@pytest.mark.parametrize(
    "format", sorted(set(soundfile.available_formats()) - {"RAW", "SDS", "SD2", "XI", "WVE", "MPC2K"})
)
def test_every_format_soundfile_writes_is_read_whatever_its_name(tmp_path: Path, format: str) -> None:
    # Left out: RAW has no header; XI states no true rate, WVE and MPC2K have one fixed rate, SDS pads, SD2 needs two files.
    subtype = soundfile.default_subtype(format)
    data = encoded(tone(1.0), format=format, subtype=subtype)
    for name in ("a", "a.wav", "a.raw", "a.mp3"):
        (tmp_path / name).write_bytes(data)
        assert np.abs(load_audio(str(tmp_path / name))[:16_000] - tone(1.0)).max() < 0.05
    assert len(load_audio(data)) == pytest.approx(16_000, abs=512)  # block codecs pad


def test_resampling_keeps_pitch_and_level(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(1.0, frequency_hz=1000, sample_rate_hz=44_100), sample_rate_hz=44_100)
    waveform = load_audio(str(path))
    expected = tone(1.0, frequency_hz=1000)
    assert len(waveform) == 16_000
    assert np.abs(waveform - expected)[200:-200].max() < 1e-3  # edges ring


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [("wav", "PCM_16", 1e-6), ("flac", "PCM_16", 1e-6), ("ogg", "VORBIS", 1e-6), ("mp3", "MPEG_LAYER_III", 1e-5)],
)
def test_a_span_equals_that_part_of_the_whole(tmp_path: Path, suffix: str, subtype: str, tolerance: float) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * SAMPLE_RATE_HZ).astype(np.float32)
    path = str(write_wav(tmp_path / f"a.{suffix}", noise, subtype=subtype))
    whole = load_audio(path)
    part = load_audio(path, start_s=1.25, end_s=3.0)
    assert np.abs(part - whole[20_000:48_000]).max() < tolerance


def test_a_span_is_decoded_without_the_rest(tmp_path: Path) -> None:
    data = bytearray(encoded(tone(2.0), format="WAV", subtype="FLOAT"))
    data[-4:] = struct.pack("<f", float("nan"))
    path = tmp_path / "late_nan.wav"
    path.write_bytes(data)
    assert len(load_audio(str(path), end_s=1.0)) == 16_000
    with pytest.raises(AudioError, match="1 of 32000 samples are NaN or infinite, the first at 2.000 s"):
        load_audio(str(path))


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ({"start_s": 3.0}, "start_s=3 lies beyond the end of the recording at 2 s"),
        ({"start_s": 1.0, "end_s": 2.5}, "end_s=2.5 lies beyond the end of the recording at 2 s"),
    ],
)
def test_a_span_beyond_the_recording_is_refused(tmp_path: Path, span: dict[str, float], words: str) -> None:
    path = str(write_wav(tmp_path / "a.wav", tone(2.0)))
    with pytest.raises(AudioError, match=words):
        load_audio(path, **span)


def test_an_end_that_was_rounded_up_is_cut_to_the_recording(tmp_path: Path) -> None:
    assert len(load_audio(str(write_wav(tmp_path / "a.wav", tone(2.0))), start_s=1.0, end_s=2.05)) == 16_000


def test_the_good_part_of_a_truncated_wav_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    data = encoded(tone(4.0), format="WAV")
    path.write_bytes(data[: len(data) // 2])
    assert len(load_audio(str(path), end_s=1.5)) == 24_000
    with pytest.raises(AudioError, match=r"holds 2.00 s of the 4.00 s its header promises"):
        load_audio(str(path))


@pytest.mark.parametrize("format", ["WAV", "RF64", "W64", "AIFF", "AU", "NIST", "FLAC", "MP3"])
def test_half_a_file_is_refused_in_every_format_that_states_its_length(format: str) -> None:
    data = encoded(np.random.default_rng(0).normal(0, 0.1, 48_000), format=format)
    assert len(load_audio(data)) == 48_000
    with pytest.raises(AudioError, match="its header promises|damaged or cut off"):
        load_audio(data[: len(data) // 2])


def test_a_wav_of_unknown_length_from_a_pipe_is_read_to_its_end() -> None:
    data = bytearray(encoded(tone(1.0), format="WAV", subtype="PCM_16"))
    data[40:44] = b"\xff\xff\xff\xff"  # what ffmpeg writes to a pipe
    assert len(load_audio(bytes(data))) == 16_000


def flac_with_total(total: int) -> bytes:
    """One second and a half of noise whose STREAMINFO states `total` samples; 0 means not known."""
    noise = np.random.default_rng(0).normal(0, 0.1, 24_000)
    data = bytearray(encoded(noise, format="FLAC", subtype="PCM_16"))
    data[21] = data[21] & 0xF0 | total >> 32
    data[22:26] = (total & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(data)


def test_a_flac_of_unknown_length_is_read_to_its_end() -> None:
    whole = load_audio(flac_with_total(24_000))
    assert np.array_equal(load_audio(flac_with_total(0)), whole)
    assert np.array_equal(load_audio(flac_with_total(0), start_s=0.5, end_s=1.0), whole[8_000:16_000])
    assert probe_audio(flac_with_total(0)).duration_s == 1.5


@pytest.mark.parametrize("total", [48_000, 2**36 - 1])
def test_a_flac_that_promises_too_much_is_refused_without_allocating_it(total: int) -> None:
    with pytest.raises(AudioError, match="damaged or cut off|too much to decode at once"):
        load_audio(flac_with_total(total))


def test_an_mp3_whose_end_would_be_lost_is_refused() -> None:
    first = encoded(np.random.default_rng(0).normal(0, 0.1, 16_000), format="MP3", sample_rate_hz=16_000)
    joined = first + first + first
    lengths = mp3_lengths(joined)
    assert lengths is not None and lengths.num_samples == pytest.approx(48_000, abs=3 * 2 * 1152)
    with pytest.raises(
        AudioError, match=r"its header counts 1.0\d s of 3.\d\d s it holds \(files joined end to end\?\)"
    ):
        load_audio(joined)


def test_mp3_frames_are_counted_behind_a_tag_of_cover_art() -> None:
    data = encoded(np.zeros(16_000), format="MP3", sample_rate_hz=16_000)
    plain = mp3_lengths(data)
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 40, 0]) + b"\xff\xfb" * 2560  # 40 * 128 bytes that look like frames
    assert plain is not None and mp3_lengths(tag + data) == plain


def test_mono_leaves_out_silent_channels() -> None:
    sound = tone(0.1)
    stereo = np.stack([sound, np.zeros_like(sound)], axis=1)
    assert np.array_equal(to_mono(stereo), sound)


def test_mono_is_the_mean_of_unlike_channels() -> None:
    low, high = tone(0.1, frequency_hz=200), tone(0.1, frequency_hz=3000)
    assert np.allclose(to_mono(np.stack([low, high], axis=1)), (low + high) / 2)


def test_mono_takes_one_channel_where_they_cancel() -> None:
    sound = tone(0.1)
    assert np.array_equal(to_mono(np.stack([-0.9 * sound, sound], axis=1)), sound)


def test_mono_of_silence_is_silence() -> None:
    assert np.array_equal(to_mono(np.zeros((50, 3), np.float32)), np.zeros(50, np.float32))


def test_integers_stored_as_float_are_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(0.1) * 32768, subtype="FLOAT")
    with pytest.raises(AudioError, match="divide integers stored as float by 32768"):
        load_audio(str(path))
    assert float(load_audio(str(write_wav(tmp_path / "b.wav", tone(0.1) * MAX_PEAK, subtype="FLOAT"))).max()) > 40


@pytest.mark.filterwarnings("error")
def test_infinities_of_both_signs_are_refused_without_a_warning() -> None:
    samples = np.concatenate([tone(0.1), [np.inf, -np.inf]])
    with pytest.raises(AudioError, match="u1: 2 of 1602 samples are NaN or infinite, the first at 0.100 s"):
        load_audio(encoded(samples, format="WAV", subtype="FLOAT"), name="u1")


def test_paths_that_are_no_file_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")  # opening it would wait for a writer for ever
    for path, words in [
        (tmp_path / "none.wav", "no such file"),
        (tmp_path, "is a directory"),
        (tmp_path / "pipe.wav", "is a pipe or device"),
        ("/dev/zero", "is a pipe or device"),
        ("a\0b.wav", "cannot be read"),
        (str(tmp_path / "x") * 300, "cannot be read"),
    ]:
        with pytest.raises(AudioError, match=words):
            load_audio(str(path))
        with pytest.raises(AudioError, match=words):
            probe_audio(str(path))


def test_more_than_an_hour_at_once_is_refused_but_a_span_of_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    num_bytes = int((MAX_SPAN_S + 1) * 8000)
    header = bytearray(encoded(np.zeros(0), format="WAV", sample_rate_hz=8000, subtype="PCM_U8"))
    header[40:44] = struct.pack("<I", num_bytes)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + num_bytes)  # a sparse file: no disk is used
    with pytest.raises(AudioError, match=r"3601 s in 1 channel\(s\) at 8000 Hz are too much to decode at once"):
        load_audio(str(path))
    assert len(load_audio(str(path), start_s=3000, end_s=3002)) == 32_000


def test_text_and_json_answers_are_no_recordings() -> None:
    with pytest.raises(AudioError, match="u1: is text, not a recording"):
        load_audio(b'{"error": "not found"}', name="u1")


class FakeDecoder:
    """Stands in for torchcodec.decoders.AudioDecoder (checked against torchcodec 0.13 with ffmpeg 8): 44.1 kHz stereo."""

    SECONDS = 3.0

    def __init__(self, source: str | bytes) -> None:
        self.metadata = types.SimpleNamespace(sample_rate=44_100, num_channels=2, duration_seconds=self.SECONDS)
        if b"broken" in (source if isinstance(source, bytes) else Path(source).read_bytes()):
            raise RuntimeError("SingleStreamDecoder, /src/x.cpp:52, Could not open input file: x\nsecond line")

    def get_samples_played_in_range(self, start_seconds: float, stop_seconds: float | None) -> types.SimpleNamespace:
        import torch

        stop = min(self.SECONDS, self.SECONDS if stop_seconds is None else stop_seconds)
        time_s = torch.arange(round((stop - start_seconds) * 44_100)) / 44_100 + start_seconds
        return types.SimpleNamespace(data=(0.5 * torch.sin(2 * torch.pi * 220 * time_s)).expand(2, -1))


@pytest.fixture
def with_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if torchcodec were installed."""
    decoders = types.SimpleNamespace(AudioDecoder=FakeDecoder)
    monkeypatch.setitem(sys.modules, "torchcodec", types.SimpleNamespace(decoders=decoders))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)


M4A = b"\x00\x00\x00\x1cftypM4A "


@pytest.mark.usefixtures("with_ffmpeg")
def test_ffmpeg_reads_what_soundfile_cannot(tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(M4A)
    waveform = load_audio(str(tmp_path / "a.m4a"))
    assert len(waveform) == 48_000
    assert np.abs(waveform - tone(3.0))[200:-200].max() < 1e-3
    assert len(load_audio(M4A, start_s=1.0, end_s=1.5)) == 8_000
    assert probe_audio(M4A).duration_s == pytest.approx(3.0)


@pytest.mark.usefixtures("with_ffmpeg")
def test_ffmpeg_errors_become_one_sentence() -> None:
    with pytest.raises(AudioError) as error:
        load_audio(M4A + b"broken", name="u1")
    assert str(error.value).startswith(
        "u1: is MP4 or M4A, and ffmpeg cannot decode it (Could not open input file: x); convert it to WAV or FLAC"
    )
    with pytest.raises(AudioError, match="u1: end_s=9 lies beyond the end of the recording at 3 s"):
        load_audio(M4A, end_s=9.0, name="u1")


def test_torchcodec_without_ffmpeg_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(types.ModuleType):
        def __getattr__(self, name: str) -> None:
            raise RuntimeError("Could not load libtorchcodec.\nmany lines")

    monkeypatch.setitem(sys.modules, "torchcodec.decoders", Broken("torchcodec.decoders"))
    monkeypatch.setitem(sys.modules, "torchcodec", types.ModuleType("torchcodec"))
    with pytest.raises(AudioError, match=r"does not load \(Could not load libtorchcodec.\): install ffmpeg"):
        load_audio(M4A, name="u1")


def test_a_channel_is_taken_alone_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    left, right = np.full(1600, 0.25, np.float32), np.full(1600, -0.5, np.float32)
    soundfile.write(tmp_path / "call.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    path = str(tmp_path / "call.wav")
    assert load_audio(path, channel=0).tolist() == left.tolist()
    assert load_audio(path, channel=1, start_s=0.05).tolist() == right[800:].tolist()
    with pytest.raises(
        AudioError, match=r"call.wav \(u1\): has 2 channel\(s\), none of number 2, as they are counted from 0"
    ):
        load_audio(path, channel=2, name="u1")


@pytest.mark.parametrize("riff_bytes", [0, 36, 36 + 3200])
def test_a_wav_whose_header_says_0_bytes_is_read_to_its_end(riff_bytes: int) -> None:
    samples = np.arange(1, 1601, dtype="<i2")
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", riff_bytes, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    wav = head + b"data" + struct.pack("<I", 0) + samples.tobytes()
    assert load_audio(wav).tolist() == (samples / np.float32(32768)).tolist()
    assert probe_audio(wav).duration_s == 0.1


@pytest.mark.parametrize("rest", [b"", b"LIST" + struct.pack("<I", 4) + b"INFO"])
def test_a_wav_that_holds_nothing_is_still_named(rest: bytes) -> None:
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    with pytest.raises(AudioError, match="holds no audio"):
        load_audio(head + b"data" + struct.pack("<I", 0) + rest)
