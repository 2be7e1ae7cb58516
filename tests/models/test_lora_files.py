"""Adapters on disk: over a base of either layout, merged or not, weakened, and what a user may get wrong."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.models.adapt import apply_adaptation, parameter_groups
from qasr_train.models.locations import origin_of
from qasr_train.models.lora_files import attach_adapter, find_base, has_only_adapters, merge_adapter, save_adapter
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.qwen3_asr.layouts import (
    ADAPTER_KIND,
    digest_of,
    load_checkpoint_with_adapter,
    load_merged,
    load_processor,
    save_native,
    save_original,
)
from qasr_train.models.settings import AdaptConfig, LoraSettings
from tests.helpers_model import tiny_model, tiny_processor

IDS = torch.arange(9)[None]


def adapted_model(**settings: bool) -> PeftModel:
    """The tiny model with a trained-looking adapter on every part."""
    lora = LoraSettings(rank=2, alpha=8.0, decoder=["q_proj", "up_proj"], encoder=["fc1"], projector=["*"], **settings)
    model = apply_adaptation(tiny_model(), AdaptConfig(lora=lora), PARTS).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in parameter_groups(model, PARTS)["adapters"]:
            if "magnitude" not in name:
                parameter.normal_(std=0.1, generator=generator)
    assert isinstance(model, PeftModel)
    return model


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with `native`, `original` and the `adapter` that names `../native`."""
    save_native(tiny_model(), tiny_processor(), tmp_path / "native")
    save_original(tiny_model(), tiny_processor(), tmp_path / "original")
    save_adapter(adapted_model(), tmp_path / "adapter", base="../native")
    return tmp_path


@pytest.mark.parametrize("base", [None, "native", "original"])
def test_an_adapter_opens_over_either_layout_and_gives_the_same_as_when_it_was_saved(
    saved: Path, base: str | None
) -> None:
    model, processor = load_checkpoint_with_adapter(saved / "adapter", base=base and str(saved / base))
    assert isinstance(model, PeftModel) and not model.training
    assert torch.equal(logits(model), logits(adapted_model()))
    assert not torch.equal(logits(model), logits(tiny_model()))
    assert processor.tokenizer.get_vocab() == tiny_processor().tokenizer.get_vocab()


