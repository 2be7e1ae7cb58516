"""Sharded exports: files no larger than asked, an index that transformers and all of our loaders read, weights unchanged."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen3ASRForConditionalGeneration, WhisperForConditionalGeneration

from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.jobs.export import export
from qasr_train.jobs.settings.export import ExportConfig
from qasr_train.models.exporting.family import find_export
from qasr_train.models.qwen3_asr.layouts import digest_of, load_checkpoint, save_native
from qasr_train.models.safetensors_files import stored_tensors
from qasr_train.models.settings import ExportDtype, ExportLayout
from tests.helpers_model import tiny_model, tiny_processor
from tests.models.tiny_families import save_tiny_whisper

MOST = 100_000  # bytes; the embeddings of both tiny models are less


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    save_native(tiny_model(), tiny_processor(), folder / "qwen3_asr")
    save_tiny_whisper(folder / "whisper")
    return folder


def sharded(checkpoint: Path, out: Path, **settings: Any) -> Path:
    settings = {"max_shard_size": "100KB", "dtype": ExportDtype.float32} | settings
    return export(ExportConfig(checkpoint=str(checkpoint), out=str(out), **settings))


@pytest.mark.parametrize(
    ("family", "layout"), [("qwen3_asr", "native"), ("qwen3_asr", "original"), ("whisper", "native")]
)
def test_shards_are_as_small_as_asked_and_hold_what_one_file_holds(
    saved: Path, tmp_path: Path, family: str, layout: str
) -> None:
    out = sharded(saved / family, tmp_path / "out", layout=ExportLayout(layout))
    one = sharded(saved / family, tmp_path / "one", layout=ExportLayout(layout), max_shard_size=None)
    expected = load_file(one / "model.safetensors")
    index = json.loads((out / "model.safetensors.index.json").read_text())
    files = sorted(out.glob("*.safetensors"))
    assert len(files) > 2 and {file.name for file in files} == set(index["weight_map"].values())
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    held = {file.name: load_file(file) for file in files}
    assert {name: where for where, tensors in held.items() for name in tensors} == index["weight_map"]
    assert index["weight_map"].keys() == expected.keys()
    assert all(torch.equal(held[index["weight_map"][name]][name], tensor) for name, tensor in expected.items())
    sizes = [[tensor.numel() * 4 for tensor in tensors.values()] for tensors in held.values()]
    assert all(sum(of_file) <= MOST or len(of_file) == 1 for of_file in sizes)
    assert index["metadata"]["total_size"] == sum(map(sum, sizes))


@pytest.mark.parametrize(
    ("family", "model_class"),
    [("qwen3_asr", Qwen3ASRForConditionalGeneration), ("whisper", WhisperForConditionalGeneration)],
)
def test_transformers_and_our_loader_open_shards(saved: Path, tmp_path: Path, family: str, model_class: Any) -> None:
    out = sharded(saved / family, tmp_path / "out")
    theirs, report = model_class.from_pretrained(out, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ours = find_export(out)[1].open_whole(out, torch.float32).model.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in theirs.state_dict().items())


def test_a_digest_does_not_depend_on_shards(saved: Path, tmp_path: Path) -> None:
    for layout in (ExportLayout.native, ExportLayout.original):
        assert digest_of(sharded(saved / "qwen3_asr", tmp_path / layout.value, layout=layout)) == digest_of(
            saved / "qwen3_asr"
        )


def test_weights_that_fit_are_one_file_without_an_index(saved: Path, tmp_path: Path) -> None:
    out = sharded(saved / "qwen3_asr", tmp_path / "out", max_shard_size="5GB")
    assert [file.name for file in out.glob("model*")] == ["model.safetensors"]


def test_a_lost_or_cut_shard_is_named(saved: Path, tmp_path: Path) -> None:
    out = sharded(saved / "qwen3_asr", tmp_path / "out", layout=ExportLayout.original)
    first, second = sorted(out.glob("*.safetensors"))[:2]
    first.write_bytes(first.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=f"{first.name}: damaged or cut short"):
        load_checkpoint(out)
    second.unlink()
    with pytest.raises(CheckpointError, match=rf"1 of \d+ weight files are missing \({second.name}\)"):
        stored_tensors(out)


@pytest.mark.parametrize(
    ("size", "num_bytes"), [("5GB", 5_000_000_000), ("1.5 mb", 1_500_000), ("10KB", 10_000), (None, None)]
)
def test_sizes_are_counted_in_thousands(size: str | None, num_bytes: int | None) -> None:
    assert ExportConfig(checkpoint="a", out="b", max_shard_size=size).max_shard_bytes == num_bytes


@pytest.mark.parametrize("size", ["5", "0GB", "GB", "-5GB", "5GiB", "1e3MB", ""])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(ConfigError, match=f"max_shard_size={size}: expected a size such as 5GB or 500MB"):
        ExportConfig(checkpoint="a", out="b", max_shard_size=size)


def test_an_adapter_is_not_sharded(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="max_shard_size: layout=adapter is one file for whoever reads it; leave it out"
    ):
        sharded(saved / "qwen3_asr", tmp_path / "out", layout=ExportLayout.adapter)
