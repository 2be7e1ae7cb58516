"""What is trained: parts, patterns, LoRA's layers and precision, counts, groups, and agreement with gradient checkpointing."""

import re

import pytest
import torch
from omegaconf import OmegaConf
from peft import PeftModel
from torch import nn

from qasr_train.errors import ConfigError
from qasr_train.jobs.recipes import CONFIG_DIR
from qasr_train.models.adapt import apply_adaptation, count_parameters, parameter_groups
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.settings import AdaptConfig, LoraSettings, Parts
from tests.helpers_model import tiny_model, tiny_processor

DECODER = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def preset(name: str) -> AdaptConfig:
    """An adapt YAML as the config machinery loads it."""
    values = OmegaConf.load(CONFIG_DIR / "adapt" / f"{name}.yaml")
    assert values.pop("defaults") == ["adapt_schema", "_self_"]
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(AdaptConfig), values))
    assert isinstance(config, AdaptConfig)
    return config


def lora(**patterns: list[str]) -> AdaptConfig:
    return AdaptConfig(lora=LoraSettings(rank=4, alpha=8.0, **patterns))


def trained_names(model: nn.Module) -> set[str]:
    return {name for group in parameter_groups(model, PARTS).values() for name, p in group if p.requires_grad}


def loss_of(model: nn.Module) -> torch.Tensor:
    """Next-token loss of two short sentences over noise, through encoder, projector and decoder."""
    generator = torch.Generator().manual_seed(0)
    audio = [torch.randn(16_000, generator=generator).numpy() for _ in range(2)]
    inputs = tiny_processor().apply_transcription_request(audio, language=["English", "French"])
    inputs.pop("num_audio_tokens", None)
    return model(**inputs, labels=inputs["input_ids"]).loss


def test_full_trains_every_weight_and_wraps_nothing() -> None:
    model = tiny_model()
    adapted = apply_adaptation(model, preset("full"), PARTS)
    assert adapted is model
    assert all(p.requires_grad for p in model.parameters())


def test_frozen_encoder_trains_decoder_and_projector_only() -> None:
    model = apply_adaptation(tiny_model(), preset("frozen_encoder"), PARTS)
    assert {PARTS.locate(name)[0] for name in trained_names(model)} == {"decoder", "projector"}
    loss_of(model).backward()
    assert all(p.grad is None for p in model.model.audio_tower.parameters())


# hand count: LoRA of a linear layer [out, in] is rank * (in + out); width 32 / ffn 64 in the encoder, 48 / 96 in the decoder
ENCODER_LORA = 16 * 2 * (4 * (32 + 32) + 2 * (32 + 64))
PROJECTOR_LORA = 16 * ((32 + 32) + (32 + 48))
DECODER_LORA = 16 * 2 * ((48 + 64) + 2 * (48 + 32) + (64 + 48) + 3 * (48 + 96))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lora", {"encoder": ENCODER_LORA, "projector": PROJECTOR_LORA, "decoder": DECODER_LORA, "embeddings": 0}),
        ("lora_decoder", {"encoder": 0, "projector": 0, "decoder": DECODER_LORA, "embeddings": 0}),
        ("lora_encoder", {"encoder": ENCODER_LORA, "projector": PROJECTOR_LORA, "decoder": 0, "embeddings": 0}),
    ],
)
def test_lora_presets_add_rank_times_in_plus_out_to_their_parts(name: str, expected: dict[str, int]) -> None:
    model = apply_adaptation(tiny_model(), preset(name), PARTS)
    assert isinstance(model, PeftModel)
    counts = count_parameters(model, PARTS)
    assert {part.part: part.num_adapter for part in counts.parts} == expected
    assert sum(part.num_trained for part in counts.parts) == 0
    assert counts.num_trained == sum(expected.values())
    assert trained_names(model) == {name for name, _ in parameter_groups(model, PARTS)["adapters"]}


def test_counts_cover_the_whole_model_and_print_a_row_a_part() -> None:
    total = sum(p.numel() for p in tiny_model().parameters())
    counts = count_parameters(apply_adaptation(tiny_model(), lora(decoder=["q_proj"]), PARTS), PARTS)
    assert sum(part.num_parameters for part in counts.parts) == total
    assert counts.parts[-1].num_parameters == 384 * 48  # the embeddings, which the tied head shares
    lines = str(counts).splitlines()
    assert lines[1].split() == ["encoder", "22,496", "0", "0", "frozen"]
    assert re.fullmatch(r"decoder\s+46,384\s+0\s+896", lines[3])  # 4 * (48 + 64) in each of two layers
    assert lines[-1] == f"{896 / (total + 896):.2%} of all parameters are trained"


