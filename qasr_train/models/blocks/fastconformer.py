"""Owns the front of NVIDIA's FastConformer models: log-mel of recordings, and NeMo's names of the encoder's tensors.

Input: recordings; a NeMo state dict. Output: padded features; the names of transformers' ParakeetEncoder.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Recording

MIN_SAMPLES = 1_600  # the features are divided by their deviation, which one frame or none does not have

# NeMo's name -> ParakeetEncoder's, applied in order; both begin where the encoder does.
_ENCODER_NAMES = (
    (r"^pre_encode\.conv\.", "subsampling.layers."),
    (r"^pre_encode\.out\.", "subsampling.linear."),
    (r"^(layers\.\d+\.conv)\.batch_norm\.", r"\1.norm."),
    (r"\.self_attn\.linear_([qkv])\.", r".self_attn.\1_proj."),
    (r"\.self_attn\.linear_out\.", ".self_attn.o_proj."),
    (r"\.self_attn\.linear_pos\.", ".self_attn.relative_k_proj."),
    (r"\.self_attn\.pos_bias_([uv])$", r".self_attn.bias_\1"),
)
# What the published model_config.yaml calls the sizes of ParakeetEncoderConfig.
_ENCODER_KEYS = {
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "feat_in": "num_mel_bins",
    "conv_kernel_size": "conv_kernel_size",
    "subsampling_factor": "subsampling_factor",
    "subsampling_conv_channels": "subsampling_conv_channels",
    "xscaling": "scale_input",
}


def encoder_name(nemo_name: str) -> str:
    """The ParakeetEncoder name of a tensor of NeMo's ConformerEncoder, both without the encoder's own prefix."""
    name = nemo_name
    for pattern, replacement in _ENCODER_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def encoder_settings(nemo_encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ParakeetEncoderConfig from the `encoder` section of a NeMo model_config.yaml; inference only."""
    settings = {ours: nemo_encoder[theirs] for theirs, ours in _ENCODER_KEYS.items() if theirs in nemo_encoder}
    settings["intermediate_size"] = nemo_encoder["d_model"] * nemo_encoder.get("ff_expansion_factor", 4)
    has_bias = nemo_encoder.get("use_bias", True)
    return settings | {"attention_bias": has_bias, "convolution_bias": has_bias, "layerdrop": 0.0}


def is_frontend_constant(nemo_name: str) -> bool:
    """Whether a tensor is the window or mel matrix of NeMo's preprocessor, which the feature extractor computes."""
    return nemo_name.endswith(("preprocessor.featurizer.window", "preprocessor.featurizer.fb"))


def log_mel(extractor: Any, recordings: Sequence[Recording]) -> tuple[torch.Tensor, torch.Tensor]:
    """float32 [B, M, F] features, normalised over each row's own frames, zero past its end, and their int64 [B, F] mask.

    Clips under 0.1 s are padded with zeros to it.
    """
    waveforms = [
        np.pad(one.waveform, (0, max(0, MIN_SAMPLES - len(one.waveform)))).astype(np.float32) for one in recordings
    ]
    features = extractor(waveforms, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
    return features["input_features"].transpose(1, 2).contiguous(), features["attention_mask"].to(torch.int64)
