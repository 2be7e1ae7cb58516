"""Files of every kind, damaged at random: what comes out is data or one sentence, never another exception, a signal or gigabytes.

Seeded, some seconds; `make test-faults` goes on for minutes with other seeds.
"""

import io
import json
import random
import struct
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from qasr_train.audio.decode import load_audio, probe_audio
from qasr_train.errors import UserError
from qasr_train.models.locations import read_config
from qasr_train.models.safetensors_files import read_tensors, stored_tensors
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances, stream_utterances
from qasr_train.transcription.predictions import load_predictions
from tests.helpers import write_wav

SECONDS = 0.8  # for each kind
LONG_SECONDS = 20.0
BYTES = (
    b"\0",
    b"\xff",
    b"\n",
    b'"',
    b"{",
    b"[",
    b"\\",
    b",",
    b"\t",
    b"1e400",
    b"-1",
    b"9" * 400,
    b"\\ud800",
    b"\x1b[2J",
    b"NaN",
)


def rows_file(folder: Path) -> bytes:
    rows = [
        {
            "id": "a",
            "audio": "a.wav",
            "text": "one",
            "language": "en",
            "duration": 0.5,
            "speaker": "s",
            "split": "train",
        },
        {
            "id": "b",
            "audio": "a.wav",
            "text": "two \u4f60",
            "offset": 0.1,
            "duration": 0.2,
            "channel": 0,
            "context": ["x"],
        },
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def table_file(folder: Path) -> bytes:
    return b'path,sentence,locale,duration\na.wav,"one, ""two""",en,0.5\na.wav,three,de,\n'


def tar_file(folder: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in (
            ("a.1.wav", b"RIFF"),
            ("a.1.json", b'{"text": "x"}'),
            ("\u4f60" * 60 + ".txt", b"y"),
            ("\u4f60" * 60 + ".flac", b"fLaC"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def parquet_file(folder: Path) -> bytes:
    rows = [
        {"audio": "a.wav", "text": "one \u4f60", "language": "en", "duration": 0.5},
        {"audio": "a.wav", "text": "two"},
    ]
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    return out.getvalue()


def predictions_file(folder: Path) -> bytes:
    rows = [
        {"id": f"u{i}", "text": "a b", "pred_text": "a c", "duration": 1.0, "time": 0.1, "set": "s", "confidence": 0.5,
         "parent_id": "p", "chunk_index": i, "language": "English", "speaker": "x"}
        for i in range(2)
    ]  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def config_file(folder: Path) -> bytes:
    return json.dumps({"model_type": "qwen3_asr", "layers": [1, 2], "audio": {"heads": 8, "eps": 1e-5}}).encode()


def weights_file(folder: Path) -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


def sound_file(kind: str) -> Callable[[Path], bytes]:
    def made(folder: Path) -> bytes:
        out = io.BytesIO()
        soundfile.write(out, np.sin(np.arange(800) / 5).astype(np.float32), 16_000, format=kind)
        return out.getvalue()

    return made


def read_list(path: Path) -> None:
    for utterance in load_utterances(SourceConfig(path=str(path)), "fuzz"):
        assert utterance.id


def read_stream(path: Path) -> None:
    stream_utterances(SourceConfig(path=str(path), streaming=True), "fuzz").take(5)


def read_rows(path: Path) -> None:
    for read in (read_list, read_stream):
        try:
            read(path)
        except UserError:
            continue


def read_sound(path: Path) -> None:
    for read in (probe_audio, load_audio):
        try:
            read(str(path))
        except UserError:
            continue


def read_weights(path: Path) -> None:
    read_tensors(stored_tensors(path.parent))


KINDS: dict[str, tuple[str, Callable[[Path], bytes], Callable[[Path], object]]] = {
    "JSON lines": ("m.jsonl", rows_file, read_rows),
    "a table": ("m.csv", table_file, read_rows),
    "Parquet": ("m.parquet", parquet_file, read_rows),
    "a tar": ("m.tar", tar_file, read_stream),
    "predictions": ("p.jsonl", predictions_file, load_predictions),
    "config.json": ("config.json", config_file, lambda path: read_config(path.parent)),
    "safetensors": ("model.safetensors", weights_file, read_weights),
    "WAV": ("s.wav", sound_file("WAV"), read_sound),
    "FLAC": ("s.flac", sound_file("FLAC"), read_sound),
    "MP3": ("s.mp3", sound_file("MP3"), read_sound),
    "Ogg": ("s.ogg", sound_file("OGG"), read_sound),
    "AIFF": ("s.aiff", sound_file("AIFF"), read_sound),
}


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The content with one to four damages: bytes changed, put in, cut out, repeated, or the end cut off."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        # Heads matter most, so half of the damages are there.
        place = draw.randrange(min(len(data), 64) if draw.random() < 0.5 and data else len(data) + 1)
        kind = draw.randrange(6)
        if kind == 0 and data:
            data[place % len(data)] = draw.randrange(256)
        elif kind == 1:
            data[place:place] = draw.choice(BYTES)
        elif kind == 2:
            data[place : place + draw.randint(1, 40)] = b""
        elif kind == 3:
            data[place : place + 4] = draw.randbytes(4)
        elif kind == 4:
            data[place:place] = bytes(data[place : place + draw.randint(1, 200)]) * draw.randint(1, 3)
        else:
            del data[place:]
    return bytes(data)


def fuzz(name: str, folder: Path, *, seed: int, seconds: float) -> None:
    file, make, read = KINDS[name]
    write_wav(folder / "a.wav")
    path, whole, draw = folder / file, make(folder), random.Random(f"{name} {seed}")
    path.write_bytes(whole)
    read(path)  # what is whole can be read
    started, number = time.monotonic(), 0
    while time.monotonic() - started < seconds:
        data, number = damaged(whole, draw), number + 1
        path.write_bytes(data)
        begun = time.monotonic()
        try:
            read(path)
        except UserError as error:
            assert str(error).strip(), (number, data)
        except BaseException as error:
            raise AssertionError(f"{name}, seed {seed}, file {number}: {error!r} from {data!r}") from error
        assert time.monotonic() - begun < 20, (number, data)
    assert number > 5


@pytest.mark.parametrize("name", KINDS)
def test_damaged_files_are_data_or_a_sentence(tmp_path: Path, name: str) -> None:
    fuzz(name, tmp_path, seed=0, seconds=SECONDS)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("name", KINDS)
def test_damaged_files_are_data_or_a_sentence_for_minutes(tmp_path: Path, name: str) -> None:
    fuzz(name, tmp_path, seed=1, seconds=LONG_SECONDS)


@pytest.mark.parametrize("shape", ['{"a":', "["])
def test_json_nested_just_as_deep_as_python_reads_is_data_or_a_sentence(tmp_path: Path, shape: str) -> None:
    """What parses at the limit must not fail later, in code that walks it with a few more frames on the stack."""
    write_wav(tmp_path / "a.wav")
    for depth in range(880, 1000, 13):
        deep = shape * depth + "1" + ("}" if shape[0] == "{" else "]") * depth
        for name in ("JSON lines", "predictions", "config.json"):
            file, make, read = KINDS[name]
            first = make(tmp_path).decode().split("\n")[0]
            (tmp_path / file).write_text(f'{first[:-1]}, "deep": {deep}}}\n')
            try:
                read(tmp_path / file)
            except UserError as error:
                assert str(error).strip() and "\n" not in str(error), (name, depth)