def test_groups_hold_every_parameter_once() -> None:
    model = apply_adaptation(tiny_model(), preset("lora"), PARTS)
    grouped = [id(p) for group in parameter_groups(model, PARTS).values() for _, p in group]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    names = [name for name, _ in parameter_groups(model, PARTS)["encoder"]]
    assert names == [n for n, _ in tiny_model().named_parameters() if n.startswith("model.audio_tower.")]
    assert {PARTS.locate(name)[0] for name, _ in parameter_groups(model, PARTS)["adapters"]} == {
        "encoder",
        "projector",
        "decoder",
    }


def test_lora_weights_are_float32_over_a_bfloat16_base_and_change_nothing_at_first() -> None:
    model = tiny_model().to(torch.bfloat16)
    with torch.no_grad():
        before = model(input_ids=torch.arange(5)[None]).logits
    adapted = apply_adaptation(model, lora(decoder=DECODER), PARTS)
    assert {p.dtype for p in adapted.parameters() if p.requires_grad} == {torch.float32}
    with torch.no_grad():
        assert torch.equal(adapted(input_ids=torch.arange(5)[None]).logits, before)


def test_a_pattern_chooses_layers_by_last_name_whole_name_number_or_expression() -> None:
    def layers(pattern: str) -> set[str]:
        model = apply_adaptation(tiny_model(), lora(encoder=[pattern]), PARTS)
        return {name.partition(".lora_")[0].removeprefix("model.audio_tower.") for name in trained_names(model)}

    assert layers("fc1") == {"layers.0.fc1", "layers.1.fc1"}
    assert layers("fc?") == {f"layers.{i}.fc{k}" for i in (0, 1) for k in (1, 2)}
    assert layers("layers.1.*.q_proj") == {"layers.1.self_attn.q_proj"}
    assert layers(r"re:layers\.1\.fc\d|conv_out") == {"layers.1.fc1", "layers.1.fc2", "conv_out"}


def test_a_chosen_layer_in_one_part_leaves_its_namesake_in_another_alone() -> None:
    model = apply_adaptation(tiny_model(), lora(decoder=["layers.1.self_attn.q_proj"]), PARTS)
    names = trained_names(model)
    assert names == {f"model.language_model.layers.1.self_attn.q_proj.lora_{side}.default.weight" for side in "AB"}


def test_weights_and_lora_can_be_mixed() -> None:
    config = AdaptConfig(
        trainable=["projector.*", "*norm*"], frozen=["encoder.*"], lora=LoraSettings(decoder=["q_proj"])
    )
    model = apply_adaptation(tiny_model(), config, PARTS)
    whole = {name for name in trained_names(model) if "lora_" not in name}
    assert "model.multi_modal_projector.linear_1.weight" in whole and "model.language_model.norm.weight" in whole
    assert all("projector" in name or "norm" in name for name in whole) and not any("audio" in name for name in whole)
    assert any(p.requires_grad for _, p in parameter_groups(model, PARTS)["adapters"])


def test_training_goes_on_from_an_adapter_already_in_the_model() -> None:
    model = apply_adaptation(tiny_model(), lora(decoder=["q_proj"]), PARTS)
    with torch.no_grad():
        for _, parameter in parameter_groups(model, PARTS)["adapters"]:
            parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
        heard = model(input_ids=torch.arange(5)[None]).logits
    again = apply_adaptation(model, lora(decoder=["v_proj"]), PARTS)
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in trained_names(again)} == {"v_proj"}
    with torch.no_grad():
        torch.testing.assert_close(again(input_ids=torch.arange(5)[None]).logits, heard)


@pytest.mark.parametrize("name", ["full", "lora", "lora_decoder", "lora_encoder", "frozen_encoder"])
def test_gradient_checkpointing_gives_the_same_gradients(name: str) -> None:
    model = apply_adaptation(tiny_model(), preset(name), PARTS).train()
    loss_of(model).backward()
    plain = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad and p.grad is not None}
    assert plain.keys() == {n for n, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    core = model.get_base_model() if isinstance(model, PeftModel) else model
    core.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    loss_of(model).backward()
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, plain[parameter_name])


