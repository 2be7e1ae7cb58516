"""Whisper's exports: what plain transformers and PEFT open says what we say, in the number format asked for; mistakes say why."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModel, PeftModel
from safetensors.torch import load_file
from transformers import AutoProcessor, WhisperForConditionalGeneration

from qasr_train.batch import Recording
from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.jobs.export import export
from qasr_train.jobs.settings.export import ExportConfig
from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.exporting.family import find_export
from qasr_train.models.families import load_model, load_trainable
from qasr_train.models.settings import AdaptConfig, ExportDtype, ExportLayout, LoraSettings
from qasr_train.models.whisper.config import WhisperConfig, Window
from tests.helpers import tone, utterance, write_wav
from tests.models.tiny_families import save_tiny_whisper

LAYER = "model.decoder.layers.0.self_attn.q_proj.weight"
LORA = LoraSettings(rank=2, alpha=4.0, decoder=["q_proj"])


def train(base: Path, checkpoint: Path, adapt: AdaptConfig, seed: int = 5) -> None:
    """A checkpoint as finetune.py writes it, with weights that differ from the base's; no step is taken."""
    model = load_trainable(WhisperConfig(path=str(base), window=Window.clip), device="cpu")
    model.module = apply_adaptation(model.module, adapt, model.parts)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    model.save(checkpoint)