def test_a_merged_adapter_is_a_plain_model_that_says_the_same(saved: Path) -> None:
    model, _ = load_merged(saved / "adapter")
    assert model.state_dict().keys() == tiny_model().state_dict().keys()
    torch.testing.assert_close(logits(model), logits(adapted_model()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_merging_adds_scale_times_alpha_over_rank_times_the_product(scale: float) -> None:
    model = adapted_model()
    tensors = dict(model.get_base_model().named_parameters())
    layer = "model.language_model.layers.1.self_attn.q_proj"
    up, down = (tensors[f"{layer}.lora_{side}.default.weight"].detach().clone() for side in "BA")
    base = tiny_model().get_parameter(f"{layer}.weight")
    merged = merge_adapter(model, scale).get_parameter(f"{layer}.weight")
    torch.testing.assert_close(merged, base + scale * (8.0 / 2) * up @ down)


def test_files_hold_the_adapter_only_under_names_of_the_native_model(saved: Path) -> None:
    assert {path.name for path in (saved / "adapter").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    config = json.loads((saved / "adapter" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"], config["modules_to_save"]) == ("LORA", 2, 8, None)
    assert config["base_model_name_or_path"] == "../native"
    names = load_file(saved / "adapter" / "adapter_model.safetensors").keys()
    assert "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight" in names
    assert all(name.endswith((".lora_A.weight", ".lora_B.weight")) and "lm_head" not in name for name in names)


def test_plain_peft_opens_a_saved_adapter(saved: Path) -> None:
    model = PeftModel.from_pretrained(tiny_model(), saved / "adapter")
    assert torch.equal(logits(model.eval()), logits(adapted_model()))


def test_dora_survives_saving_and_cannot_be_weakened(saved: Path) -> None:
    model = adapted_model(use_dora=True)
    save_adapter(model, saved / "dora", base="../native")
    opened, _ = load_checkpoint_with_adapter(saved / "dora")
    torch.testing.assert_close(logits(opened), logits(model))
    with pytest.raises(ConfigError, match="strength=0.5: a DoRA adapter cannot be weakened"):
        merge_adapter(model, 0.5)


def test_whole_weights_trained_beside_the_adapter_are_not_lost_silently(tmp_path: Path) -> None:
    config = AdaptConfig(trainable=["*.ln_post.*"], lora=LoraSettings(decoder=["q_proj"]))
    model = apply_adaptation(tiny_model(), config, PARTS)
    assert not has_only_adapters(model) and has_only_adapters(adapted_model()) and not has_only_adapters(tiny_model())
    with pytest.raises(CheckpointError, match=r"2 weights outside the adapter are trained too \(.*ln_post.weight"):
        save_adapter(model, tmp_path / "adapter", base="x")


def edit(saved: Path, **changes: object) -> Path:
    file = saved / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return saved / "adapter"


def test_a_missing_base_says_how_to_name_one(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"base model of this adapter is not there .* model.base=PATH"):
        find_base(edit(saved, base_model_name_or_path="/gone/model"))
    with pytest.raises(CheckpointError, match=r"names no base model; say which with model.base=PATH_OR_HUB_ID"):
        find_base(edit(saved, base_model_name_or_path=None))


def test_a_relative_base_is_found_from_here_as_well(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved)
    assert find_base(edit(saved, base_model_name_or_path="original")).samefile(saved / "original")


def test_adapters_that_do_not_fit_are_refused(saved: Path) -> None:
    adapter = saved / "adapter"
    tensors = load_file(adapter / "adapter_model.safetensors")
    name = next(iter(tensors))
    save_file({n: t for n, t in tensors.items() if n != name}, adapter / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"adapter: the weights do not fit its configuration, tensors 1 missing"):
        load_checkpoint_with_adapter(adapter)
    save_file(tensors | {name: torch.zeros(2, 7)}, adapter / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 of another shape .*\[2, 7\] where"):
        load_checkpoint_with_adapter(adapter)
    with pytest.raises(CheckpointError, match="fits no layer of the base model"):
        attach_adapter(tiny_model(), edit(saved, target_modules="encoder.block.*"))


def test_damaged_adapter_files_are_refused(saved: Path) -> None:
    adapter = saved / "adapter"
    with pytest.raises(CheckpointError, match="peft_type is 'IA3', and only LORA"):
        load_checkpoint_with_adapter(edit(saved, peft_type="IA3"))
    edit(saved, peft_type="LORA")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"weights are pickled \(adapter_model.bin\)"):
        load_checkpoint_with_adapter(adapter)
    (adapter / "adapter_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"adapter_config.json: not readable"):
        load_checkpoint_with_adapter(adapter)


def test_an_adapter_with_nan_is_not_merged() -> None:
    model = adapted_model()
    with torch.no_grad():
        parameter_groups(model, PARTS)["adapters"][0][1].fill_(float("nan"))
    with pytest.raises(CheckpointError, match="the adapter holds NaN or infinite numbers"):
        merge_adapter(model)


def test_an_adapter_trained_over_another_adapter_opens_over_both(saved: Path) -> None:
    first, _ = load_checkpoint_with_adapter(saved / "adapter")
    second = apply_adaptation(first, AdaptConfig(lora=LoraSettings(rank=2, decoder=["v_proj"])), PARTS).eval()
    with torch.no_grad():
        for _, parameter in parameter_groups(second, PARTS)["adapters"]:
            parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(4))
    save_adapter(second, saved / "second", base="../adapter")
    opened, _ = load_checkpoint_with_adapter(saved / "second")
    assert torch.equal(logits(opened), logits(second))
    assert load_processor(saved / "second").tokenizer.get_vocab() == tiny_processor().tokenizer.get_vocab()


def trained_over(folder: Path) -> Path:
    """`adapter`, which notes the digest of `native`, its base."""
    save_adapter(adapted_model(), folder / "adapter", base="../native", base_digest=digest_of(folder / "native"))
    return folder / "adapter"


@pytest.mark.parametrize("base", ["native", "original", "rounded"])
def test_an_adapter_with_a_digest_opens_over_every_copy_of_its_base(saved: Path, base: str) -> None:
    adapter = trained_over(saved)
    save_native(tiny_model(), tiny_processor(), saved / "rounded", dtype=torch.bfloat16)
    model, _ = load_checkpoint_with_adapter(adapter, base=str(saved / base))
    assert isinstance(model, PeftModel)


@pytest.mark.parametrize("change", ["one value", "two values change places"])
def test_an_adapter_is_refused_over_other_weights_than_it_was_trained_over(saved: Path, change: str) -> None:
    adapter, file = trained_over(saved), saved / "native" / "model.safetensors"
    tensors = load_file(file)
    weight = tensors["model.language_model.layers.0.mlp.up_proj.weight"].view(-1)
    if change == "one value":
        weight[5] += 1.0
    else:
        weight[[0, 4]] = weight[[4, 0]]  # words of four values have the same sum
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"trained over other weights than its base .*native holds now \(digest \w+, not"
    ):
        load_checkpoint_with_adapter(adapter)


def test_an_adapter_of_an_older_run_opens_with_a_note(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_checkpoint_with_adapter(saved / "adapter")  # saved without a digest
    assert "notes no digest of the model it was trained over, so whether" in caplog.text
    caplog.clear()
    load_checkpoint_with_adapter(trained_over(saved))
    assert caplog.text == ""


def test_an_adapter_says_its_base_class_and_revision_for_others(tmp_path: Path) -> None:
    save_adapter(adapted_model(), tmp_path, base="Qwen/Qwen3-ASR-0.6B", revision="5" * 40, kind=ADAPTER_KIND)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "Qwen/Qwen3-ASR-0.6B" and config["task_type"] is None
    assert config["auto_mapping"]["base_model_class"] == "Qwen3ASRForConditionalGeneration"
    assert config["revision"] == "5" * 40


def test_a_model_of_the_hubs_cache_is_named_by_id_and_commit(tmp_path: Path) -> None:
    folder = tmp_path / "models--Qwen--Qwen3-ASR-0.6B" / "snapshots" / ("0a" * 20)
    folder.mkdir(parents=True)
    assert origin_of(str(folder), folder) == ("Qwen/Qwen3-ASR-0.6B", "0a" * 20)
    assert origin_of(str(tmp_path), tmp_path) == (str(tmp_path), None)
