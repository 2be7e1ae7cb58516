"""Checkpoint layouts: names and sizes against the published files, strict loading, round trips, and what a user may get wrong."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2Tokenizer, Qwen3ASRForConditionalGeneration

from qasr_train.errors import CheckpointError
from qasr_train.models.locations import resolve_checkpoint
from qasr_train.models.qwen3_asr import original
from qasr_train.models.qwen3_asr.layouts import (
    Layout,
    detect_layout,
    load_checkpoint,
    save_native,
    save_original,
)
from tests.helpers import SHARED, needs_shared
from tests.helpers_model import tiny_model, tiny_processor

PUBLISHED = SHARED / "qwen3_asr" if SHARED else Path()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `native` and `original`: the same tiny model, saved in each layout."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_native(tiny_model(), tiny_processor(), folder / "native")
    save_original(tiny_model(), tiny_processor(), folder / "original")
    return folder


def broken(saved: Path, tmp_path: Path, layout: str, damage: Callable[[Path], object]) -> Path:
    """A copy of a saved checkpoint with `damage` done to it."""
    folder = Path(shutil.copytree(saved / layout, tmp_path / "model"))
    damage(folder)
    return folder


def edit_json(name: str, change: Callable[[dict], object]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return damage


def edit_weights(change: Callable[[dict], object]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def assert_same_weights(first: torch.nn.Module, second: torch.nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@needs_shared
def test_all_612_tensors_of_the_published_model_map_both_ways_with_their_shapes() -> None:
    published = json.loads((PUBLISHED / "keymap_0.6B.json").read_text())
    folder = PUBLISHED / "original" / "Qwen3-ASR-0.6B"
    tokenizer = Qwen2Tokenizer.from_pretrained(folder)
    raw = json.loads((folder / "config.json").read_text())
    config = original.native_config(raw, tokenizer, where=folder)
    with torch.device("meta"):
        model = Qwen3ASRForConditionalGeneration(config)
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert len(published) == 612
    assert shapes == {name: entry["shape"] for name, entry in published.items()}
    assert {name: original.original_name(name) for name in shapes} == {n: e["orig"] for n, e in published.items()}
    assert {original.native_name(entry["orig"]) for entry in published.values()} == set(published)
    assert sum(p.numel() for p in model.parameters()) == 782_426_112


@needs_shared
def test_the_larger_model_has_its_published_number_of_parameters() -> None:
    tokenizer = Qwen2Tokenizer.from_pretrained(PUBLISHED / "original" / "Qwen3-ASR-0.6B")
    file = PUBLISHED / "original" / "Qwen3-ASR-1.7B" / "config.json"
    with torch.device("meta"):
        model = Qwen3ASRForConditionalGeneration(
            original.native_config(json.loads(file.read_text()), tokenizer, where=file)
        )
    assert sum(p.numel() for p in model.parameters()) == 2_038_052_480


@needs_shared
def test_native_config_of_the_published_file_is_the_one_transformers_converter_writes() -> None:
    folder = PUBLISHED / "original" / "Qwen3-ASR-0.6B"
    tokenizer = Qwen2Tokenizer.from_pretrained(folder)
    config = original.native_config(json.loads((folder / "config.json").read_text()), tokenizer, where=folder)
    ours = json.loads(config.to_json_string(use_diff=False))
    theirs = json.loads((PUBLISHED / "native_derived" / "config.json").read_text())
    for section in (theirs, theirs["audio_config"], theirs["text_config"]):
        section.pop("dtype", None), section.pop("transformers_version", None)
    for name in ("audio_config", "text_config"):
        assert {key: ours[name][key] for key in theirs[name]} == theirs[name]
    assert {key: ours[key] for key in theirs if "_config" not in key} == {
        key: value for key, value in theirs.items() if "_config" not in key
    }


@needs_shared
def test_original_config_written_from_the_published_one_differs_from_it_by_library_defaults_only() -> None:
    folder = PUBLISHED / "original" / "Qwen3-ASR-0.6B"
    tokenizer = Qwen2Tokenizer.from_pretrained(folder)
    published = json.loads((folder / "config.json").read_text())
    config = original.native_config(published, tokenizer, where=folder)
    ours = original.original_config(config, tokenizer, dtype=torch.bfloat16, languages=published["support_languages"])
    assert ours.keys() == published.keys()
    assert ours["thinker_config"].keys() == published["thinker_config"].keys()
    left_out = {}
    for name in ("audio_config", "text_config"):
        section, theirs = ours["thinker_config"].pop(name), published["thinker_config"].pop(name)
        assert section == {key: theirs[key] for key in section}
        left_out[name] = {key: theirs[key] for key in theirs if key not in section and key != "tie_word_embeddings"}
    # what every transformers 4 config carried, whatever the model, with the same value: nothing of this model is lost
    assert left_out["audio_config"] == left_out["text_config"]
    assert ours == published


@needs_shared
def test_tokenizer_files_written_for_the_original_layout_equal_the_published_ones(tmp_path: Path) -> None:
    folder = PUBLISHED / "original" / "Qwen3-ASR-0.6B"
    processor = tiny_processor()
    processor.tokenizer = Qwen2Tokenizer.from_pretrained(PUBLISHED / "native_derived")
    original.write_original_processor(processor, tmp_path)
    for name in ("vocab.json", "merges.txt", "chat_template.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
    for name in ("tokenizer_config.json", "preprocessor_config.json"):
        assert json.loads((tmp_path / name).read_text()) == json.loads((folder / name).read_text()), name
    original.write_original_generation_config(processor.tokenizer, tmp_path)
    published = json.loads((folder / "generation_config.json").read_text())
    assert json.loads((tmp_path / "generation_config.json").read_text()) == published


@needs_shared
def test_native_chat_template_is_the_published_one_and_token_ids_are_the_real_ones() -> None:
    published = (PUBLISHED / "native_derived" / "chat_template.jinja").read_text()
    assert original.native_chat_template() == published
    tokenizer = Qwen2Tokenizer.from_pretrained(PUBLISHED / "original" / "Qwen3-ASR-0.6B")
    ids = tokenizer.encode("language English<asr_text>")
    assert ids[-1] == 151704 and tokenizer.decode(ids[-1:], skip_special_tokens=True) == "<asr_text>"


@pytest.mark.parametrize("layout", ["native", "original"])
def test_a_saved_model_comes_back_bit_equal(saved: Path, layout: str) -> None:
    model, processor = load_checkpoint(saved / layout)
    assert_same_weights(model, tiny_model())
    assert not model.training and model.dtype == torch.float32
    assert type(processor.feature_extractor).__name__ == "Qwen3ASRFeatureExtractor"
    text = "language English<asr_text>two small pills, né 你<|im_end|>"
    assert processor.tokenizer.encode(text) == tiny_processor().tokenizer.encode(text)
    assert processor.chat_template == original.native_chat_template()


def test_native_to_original_and_back_keeps_every_bit_and_writes_native_names(saved: Path, tmp_path: Path) -> None:
    model, processor = load_checkpoint(saved / "original")
    save_native(model, processor, tmp_path / "again")
    again = load_file(tmp_path / "again" / "model.safetensors")
    first = load_file(saved / "native" / "model.safetensors")
    assert again.keys() == first.keys() and "lm_head.weight" not in again
    assert all(torch.equal(again[name], first[name]) for name in first)
    config = [json.loads((folder / "config.json").read_text()) for folder in (saved / "native", tmp_path / "again")]
    assert config[0] == config[1]


def test_original_layout_holds_every_file_its_readers_need_and_thinker_names_only(saved: Path) -> None:
    needed = {"config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer_config.json"}
    needed |= {"preprocessor_config.json", "chat_template.json", "generation_config.json"}
    assert {path.name for path in (saved / "original").iterdir()} == needed
    tensors = load_file(saved / "original" / "model.safetensors")
    assert all(name.startswith("thinker.") for name in tensors)
    assert torch.equal(tensors["thinker.lm_head.weight"], tensors["thinker.model.embed_tokens.weight"])
    config = json.loads((saved / "original" / "config.json").read_text())["thinker_config"]
    assert sum(config["text_config"]["rope_scaling"]["mrope_section"]) == config["text_config"]["head_dim"] // 2


@pytest.mark.slow  # .ci/run runs it
def test_plain_transformers_in_a_fresh_process_opens_a_native_directory_and_hears_the_same(
    saved: Path, tmp_path: Path
) -> None:
    script = """
