"""Exports for a named program: the layout it takes, or a sentence; adapters that say what they are and what would be left out."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModel
from torch import nn

from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.jobs.export import export
from qasr_train.jobs.settings.export import ExportConfig
from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.exporting.adapters import name_base
from qasr_train.models.exporting.family import find_export
from qasr_train.models.lora_files import save_adapter
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.qwen3_asr.layouts import digest_of, load_merged, save_native, save_original
from qasr_train.models.settings import AdaptConfig, ExportDtype, ExportLayout, ExportTarget, LoraSettings
from tests.helpers_model import tiny_model, tiny_processor
from tests.models.tiny_families import save_tiny_whisper

DECODER = LoraSettings(rank=2, alpha=4.0, decoder=["q_proj"])
ALL = LoraSettings(rank=2, alpha=4.0, decoder=["q_proj"], encoder=["fc1"], projector=["*"])
COMMIT = "0a" * 20


def save_lora(folder: Path, lora: LoraSettings, base: Path | str, digest: str | None = None) -> Path:
    model: nn.Module = apply_adaptation(tiny_model(), AdaptConfig(lora=lora), PARTS)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.2, generator=generator)
    save_adapter(model, folder, base=str(base), base_digest=digest)
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """native/ and original/, the base; decoder/, all/ and dora/, adapters over it; whisper/."""
    folder = tmp_path_factory.mktemp("targets")
    save_native(tiny_model(), tiny_processor(), folder / "native")
    save_original(tiny_model(), tiny_processor(), folder / "original")
    save_lora(folder / "decoder", DECODER, folder / "native", digest_of(folder / "native"))
    save_lora(folder / "all", ALL, folder / "native")
    save_lora(folder / "dora", LoraSettings(rank=2, decoder=["q_proj"], use_dora=True), folder / "native")
    save_lora(folder / "wide", LoraSettings(rank=20, decoder=["q_proj"]), folder / "native")
    save_tiny_whisper(folder / "whisper")
    return folder


def written(checkpoint: Path, out: Path, **settings: Any) -> Path:
    return export(ExportConfig(checkpoint=str(checkpoint), out=str(out), **settings))


def settings_of(adapter: Path) -> dict[str, Any]:
    return json.loads((adapter / "adapter_config.json").read_text())


@pytest.mark.parametrize(
    ("checkpoint", "target", "file"),
    [
        ("native", "transformers", "processor_config.json"),
        ("native", "qwen_asr", "vocab.json"),
        ("original", "vllm", "vocab.json"),
        ("decoder", "peft", "adapter_config.json"),
        ("decoder", "vllm", "vocab.json"),  # merged
        ("whisper", "vllm", "preprocessor_config.json"),
    ],
)
def test_a_target_chooses_the_layout(work: Path, tmp_path: Path, checkpoint: str, target: str, file: str) -> None:
    assert (written(work / checkpoint, tmp_path / "out", target=ExportTarget(target)) / file).is_file()


@pytest.mark.parametrize(
    ("checkpoint", "settings", "message"),
    [
        ("native", {"target": "transformers", "layout": "original"}, "does not read layout=original .* layout=native$"),
        (
            "native",
            {"target": "qwen_asr", "layout": "native"},
            "target=qwen_asr: .* leave layout out or take layout=orig",
        ),
        ("decoder", {"target": "peft", "layout": "native"}, "target=peft: does not read layout=native"),
        ("native", {"target": "peft"}, "layout=adapter: .*native holds no LoRA adapter"),
        ("native", {"target": "faster_whisper"}, "target=faster_whisper: computes Whisper alone; .* take target=vllm"),
        ("whisper", {"target": "qwen_asr"}, "target=qwen_asr: computes Qwen3-ASR alone; .* take target=transformers"),
        ("whisper", {"target": "vllm", "layout": "adapter"}, "target=vllm: does not read layout=adapter of Whisper"),
        (
            "all",
            {"target": "vllm", "layout": "adapter"},
            "target=vllm layout=adapter: vLLM applies its 2 layers in the decoder and leaves out 2 in the encoder and 2 in the "
            "projector, .*; export the merged weights, which lose nothing: leave layout=adapter out",
        ),
        ("native", {"layout": "ctranslate2"}, "layout=ctranslate2: is a form of Whisper, .* there is layout=gguf"),
        ("whisper", {"layout": "gguf"}, "layout=gguf: is a form of Qwen3-ASR, .* there is layout=ctranslate2"),
        ("whisper", {"target": "crispasr"}, "target=crispasr: is given Qwen3-ASR alone; .* take target=faster_whisper"),
        ("dora", {"target": "vllm", "layout": "adapter"}, "it is DoRA, which vLLM cannot serve; export the merged"),
    ],
)
def test_what_a_target_does_not_take_is_one_sentence(
    work: Path, tmp_path: Path, checkpoint: str, settings: dict[str, str], message: str
) -> None:
    kinds: dict[str, Any] = {"target": ExportTarget, "layout": ExportLayout}
    with pytest.raises(ConfigError, match=message):
        written(work / checkpoint, tmp_path / "out", **{name: kinds[name](value) for name, value in settings.items()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("checkpoint", "target", "said"),
    [
        ("all", None, "leaves out 2 in the encoder and 2 in the projector"),
        ("dora", None, "it is DoRA, which vLLM cannot serve; for vLLM export the merged weights"),
        ("wide", ExportTarget.vllm, "its rank is 20, so vLLM needs --max-lora-rank 20 or more"),
        ("all", ExportTarget.peft, None),
        ("decoder", ExportTarget.vllm, None),
    ],
)
def test_an_adapter_says_at_export_what_vllm_leaves_out(
    work: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    checkpoint: str,
    target: ExportTarget | None,
    said: str | None,
) -> None:
    written(work / checkpoint, tmp_path / "out", layout=ExportLayout.adapter, target=target)
    assert (said or "") in caplog.text and ("vLLM" in caplog.text) is (said is not None)


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=torch.arange(7)[None]).logits


def test_auto_peft_model_opens_an_adapter_that_names_its_base(work: Path, tmp_path: Path) -> None:
    adapter = written(work / "decoder", tmp_path / "out", target=ExportTarget.peft, dtype=ExportDtype.float32)
    merged = logits(load_merged(work / "decoder")[0])
    assert not torch.allclose(merged, logits(tiny_model()), atol=1e-2)
    torch.testing.assert_close(logits(AutoPeftModel.from_pretrained(str(adapter))), merged, atol=1e-4, rtol=1e-4)


def test_a_base_of_the_hub_is_named_with_its_commit(work: Path, tmp_path: Path) -> None:
    cached = tmp_path / "models--me--mine" / "snapshots" / COMMIT
    save_native(tiny_model(), tiny_processor(), cached)
    settings = settings_of(written(work / "decoder", tmp_path / "out", base=str(cached), target=ExportTarget.peft))
    assert (settings["base_model_name_or_path"], settings["revision"]) == ("me/mine", COMMIT)
    assert settings["auto_mapping"]["base_model_class"] == "Qwen3ASRForConditionalGeneration"


def test_a_base_of_the_original_layout_is_not_named_to_peft(
    work: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"base": str(work / "original"), "layout": ExportLayout.adapter}
    with pytest.raises(
        ConfigError, match="target=peft: the adapter's base .* makes a model of random weights; name its"
    ):
        written(work / "decoder", tmp_path / "out", target=ExportTarget.peft, **settings)
    written(work / "decoder", tmp_path / "out", **settings)
    assert "has the original layout, of which transformers, and so PEFT, makes a model of random weights" in caplog.text
    caplog.clear()
    written(work / "decoder", tmp_path / "served", target=ExportTarget.vllm, **settings)
    assert "random" not in caplog.text


@pytest.mark.parametrize("family", ["native", "whisper"])
def test_an_adapter_as_a_base_is_not_named_to_peft(work: Path, family: str) -> None:
    """Whatever the family, PEFT opens whole models alone as a base."""
    _, export_of = find_export(work / family)
    with pytest.raises(
        ConfigError, match="target=peft: the adapter's base .*all is an adapter itself, .*layout=native"
    ):
        name_base(work / "wide", str(work / "all"), ExportTarget.peft, export_of)


def test_a_base_that_nobody_else_has_is_said(
    work: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(work / "decoder", tmp_path / "local", layout=ExportLayout.adapter)
    assert "is a folder of this machine; publish it and export again with base=HUB_ID, or export the" in caplog.text
    caplog.clear()
    written(save_lora(tmp_path / "tiny", DECODER, "bundled:tiny"), tmp_path / "out", layout=ExportLayout.adapter)
    assert "the adapter's base bundled:tiny is a name that only qasr_train knows" in caplog.text
    caplog.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    written(save_lora(tmp_path / "hub", DECODER, "no/where"), tmp_path / "gone", layout=ExportLayout.adapter)
    assert "whether others can open the adapter's base was not looked at (" in caplog.text


def test_another_base_than_it_was_trained_over_is_not_named(work: Path, tmp_path: Path) -> None:
    save_native(tiny_model(seed=1), tiny_processor(), tmp_path / "other")
    with pytest.raises(CheckpointError, match="the adapter was trained over other weights than its base .*other holds"):
        written(work / "decoder", tmp_path / "out", base=str(tmp_path / "other"), layout=ExportLayout.adapter)


@pytest.mark.parametrize("checkpoint", ["native", "whisper"])
def test_every_target_is_in_a_familys_table_or_has_a_reason(work: Path, checkpoint: str) -> None:
    _, family = find_export(work / checkpoint)
    layouts = {layout for taken in family.targets.values() for layout in taken}
    assert layouts == set(family.card.layouts)
    assert set(ExportTarget) - family.targets.keys() <= family.lacks.keys()
    assert set(ExportDtype) - {ExportDtype.auto, *family.dtypes} <= family.lacks.keys()
    assert set(ExportLayout) - family.card.layouts.keys() <= family.lacks.keys()
