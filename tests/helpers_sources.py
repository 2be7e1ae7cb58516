"""What tests of sources share: rows as files of every kind, and reading them.

Input: a folder. Output: files in it, utterances.
"""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from qasr_train.manifest import Utterance
from qasr_train.sources.settings import SourceConfig, SourceFormat
from qasr_train.sources.source import load_utterances

NUM_SHARDS, PER_SHARD = 5, 6
ALL = sorted(f"s{shard}-{i}" for shard in range(NUM_SHARDS) for i in range(PER_SHARD))


def write_rows(path: Path, *rows: Any) -> str:
    """Rows as JSON lines; a string row is written as it is."""
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n", encoding="utf-8"
    )
    return str(path)


def load(path: str | Path, **settings: Any) -> list[Utterance]:
    """The utterances of a source called "main"."""
    return load_utterances(SourceConfig(path=str(path), **settings), "main")


def fields(utterances: list[Utterance], *names: str) -> list[tuple[Any, ...]]:
    """The named fields of each utterance."""
    return [tuple(getattr(utterance, name) for name in names) for utterance in utterances]


def audio_table(folder: Path, *, rows: int = 3) -> pa.Table:
    """A table as `datasets` writes it: audio as a struct of bytes and path."""
    names = [f"{'abc'[i % 3]}.wav" for i in range(rows)]
    return pa.table(
        {
            "audio": [{"bytes": (folder / "wav" / name).read_bytes(), "path": name} for name in names],
            "sentence": [f"text {i}" for i in range(rows)],
            "client_id": [i % 2 for i in range(rows)],
        }
    )


def hf_dataset(folder: Path, rows: int = 5) -> Any:
    """A dataset with an Audio column and languages as class labels."""
    dataset = datasets.Dataset(audio_table(folder, rows=rows))
    dataset = dataset.add_column("language", [i % 2 for i in range(rows)])
    dataset = dataset.cast_column("language", datasets.ClassLabel(names=["English", "de"]))
    return dataset.cast_column("audio", datasets.Audio())


def write_tar(path: Path, samples: list[dict[str, bytes]], names: list[str]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, members in zip(names, samples, strict=True):
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{name}.{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def shards(folder: Path, kind: str, wav: bytes) -> SourceConfig:
    """Thirty utterances in five tar files, five Parquet files, or one JSONL file."""
    folder.mkdir(exist_ok=True)
    rows = [[{"id": f"s{s}-{i}", "text": f"text {s} {i}"} for i in range(PER_SHARD)] for s in range(NUM_SHARDS)]
    for number, shard in enumerate(rows):
        if kind == "tar":
            members = [{"wav": wav, "json": json.dumps(row | {"duration": 0.25}).encode()} for row in shard]
            write_tar(folder / f"{number}.tar", members, [row["id"] for row in shard])
        elif kind == "parquet":
            table = [row | {"audio": {"bytes": wav, "path": "a.wav"}, "duration": 0.25} for row in shard]
            pq.write_table(pa.Table.from_pylist(table), folder / f"{number}.parquet")
    if kind == "jsonl":
        (folder / "a.wav").write_bytes(wav)
        lines = [json.dumps(row | {"audio": "a.wav", "duration": 0.25}) for shard in rows for row in shard]
        (folder / "m.jsonl").write_text("\n".join(lines) + "\n")
        return SourceConfig(path=str(folder / "m.jsonl"), streaming=True)
    return SourceConfig(
        path=str(folder), streaming=True, format=SourceFormat.parquet if kind == "parquet" else SourceFormat.auto
    )
