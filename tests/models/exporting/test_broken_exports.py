"""Exports with something broken in them: each is one sentence that names it as the files themselves do, in every layout."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from qasr_train.errors import CheckpointError
from qasr_train.jobs.export import export
from qasr_train.jobs.settings.export import ExportConfig
from qasr_train.models.qwen3_asr.layouts import save_native, save_original
from tests.helpers_model import tiny_model, tiny_processor
from tests.models.tiny_families import save_tiny_whisper

# What a weight of each layout is called in its own files.
WEIGHTS = {
    "native": "model.language_model.layers.0.self_attn.q_proj.weight",
    "original": "thinker.model.layers.0.self_attn.q_proj.weight",
    "whisper": "model.decoder.layers.0.self_attn.q_proj.weight",
}
PROCESSORS = {
    "native": "processor_config.json",
    "original": "preprocessor_config.json",
    "whisper": "preprocessor_config.json",
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """native/, original/ and whisper/, in shards that can be lost; whole/NAME in one file that can be edited."""
    folder = tmp_path_factory.mktemp("sound")
    for parent, size in ((folder, 100_000), (folder / "whole", None)):
        save_native(tiny_model(), tiny_processor(), parent / "native", max_shard_bytes=size)
        save_original(tiny_model(), tiny_processor(), parent / "original", max_shard_bytes=size)
    save_tiny_whisper(folder / "whole/whisper")
    export(ExportConfig(checkpoint=str(folder / "whole/whisper"), out=str(folder / "whisper"), max_shard_size="100KB"))
    return folder


def edit_weight(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path, str], None]:
    def damage(folder: Path, layout: str) -> None:
        file = folder / "model.safetensors"
        tensors = load_file(file)
        tensors[WEIGHTS[layout]] = change(tensors[WEIGHTS[layout]].clone())
        save_file(tensors, file, metadata={"format": "pt"})

    return damage


def rename(folder: Path, layout: str) -> None:
    file, name = folder / "model.safetensors", WEIGHTS[layout]
    tensors = load_file(file)
    tensors[name.replace("q_proj", "query")] = tensors.pop(name)
    save_file(tensors, file, metadata={"format": "pt"})


def remove_processor(folder: Path, layout: str) -> None:
    for name in set(PROCESSORS.values()):
        (folder / name).unlink(missing_ok=True)


def hear_telephone(folder: Path, layout: str) -> None:
    for file in (folder / name for name in set(PROCESSORS.values()) if (folder / name).is_file()):
        content: dict[str, Any] = json.loads(file.read_text())
        content.get("feature_extractor", content)["sampling_rate"] = 8000
        file.write_text(json.dumps(content))


def quantize(folder: Path, layout: str) -> None:
    content = json.loads((folder / "config.json").read_text())
    content["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(content))


def cut_shard(folder: Path, layout: str) -> None:
    file = sorted(folder.glob("*.safetensors"))[0]
    file.write_bytes(file.read_bytes()[:-50])


def lose_shard(folder: Path, layout: str) -> None:
    sorted(folder.glob("*.safetensors"))[0].unlink()


def spoil(weight: torch.Tensor) -> torch.Tensor:
    weight[0, 0] = float("nan")
    return weight


# name: (damage, whether weights are in shards, what is said of {weight} and {processor})
BREAKS: dict[str, tuple[Callable[[Path, str], None], bool, str]] = {
    "tensor renamed": (rename, False, "1 missing ({weight}); 1 unknown ({renamed})"),
    "another shape": (edit_weight(lambda w: w[:-1].clone()), False, "1 of another shape ({weight} ["),
    "int8 without scales": (
        edit_weight(lambda w: w.to(torch.int8)),
        False,
        "({weight} is I8); their scales are not known",
    ),
    "float8 without scales": (edit_weight(lambda w: w.to(torch.float8_e4m3fn)), False, "({weight} is F8_E4M3); their"),
    "NaN": (edit_weight(spoil), False, "{weight} holds NaN or infinite numbers"),
    "quantized": (
        quantize,
        False,
        "config.json has a quantization_config (method 'gptq'), and quantized weights can be neither trained nor exported here; "
        "use the model in bfloat16 or float32 that they were made from",
    ),
    "processor removed": (
        remove_processor,
        False,
        "{processor} missing, without which text and audio cannot be prepared",
    ),
    "8 kHz": (hear_telephone, False, "the processor's sampling_rate is 8000, and audio is read at 16000 Hz here"),
    "shard cut": (cut_shard, True, "model-00001-of-0000{shards}.safetensors: damaged or cut short"),
    "shard lost": (
        lose_shard,
        True,
        "1 of {shards} weight files are missing (model-00001-of-0000{shards}.safetensors)",
    ),
}


@pytest.mark.parametrize("layout", WEIGHTS)
@pytest.mark.parametrize("broken", BREAKS)
def test_it_is_refused_by_name(sound: Path, tmp_path: Path, layout: str, broken: str) -> None:
    damage, is_sharded, said = BREAKS[broken]
    source = sound / layout if is_sharded else sound / "whole" / layout
    folder = Path(shutil.copytree(source, tmp_path / "model"))
    names = {
        "weight": WEIGHTS[layout],
        "renamed": WEIGHTS[layout].replace("q_proj", "query"),
        "processor": PROCESSORS[layout],
        "shards": len(list(folder.glob("*.safetensors"))),
    }
    damage(folder, layout)
    with pytest.raises(CheckpointError) as caught:
        export(ExportConfig(checkpoint=str(folder), out=str(tmp_path / "out")))
    assert said.format(**names) in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