MISTAKES = [
    (lora(decoder=["q_prj"]), "adapt.lora.decoder: 'q_prj' matches nothing; names here are like q_proj"),
    (lora(encoder=["o_proj"]), "adapt.lora.encoder: 'o_proj' matches nothing; names here are like .*out_proj"),
    (lora(decoder=["lm_head"]), "adapt.lora.decoder: 'lm_head' matches nothing"),
    (lora(projector=["re:("]), r"adapt.lora.projector: 're:\(' is no regular expression"),
    (
        AdaptConfig(trainable=["encodr.*"]),
        r"adapt.trainable: 'encodr.\*' matches nothing; names here are like encoder\.",
    ),
    (AdaptConfig(trainable=["*"], frozen=["conv9*"]), r"adapt.frozen: 'conv9\*' matches nothing"),
    (AdaptConfig(), "adapt: nothing is trained"),
    (AdaptConfig(trainable=["*.ln_post.*"], frozen=["*"]), "adapt: nothing is trained"),
    (lora(), "adapt: nothing is trained"),
    (
        AdaptConfig(trainable=["decoder.*"], lora=LoraSettings(decoder=["q_proj"])),
        "decoder.layers.0.self_attn.q_proj is trained itself and given LoRA",
    ),
]


@pytest.mark.parametrize(("config", "message"), MISTAKES)
def test_a_mistake_is_refused_before_the_model_is_changed(config: AdaptConfig, message: str) -> None:
    model = tiny_model()
    with pytest.raises(ConfigError, match=message):
        apply_adaptation(model, config, PARTS)
    assert all(p.requires_grad for p in model.parameters())
    assert model.state_dict().keys() == tiny_model().state_dict().keys()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rank": 0}, "adapt.lora.rank=0: expected at least 1"),
        ({"dropout": 1.0}, "adapt.lora.dropout=1.0: expected at least 0 and less than 1"),
        ({"alpha": 0.0}, "adapt.lora.alpha=0.0: expected more than 0"),
    ],
)
def test_numbers_out_of_range_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LoraSettings(**values)


def test_exceptions_without_a_rule_are_refused() -> None:
    with pytest.raises(ConfigError, match="adapt.frozen: it lists exceptions from adapt.trainable, which is empty"):
        AdaptConfig(frozen=["encoder.*"])


def test_parts_lie_where_the_family_says_and_a_projector_may_be_missing() -> None:
    parts = Parts("model.encoder", "model.decoder", embeddings="model.decoder.embed_tokens", head="proj_out")
    assert parts.names == ["encoder", "decoder"]
    assert parts.locate("model.encoder.conv1.bias") == ("encoder", "conv1.bias")
    assert parts.locate("model.decoder.layers.0.fc1.weight") == ("decoder", "layers.0.fc1.weight")
    assert parts.locate("proj_out.weight") == ("decoder", "proj_out.weight")
    names = ["model.decoder.embed_tokens.weight", "proj_out.weight", "model.decoder.embed_positions.weight"]
    assert [parts.is_embedding(name) for name in names] == [True, True, False]
    with pytest.raises(ValueError, match="model.encoders.x: in none of the parts encoder, decoder"):
        parts.locate("model.encoders.x")


def test_names_of_adapt_files_stand_for_those_of_another_family_or_for_nothing() -> None:
    model = nn.ModuleDict(
        {
            "hear": nn.ModuleDict({"fc1": nn.Linear(2, 2)}),
            "say": nn.ModuleDict({"out_proj": nn.Linear(2, 2), "words": nn.Embedding(3, 2)}),
            "head": nn.Linear(2, 3, bias=False),
        }
    )
    aliases = {"o_proj": "out_proj", "gate_proj": "", "projector.*": ""}
    parts = Parts(encoder="hear", decoder="say", embeddings="say.words", head="head", aliases=aliases)
    asked = AdaptConfig(
        trainable=["encoder.*", "projector.*"], lora=LoraSettings(rank=1, decoder=["o_proj", "gate_proj"])
    )
    adapted = apply_adaptation(model, asked, parts)  # type: ignore[arg-type]
    trained = {name for group in parameter_groups(adapted, parts).values() for name, p in group if p.requires_grad}
    assert trained == {
        "hear.fc1.weight",
        "hear.fc1.bias",
        "say.out_proj.lora_A.default.weight",
        "say.out_proj.lora_B.default.weight",
    }
    with pytest.raises(ConfigError, match="adapt.lora.decoder: 'up_proj' matches nothing"):
        apply_adaptation(adapted, AdaptConfig(lora=LoraSettings(decoder=["up_proj"])), parts)  # type: ignore[arg-type]