def record_run(run: Path, base: str) -> None:
    model = {"family": "whisper", "path": base, "window": "clip", "full_window_fraction": 0.1}
    (run / "run.json").write_text(json.dumps({"recipe": "finetune", "config": {"model": model}}))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base/; lora/ and whole/, runs over it."""
    folder = tmp_path_factory.mktemp("whisper")
    save_tiny_whisper(folder / "base")
    train(folder / "base", folder / "lora/checkpoints/step_1", AdaptConfig(lora=LORA))
    for seed in (1, 2):
        train(folder / "base", folder / f"whole/checkpoints/step_{seed}", AdaptConfig(trainable=["*"]), seed)
    for run in ("lora", "whole"):
        record_run(folder / run, str(folder / "base"))
    return folder


def written(checkpoint: Path, out: Path, **settings: Any) -> Path:
    return export(ExportConfig(checkpoint=str(checkpoint), out=str(out), **settings))


def test_what_plain_transformers_opens_says_what_we_say(work: Path, tmp_path: Path) -> None:
    out = written(work / "whole/checkpoints/step_1", tmp_path / "out", dtype=ExportDtype.float32)
    assert {path.name for path in out.iterdir()} == {
        *("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        *("processor_config.json", "preprocessor_config.json", "README.md"),
    }
    theirs, report = WhisperForConditionalGeneration.from_pretrained(out, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    processor = AutoProcessor.from_pretrained(out)
    features = processor(tone(1.2), sampling_rate=16_000, return_tensors="pt")
    ids = theirs.generate(**features, language="de", task="transcribe", max_new_tokens=8, do_sample=False)
    ours = load_model(WhisperConfig(path=str(out)), device="cpu")
    batch = ours.collator.for_transcription(
        [Recording(utterance(id="u"), tone(1.2))], language="German", use_context=False
    )
    expected = ours.transcribe(batch, max_new_tokens=8)[0].text
    assert expected and processor.batch_decode(ids, skip_special_tokens=True)[0].strip() == expected


def test_the_published_number_format_is_the_default_and_the_windows_survive(work: Path, tmp_path: Path) -> None:
    out = written(work / "lora/checkpoints/step_1", tmp_path / "out")
    tuned = load_file(work / "lora/checkpoints/step_1/model.safetensors")
    stored = load_file(out / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert torch.equal(stored[LAYER], tuned[LAYER].to(torch.float16))
    config = json.loads((out / "config.json").read_text())
    assert (config["trained_windows"], config["dtype"]) == (["clip"], "float16")


@pytest.mark.parametrize("run", ["lora", "whole"])
def test_a_weakened_export_lies_between_and_knows_its_windows(work: Path, tmp_path: Path, run: str) -> None:
    settings: dict[str, Any] = {"strength": 0.25, "dtype": ExportDtype.float32}
    out = written(work / run / "checkpoints/step_1", tmp_path / "out", **settings)
    base, tuned = (
        load_file(work / path / "model.safetensors")[LAYER] for path in ("base", f"{run}/checkpoints/step_1")
    )
    assert not torch.equal(base, tuned)
    torch.testing.assert_close(load_file(out / "model.safetensors")[LAYER], base + 0.25 * (tuned - base))
    assert json.loads((out / "config.json").read_text())["trained_windows"] == ["clip"]


def test_checkpoints_of_a_run_are_averaged(work: Path, tmp_path: Path) -> None:
    steps = [work / f"whole/checkpoints/step_{number}" for number in (1, 2)]
    out = written(steps[0], tmp_path / "out", average=[str(steps[1])], dtype=ExportDtype.float32)
    first, second = (load_file(step / "model.safetensors")[LAYER] for step in steps)
    torch.testing.assert_close(load_file(out / "model.safetensors")[LAYER], (first + second) / 2)


INPUTS = {
    "input_features": torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(3)),
    "decoder_input_ids": torch.arange(5)[None],
}


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(**INPUTS).logits


@pytest.fixture(scope="module")
def merged_logits(work: Path) -> torch.Tensor:
    merged = logits(WhisperForConditionalGeneration.from_pretrained(work / "lora/checkpoints/step_1"))
    assert not torch.allclose(logits(WhisperForConditionalGeneration.from_pretrained(work / "base")), merged, atol=1e-2)
    return merged


@pytest.mark.parametrize("opened_by", ["PeftModel", "AutoPeftModel", "ours"])
def test_an_adapter_says_the_same_as_the_merged_model(
    work: Path, tmp_path: Path, merged_logits: torch.Tensor, opened_by: str
) -> None:
    checkpoint = work / "lora/checkpoints/step_1"
    adapter = written(checkpoint, tmp_path / "adapter", layout=ExportLayout.adapter, dtype=ExportDtype.float32)
    assert {p.name for p in adapter.iterdir()} == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    open_it: dict[str, Callable[[], Any]] = {
        "PeftModel": lambda: PeftModel.from_pretrained(
            WhisperForConditionalGeneration.from_pretrained(work / "base"), adapter
        ),
        "AutoPeftModel": lambda: AutoPeftModel.from_pretrained(str(adapter)),
        "ours": lambda: load_model(WhisperConfig(path=str(adapter)), device="cpu").module,
    }
    torch.testing.assert_close(logits(open_it[opened_by]()), merged_logits, atol=1e-4, rtol=1e-4)


def test_an_adapter_alone_knows_the_windows_it_was_trained_with(
    work: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once = written(work / "lora/checkpoints/step_1", tmp_path / "once", layout=ExportLayout.adapter)
    again = written(once, tmp_path / "again", layout=ExportLayout.adapter, strength=0.5)
    load_model(WhisperConfig(path=str(again), window=Window.clip), device="cpu")
    assert "never trained" not in caplog.text
    load_model(WhisperConfig(path=str(work / "base"), window=Window.clip), device="cpu")
    assert "never trained" in caplog.text


def test_the_snippet_of_the_card_runs(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    out = written(work / "base", tmp_path / "out", dtype=ExportDtype.float32)
    snippet = re.search(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
    assert snippet is not None and "THIS_FOLDER" in snippet[1]
    write_wav(tmp_path / "speech.wav", tone(0.6))
    monkeypatch.chdir(tmp_path)
    exec(snippet[1].replace("THIS_FOLDER", str(out)), {})
    assert capsys.readouterr().out.endswith("\n")


def test_the_card_speaks_of_whisper_alone(work: Path, tmp_path: Path) -> None:
    record_run(work / "whole", "openai/whisper-large-v3-turbo")
    try:
        text = (written(work / "whole/checkpoints/step_1", tmp_path / "out") / "README.md").read_text()
    finally:
        record_run(work / "whole", str(work / "base"))
    assert "base_model: openai/whisper-large-v3-turbo\n" in text and "\nlicense: mit\n" in text
    assert "\n---\n\n# Whisper, fine-tuned" in text
    assert "This folder holds the layout of transformers; weights in float16." in text
    assert "the clip alone; the full window of 30 s in 10% of the batches" in text
    assert "ct2-transformers-converter" in text and "Qwen" not in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layout": ExportLayout.original}, "layout=original: is a layout of Qwen3-ASR, .* export layout=native, or"),
        ({"layout": ExportLayout.adapter}, "layout=adapter: .* holds no LoRA adapter, .* export layout=native$"),
        ({"average": ["bundled:tiny"]}, "average: bundled:tiny is not of the run of"),
    ],
)
def test_what_it_has_not_is_one_sentence_and_writes_nothing(
    work: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        written(work / "whole/checkpoints/step_1", tmp_path / "out", **settings)
    assert list(tmp_path.iterdir()) == []


def test_weights_beyond_float16_are_not_written_as_infinity(work: Path, tmp_path: Path) -> None:
    model = load_trainable(WhisperConfig(path=str(work / "base")), device="cpu")
    with torch.no_grad():
        model.get_parameter(f"module.{LAYER}")[0, 0] = 7e4
    model.save(tmp_path / "large")
    with pytest.raises(CheckpointError, match=rf"large: {LAYER} holds 7e\+04, and float16 ends at 65504; choose"):
        written(tmp_path / "large", tmp_path / "out")
    written(tmp_path / "large", tmp_path / "out", dtype=ExportDtype.bfloat16)


def test_the_family_is_told_by_the_base_and_without_it_by_the_layers(work: Path, tmp_path: Path) -> None:
    adapter = written(work / "lora/checkpoints/step_1", tmp_path / "adapter", layout=ExportLayout.adapter)
    assert find_export(work / "base")[0] == find_export(adapter)[0] == "whisper"
    settings = json.loads((adapter / "adapter_config.json").read_text()) | {"base_model_name_or_path": "gone"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    assert find_export(adapter)[0] == "whisper"
    assert (written(adapter, tmp_path / "again", layout=ExportLayout.adapter) / "adapter_config.json").is_file()
    with pytest.raises(CheckpointError, match="the base model of this adapter is not there"):
        written(adapter, tmp_path / "merged")


def test_a_family_without_exports_is_named_with_those_that_have(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "parakeet_tdt"}')
    with pytest.raises(CheckpointError, match="model_type 'parakeet_tdt', and only qwen3_asr and whisper can be"):
        find_export(tmp_path)
