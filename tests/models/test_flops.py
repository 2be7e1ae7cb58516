"""Operations of Qwen3-ASR: against torch's own counter on the real classes, and against figures worked out on paper."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3ASRConfig

from qasr_train.batch import Recording
from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.qwen3_asr.flops import decoder_flops, encoder_flops, head_flops, projector_flops, training_flops
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.settings import AdaptConfig, LoraSettings
from tests.helpers import SHARED, needs_shared, utterance
from tests.helpers_model import tiny_model, tiny_processor

ALL = {"encoder", "projector", "decoder"}


def test_the_encoder_is_what_torch_counts() -> None:
    """Eight seconds, one window: nothing is padded."""
    model = tiny_model()
    model.set_attn_implementation("eager")  # the counter does not know the CPU's fused attention
    features, mask = torch.zeros(1, 128, 800), torch.ones(1, 800, dtype=torch.int64)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model.model.get_audio_features(features, mask)
    ours = encoder_flops(model.config, [800]) + projector_flops(model.config, [800])
    assert ours == pytest.approx(counted.get_total_flops(), rel=0.01)


def test_the_decoder_is_what_torch_counts_but_for_the_masked_half_of_attention() -> None:
    model, num_tokens = tiny_model(), 60
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model.model.language_model(input_ids=torch.zeros(1, num_tokens, dtype=torch.int64), use_cache=False)
    text = model.config.text_config
    width = text.num_attention_heads * text.head_dim
    masked = text.num_hidden_layers * 4 * width * num_tokens * (num_tokens - 1) / 2
    assert decoder_flops(model.config, [num_tokens]) + masked == pytest.approx(counted.get_total_flops(), rel=0.01)


@pytest.mark.parametrize(
    ("trained", "adapted", "factors"),
    [
        (ALL, set(), (3, 3, 3)),
        ({"decoder"}, set(), (1, 1, 3)),
        (set(), {"decoder"}, (1, 1, 2)),
        (set(), {"encoder"}, (2, 2, 2)),  # LoRA in the encoder: gradients of activations all the way back
        ({"projector"}, set(), (1, 3, 2)),
    ],
)
def test_frozen_parts_have_no_gradient_of_weights_and_none_behind_the_first_trained_one(trained, adapted, factors):
    config = tiny_model().config
    forward = (
        encoder_flops(config, [300]),
        projector_flops(config, [300]),
        decoder_flops(config, [50]) + head_flops(config, 7),
    )
    found = training_flops(config, num_frames=[300], num_tokens=[50], num_targets=7, trained=trained, adapted=adapted)
    assert found == pytest.approx(sum(f * factor for f, factor in zip(forward, factors, strict=True)))


@needs_shared
def test_the_sizes_on_paper() -> None:
    """facts/performance.md, section 5: 12.4 s of audio, 222 positions, 45 of them supervised; GFLOP per second of audio."""
    assert SHARED is not None
    config = Qwen3ASRConfig.from_pretrained(SHARED / "qwen3_asr" / "native_derived")
    frames, tokens, targets, audio_s = [1240], [222], 45, 12.4e9
    assert encoder_flops(config, frames) / audio_s == pytest.approx(4.4 + 4.6, rel=0.02)
    assert decoder_flops(config, tokens) / audio_s == pytest.approx(16.2, rel=0.02)
    assert head_flops(config, targets) / audio_s == pytest.approx(1.1, rel=0.03)
    sizes = {"num_frames": frames, "num_tokens": tokens, "num_targets": targets}
    assert training_flops(config, **sizes, trained=ALL, adapted=set()) / audio_s == pytest.approx(79, rel=0.01)
    assert training_flops(config, **sizes, trained={"decoder"}, adapted=set()) / audio_s == pytest.approx(61, rel=0.01)
    assert training_flops(config, **sizes, trained=set(), adapted={"decoder"}) / audio_s == pytest.approx(44, rel=0.01)


def test_what_is_trained_is_read_from_the_model() -> None:
    model = Qwen3ASR(tiny_model(), tiny_processor())
    recording = Recording(utterance(text="the quick fox"), torch.zeros(16000).numpy())
    batch = model.collator.for_training([recording])
    counts = {}
    for name, adapt in {
        "full": AdaptConfig(trainable=["*"]),
        "lora": AdaptConfig(lora=LoraSettings(rank=2, decoder=["q_proj"])),
    }.items():
        fresh = Qwen3ASR(tiny_model(), tiny_processor())
        fresh.module = apply_adaptation(fresh.module, adapt, PARTS)
        counts[name] = fresh.flop_counter()(batch)
    config, tokens = tiny_model().config, int(batch.attention_mask.sum())
    audio = encoder_flops(config, [100]) + projector_flops(config, [100])
    text = decoder_flops(config, [tokens]) + head_flops(config, batch.num_targets)
    assert counts == {"full": pytest.approx(3 * (audio + text)), "lora": pytest.approx(audio + 2 * text)}