import sys, json, numpy as np, torch
from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration
model, report = Qwen3ASRForConditionalGeneration.from_pretrained(sys.argv[1], output_loading_info=True)
assert not report["missing_keys"] and not report["unexpected_keys"], report
processor = AutoProcessor.from_pretrained(sys.argv[1])
inputs = processor.apply_transcription_request([np.sin(np.arange(16000) / 9).astype("float32")])
inputs.pop("num_audio_tokens", None)
with torch.no_grad():
    np.save(sys.argv[2], model.eval()(**inputs).logits.numpy())
"""
    file = tmp_path / "logits.npy"
    subprocess.run([sys.executable, "-c", script, saved / "native", file], check=True, capture_output=True, text=True)
    model, processor = load_checkpoint(saved / "original")
    inputs = processor.apply_transcription_request([np.sin(np.arange(16000) / 9).astype("float32")])
    inputs.pop("num_audio_tokens", None)
    with torch.no_grad():
        np.testing.assert_array_equal(model(**inputs).logits.numpy(), np.load(file))


def test_weights_can_be_stored_in_bfloat16_and_opened_in_float32(tmp_path: Path) -> None:
    model = tiny_model()
    save_native(model, tiny_processor(), tmp_path, dtype=torch.bfloat16)
    assert model.dtype == torch.float32
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    opened, _ = load_checkpoint(tmp_path)
    weight = tiny_model().lm_head.weight
    assert opened.dtype == torch.float32
    assert torch.equal(opened.lm_head.weight, weight.to(torch.bfloat16).float())
    assert opened.lm_head.weight is opened.model.language_model.embed_tokens.weight


def test_sharded_weights_load(saved: Path, tmp_path: Path) -> None:
    folder = broken(saved, tmp_path, "native", lambda f: (f / "model.safetensors").unlink())
    tiny_model().save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert_same_weights(load_checkpoint(folder)[0], tiny_model())
    next(folder.glob("model-00002-*")).unlink()
    with pytest.raises(CheckpointError, match=r"1 of \d+ weight files are missing \(model-00002-of-"):
        load_checkpoint(folder)


def test_layouts_are_told_apart(saved: Path, tmp_path: Path) -> None:
    assert detect_layout(saved / "native") is Layout.NATIVE
    assert detect_layout(saved / "original") is Layout.ORIGINAL
    (tmp_path / "adapter_config.json").write_text("{}")
    assert detect_layout(tmp_path) is Layout.ADAPTER
    with pytest.raises(CheckpointError, match="this is a LoRA adapter, not a whole model"):
        load_checkpoint(tmp_path)


LAYER = "layers.0.self_attn.q_proj.weight"
MISTAKES = [
    ("native", lambda f: (f / "config.json").unlink(), "no config.json, so this is not a model directory"),
    ("native", lambda f: (f / "config.json").write_text("{"), r"config.json: not readable as JSON"),
    ("native", edit_json("config.json", lambda c: c.update(model_type="whisper")), "model_type 'whisper'"),
    ("native", edit_json("config.json", lambda c: c.pop("text_config")), "config.json has no text_config"),
    ("native", edit_json("config.json", lambda c: c.update(eos_token_id="x")), "config.json is not valid"),
    (
        "native",
        edit_json("config.json", lambda c: c.update(architectures=["Qwen3ASRForTokenClassification"])),
        "this is a Qwen3-ForcedAligner, which gives timestamps",
    ),
    ("native", lambda f: (f / "model.safetensors").unlink(), "no weights, neither model.safetensors nor"),
    (
        "native",
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        r"weights are pickled \(pytorch_model.bin\)",
    ),
    (
        "native",
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-100]),
        "damaged or cut short",
    ),
    ("native", lambda f: (f / "model.safetensors").write_bytes(b""), "damaged or cut short"),
    (
        "native",
        edit_weights(lambda t: t.pop(f"model.audio_tower.{LAYER}")),
        rf"1 missing \(model.audio_tower.{LAYER}\)",
    ),
    ("native", edit_weights(lambda t: t.update(extra=torch.zeros(1))), r"1 unknown \(extra\)"),
    (
        "native",
        edit_json("config.json", lambda c: c["text_config"].update(intermediate_size=128)),
        r"6 of another shape \(model.language_model.layers.0.mlp.gate_proj.weight \[96, 48\] where \[128, 48\] is needed",
    ),
    ("native", lambda f: (f / "processor_config.json").unlink(), "processor_config.json missing, without which"),
    ("native", lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json missing, without which"),
    ("native", lambda f: (f / "tokenizer.json").write_text("{}"), "the tokenizer cannot be opened"),
    ("native", edit_json("config.json", lambda c: c.update(audio_token_id=3)), r"id of <\|audio_pad\|> is 32\d"),
    (
        "native",
        edit_json("processor_config.json", lambda c: c["feature_extractor"].update(feature_size=80)),
        "feature_size is 80 in the processor files and 128 in config.json",
    ),
    ("original", lambda f: (f / "merges.txt").unlink(), "merges.txt missing, without which"),
    (
        "original",
        lambda f: [(f / name).unlink() for name in ("vocab.json", "tokenizer_config.json")],
        "tokenizer_config.json, vocab.json missing",
    ),
    (
        "original",
        edit_json("tokenizer_config.json", lambda c: c["added_tokens_decoder"].pop("326")),
        "the tokenizer does not know <asr_text>",
    ),
    ("original", edit_weights(lambda t: t.clear() or t.update(x=torch.zeros(1))), "69 missing .* and 66 more"),
    (
        "original",
        edit_weights(lambda t: t.update({"thinker.lm_head.weight": t["thinker.lm_head.weight"] + 1})),
        "lm_head differs from the token embeddings",
    ),
    (
        "original",
        edit_json("config.json", lambda c: c["thinker_config"].update(classify_num=5000)),
        "Qwen3-ForcedAligner, which gives timestamps",
    ),
    (
        "original",
        edit_json("config.json", lambda c: c["thinker_config"].pop("audio_config")),
        "thinker_config has no audio_config",
    ),
    (
        "original",
        edit_json("config.json", lambda c: c["thinker_config"]["text_config"].pop("hidden_size")),
        "no hidden_size in thinker_config",
    ),
]


@pytest.mark.parametrize(("layout", "damage", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_an_incomplete_or_foreign_directory_is_refused_with_its_name(
    saved: Path, tmp_path: Path, layout: str, damage: Callable[[Path], object], message: str
) -> None:
    folder = broken(saved, tmp_path, layout, damage)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_parent_directory_is_pointed_to_the_checkpoint_inside(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="did you mean native, original inside it"):
        detect_layout(saved)


def test_local_directories_come_before_hub_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: pytest.fail("asked the Hub"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Qwen" / "Qwen3-ASR-0.6B").mkdir(parents=True)
    assert resolve_checkpoint("Qwen/Qwen3-ASR-0.6B").samefile(tmp_path / "Qwen" / "Qwen3-ASR-0.6B")


@pytest.mark.parametrize("path", ["runs/demo/checkpoints/bset", "./tiny", "/no/where", "Qwen3-ASR-0.6B", ""])
def test_what_cannot_be_a_hub_id_is_never_looked_up(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: pytest.fail("asked the Hub"))
    with pytest.raises(CheckpointError, match="no such directory .* and not a hub id either"):
        resolve_checkpoint(path)


def test_a_hub_id_offline_says_both_readings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="not a directory here .* as a hub id at revision v1: the Hub cannot be"):
        resolve_checkpoint("prepared/tiny", "v1")


def test_a_file_and_an_unknown_bundled_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(CheckpointError, match="this is a file"):
        resolve_checkpoint(str(tmp_path / "x"))
    with pytest.raises(CheckpointError, match="bundled:nothing: no such bundled checkpoint"):
        resolve_checkpoint("bundled:nothing")


def test_a_failed_write_keeps_the_operating_systems_reason(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        save_native(tiny_model(), tiny_processor(), tmp_path)
    assert caught.value.errno


def test_a_model_can_be_saved_over_the_directory_it_came_from(saved: Path, tmp_path: Path) -> None:
    folder = broken(saved, tmp_path, "native", lambda f: None)
    model, processor = load_checkpoint(folder)
    save_native(model, processor, folder)
    assert_same_weights(load_checkpoint(folder)[0], tiny_model())
    assert_same_weights(model, tiny_model())


def test_weights_are_as_readable_as_other_files(saved: Path) -> None:
    modes = {
        (saved / "native" / name).stat().st_mode for name in ("model.safetensors", "tokenizer.json", "config.json")
    }
    assert len(modes) == 1
