"""Canary-Qwen: the published names fill a model of the published size, and it hears what its parts by hand hear."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, ParakeetEncoder, Qwen3Config, Qwen3ForCausalLM

from qasr_train.batch import Recording
from qasr_train.errors import CheckpointError
from qasr_train.models.canary_qwen.config import CanaryQwenConfig
from qasr_train.models.canary_qwen.model import CanaryQwen
from qasr_train.models.canary_qwen.published import TIED_HEAD, SpeechLanguageModel, our_name, read_sizes
from qasr_train.models.families import load_model
from tests.helpers import tone, utterance
from tests.models.tiny_families import (
    NEMO_SALM_CONFIG,
    nemo_encoder_state,
    salm_llm_state,
    save_tiny_canary_qwen,
    tiny_parakeet_encoder,
)

# config.json of Qwen/Qwen3-1.7B, what of it is a size
QWEN3_1_7B = {
    "model_type": "qwen3",
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": True,
}
CLIPS = [Recording(utterance(id=f"u{i}"), tone(0.5 + 1.3 * i, frequency_hz=200.0 * (i + 1))) for i in range(3)]


def load(folder: Path) -> CanaryQwen:
    model = load_model(CanaryQwenConfig(path=str(folder)), device="cpu")
    assert isinstance(model, CanaryQwen)
    return model


@torch.no_grad()
def heard_by_hand(folder: Path, features: torch.Tensor, num_tokens: int) -> list[int]:
    """Greedy tokens for float32 [1, F, M]: LoRA folded in by its formula, the whole sequence run again for each token."""
    state = load_file(folder / "model.safetensors")
    encoder = ParakeetEncoder(tiny_parakeet_encoder(num_mel_bins=128)).eval()
    encoder.load_state_dict({ours: state[theirs] for ours, theirs in encoder_names(encoder).items()})
    llm = Qwen3ForCausalLM(Qwen3Config.from_pretrained(folder / "llm")).eval()
    weights = {
        "model.embed_tokens.weight": state["embed_tokens.weight"],
        "lm_head.weight": state["embed_tokens.weight"],
    }
    for name in llm.state_dict().keys() - weights.keys():
        front = "llm.base_model.model." + name.removesuffix(".weight")
        if f"{front}.base_layer.weight" in state:
            update = state[f"{front}.lora_B.default.weight"] @ state[f"{front}.lora_A.default.weight"]
            weights[name] = state[f"{front}.base_layer.weight"] + 8 / 4 * update  # alpha over rank
        else:
            weights[name] = state[f"{front}.weight"]
    llm.load_state_dict(weights)
    frames = encoder(features).last_hidden_state[0] @ state["perception.proj.weight"].T + state["perception.proj.bias"]
    tokenizer = AutoTokenizer.from_pretrained(folder / "llm")
    before, after = (
        llm.get_input_embeddings()(torch.tensor(tokenizer(text)["input_ids"]))
        for text in ("<|im_start|>user\nTranscribe the following: ", "<|im_end|>\n<|im_start|>assistant\n")
    )
    embeds, tokens = torch.cat([before, frames, after])[None], []
    for _ in range(num_tokens):
        tokens.append(int(llm(inputs_embeds=embeds).logits[0, -1].argmax()))
        if tokenizer.convert_ids_to_tokens(tokens[-1]) in ("<|im_end|>", "<|endoftext|>"):
            break
        embeds = torch.cat([embeds, llm.get_input_embeddings()(torch.tensor([tokens[-1:]]))], dim=1)
    return tokens


def encoder_names(encoder: ParakeetEncoder) -> dict[str, str]:
    """transformers' name -> NeMo's, by the order of the two state dicts."""
    return dict(zip(encoder.state_dict(), nemo_encoder_state(encoder, "perception.encoder."), strict=True))


def test_it_hears_what_its_parts_hear_by_hand(tmp_path: Path):
    save_tiny_canary_qwen(tmp_path)
    model = load(tmp_path)
    batch = model.collator.for_transcription(CLIPS, language=None, use_context=False)
    for row, one in enumerate(model.transcribe(batch, max_new_tokens=8)):
        own = batch.input_features[row : row + 1, :, : int(batch.input_features_mask[row].sum())].transpose(1, 2)
        expected = heard_by_hand(tmp_path, own, 8)
        assert one.raw_text == model.collator.tokenizer.decode(expected, skip_special_tokens=True)
        assert one.num_tokens == len(expected)


def test_the_prompt_is_one_user_turn_with_the_audio_at_its_end(tmp_path: Path):
    save_tiny_canary_qwen(tmp_path)
    batch = load(tmp_path).collator.for_transcription(CLIPS[:1], language=None, use_context=False)
    text = AutoTokenizer.from_pretrained(tmp_path / "llm").decode(batch.input_ids[0][batch.input_ids[0] < 330])
    num_frames = int((batch.input_ids[0] == batch.input_ids.max()).sum())
    assert text.startswith("<|im_start|>user\nTranscribe the following: ")
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert num_frames == 7  # 50 frames of 10 ms, halved three times


def test_the_published_names_fill_a_model_of_2_559_billion_parameters(tmp_path: Path):
    """32 encoder layers of width 1024, Qwen3-1.7B, LoRA of rank 128; on the meta device."""
    config: dict[str, Any] = copy.deepcopy(NEMO_SALM_CONFIG)
    config["lora"] |= {"r": 128, "lora_alpha": 256}
    config["perception"]["encoder"] |= {
        "n_layers": 32,
        "d_model": 1024,
        "n_heads": 8,
        "ff_expansion_factor": 4,
        "conv_kernel_size": 9,
        "subsampling_conv_channels": 256,
    }
    for folder, content in {"salm": config, "llm": QWEN3_1_7B}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    sizes = read_sizes(tmp_path / "salm", tmp_path / "llm")
    with torch.device("meta"):
        module = SpeechLanguageModel(sizes)
        llm_names = salm_llm_state(Qwen3ForCausalLM(sizes.llm), rank=128)
        encoder_names = nemo_encoder_state(ParakeetEncoder(sizes.encoder), "perception.encoder.")
    assert round(sum(parameter.numel() for parameter in module.parameters()) / 1e9, 3) == 2.559
    # Counted in the published file by others: 421 tensors of the language model, 112 of them LoRA's.
    assert sum(name.startswith("llm.") for name in llm_names) == 421
    assert sum(".lora_" in name for name in llm_names) == 112
    published = [*llm_names, *encoder_names, "perception.proj.weight", "perception.proj.bias"]
    assert {our_name(name) for name in published} == module.state_dict().keys() - {TIED_HEAD}
    assert our_name("perception.preprocessor.featurizer.fb") is None
    assert our_name("perception.encoder.pos_enc.pe") is None


def test_mistakes_in_a_checkpoint_are_named(tmp_path: Path):
    save_tiny_canary_qwen(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["perception.proj.bias"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"tensors 1 missing \(projection.bias\)"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "whisper", "pretrained_llm": "x/y"}), encoding="utf-8"
    )
    with pytest.raises(CheckpointError, match="no perception, lora, audio_locator_tag, so it is not of Canary-Qwen"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(NEMO_SALM_CONFIG), encoding="utf-8")
    (tmp_path / "llm" / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="model_type is 'llama', and Canary-Qwen wants a qwen3"):
        load(tmp_path)
