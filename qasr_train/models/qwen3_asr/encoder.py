"""Owns the audio side of the forward pass: log-mel -> embeddings of the audio positions, chunks that hold only padding left out.

One for recogniser and aligner. Composes transformers' own modules (convolutions, layers, projector). Input: padded features
and each row's frames, known on the host. Output: float [A, D] for all rows one after the other. Chunks of 1 s and windows of
8 s are the model's own.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from qasr_train.batch import Batch
from qasr_train.models.blocks.sound import Sound
from qasr_train.models.qwen3_asr.packing import PackedBatch, RowLengths

# Raise it with every change of what `encode_audio` computes: it tells encodings in caches of another code apart.
ENCODER_VERSION = 1
POSITIONS_PER_CHUNK = 13  # of 100 frames, after three convolutions of stride 2
# Chunks (seconds) that go through the convolutions at a time: each holds some 14 MB in fp32 while it does. A GPU has the
# memory for more, and a launch for every few would keep its host busy.
CHUNKS_AT_ONCE = {"cpu": 32, "cuda": 128}


def encode(core: Any, batch: Batch, sound: Sound, *, recompute_convolutions: bool) -> torch.Tensor:
    """float [A, D]: what the decoder is given for the audio positions of all rows, in row order.

    Encoder and projector run without autograd where nothing of them is trained; what a cache holds is taken as it is.
    """
    if batch.encoded is not None:
        return batch.encoded
    batch, host = sound.with_features(batch), batch.host or batch
    parts = (core.model.audio_tower, core.model.multi_modal_projector)
    is_trained = any(p.requires_grad for part in parts for p in part.parameters())
    with nullcontext() if is_trained else torch.no_grad():
        return encode_audio(
            core.model,
            batch.input_features.to(core.dtype),
            host.input_features_mask.sum(-1).tolist(),
            recompute_convolutions=recompute_convolutions and is_trained and core.training,
        )


def embed(core: Any, batch: Batch, packed: PackedBatch, encoded: torch.Tensor) -> torch.Tensor:
    """float [P, D]: embeddings of the tokens of all rows, with the encoder's output where the audio placeholders stand."""
    embeds = core.get_input_embeddings()(batch.input_ids.flatten().index_select(0, packed.flat))
    return embeds.index_copy(0, packed.audio, encoded.to(embeds.dtype))


def encode_audio(
    model: Any, features: torch.Tensor, num_frames: Sequence[int], *, recompute_convolutions: bool
) -> torch.Tensor:
    """float [A, D]: what the decoder is given for the audio positions of all rows, in row order.

    Args:
        model: transformers' Qwen3ASRModel (audio_tower, multi_modal_projector).
        features: float [B, M, F], F a multiple of the chunk of 100 frames; row i is real up to num_frames[i].
        num_frames: frames of each row, on the host.
        recompute_convolutions: run them again in the backward pass instead of keeping 16 MB (fp32) a second of audio.
    """
    tower = model.audio_tower
    return attend_audio(model, *convolve_audio(tower, features, num_frames, recompute=recompute_convolutions))


def convolve_audio(
    tower: Any, features: torch.Tensor, num_frames: Sequence[int], *, recompute: bool = False
) -> tuple[torch.Tensor, list[int]]:
    """(float [A, D]: the convolutions' output for the positions of all rows, how many each row has); see `encode_audio`."""
    device = features.device
    chunk_frames = 2 * tower.n_window
    row, place, lengths = chunks_of(num_frames, chunk_frames)
    row_there, place_there = (index.to(device, non_blocking=True) for index in (row, place))
    cut = features.view(*features.shape[:2], -1, chunk_frames)[row_there, :, place_there]
    groups = [
        checkpoint(_convolve, tower, group, use_reentrant=False) if recompute else _convolve(tower, group)
        for group in cut.split(CHUNKS_AT_ONCE["cuda" if features.is_cuda else "cpu"])
    ]
    convolved = torch.cat(groups) if len(groups) > 1 else groups[0]

    positions_of_chunk = convolved.shape[1]
    kept = (torch.arange(positions_of_chunk) < lengths[:, None]).flatten().nonzero()[:, 0]
    hidden = convolved.flatten(0, 1).index_select(0, kept.to(device, non_blocking=True))

    totals = torch.zeros(len(num_frames), dtype=torch.int64).index_add(0, row, lengths).tolist()
    return hidden, totals


def attend_audio(model: Any, hidden: torch.Tensor, totals: Sequence[int]) -> torch.Tensor:
    """float [A, D] of the convolutions' output: layers over windows of 8 s, and the projector.

    totals: positions of each row.
    """
    tower = model.audio_tower
    per_window = POSITIONS_PER_CHUNK * (tower.n_window_infer // (2 * tower.n_window))
    windows = RowLengths.of(window_lengths(totals, per_window), hidden.device)
    for layer in tower.layers:
        [hidden] = layer(hidden, windows.boundaries, max_seqlen=windows.longest, rows=windows)
    return model.multi_modal_projector(tower.ln_post(hidden))


def chunks_of(num_frames: Sequence[int], chunk_frames: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """int64 [C] each, of the C chunks of all rows: its row, its place in it, the positions made of its own frames."""
    frames = torch.tensor(num_frames)
    num_chunks = (frames + chunk_frames - 1) // chunk_frames
    row = torch.arange(len(frames)).repeat_interleave(num_chunks)
    place = torch.arange(len(row)) - (num_chunks.cumsum(0) - num_chunks)[row]
    lengths = (frames[row] - place * chunk_frames).clamp(max=chunk_frames)
    for _ in range(3):  # convolutions of stride 2
        lengths = (lengths + 1) // 2
    return row, place, lengths


def window_lengths(totals: Sequence[int], per_window: int) -> list[int]:
    """Positions of each attention window: every row cut into windows of `per_window`, the rest a window of its own."""
    windows = []
    for total in totals:
        whole, rest = divmod(total, per_window)
        windows += [per_window] * whole + [rest] * bool(rest)
    return windows


def _convolve(tower: Any, chunks: torch.Tensor) -> torch.Tensor:
    """float [C, M, 100] -> float [C, 13, D]: the convolutions, their projection and the position embedding."""
    first, *others = tower.conv2d1, tower.conv2d2, tower.conv2d3
    # Not one with an adapter around it, nor one whose weight DeepSpeed gathers when it is called.
    is_plain = type(first) is nn.Conv2d and not hasattr(first.weight, "ds_id")
    hidden = F.gelu(convolve_patches(first, chunks) if is_plain else first(chunks[:, None]))
    for convolution in others:
        hidden = F.gelu(convolution(hidden))
    hidden = tower.conv_out(hidden.permute(0, 3, 1, 2).flatten(2))
    return hidden + tower.positional_embedding.positional_embedding[: hidden.shape[1]].to(hidden.dtype)


def convolve_patches(convolution: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
    """float [C, M, F] -> [C, D, M / 2, F / 2]: a convolution over one channel, as one matrix product over its patches.

    What comes out lies as the next convolution is fastest with (channels last): docs/benchmarks.md, Convolutions.
    """
    assert convolution.in_channels == 1
    (height, width), (step, _) = convolution.kernel_size, convolution.stride
    up, left = (int(size) for size in convolution.padding)
    padded = F.pad(images, (left, left, up, up))
    patches = padded.unfold(1, height, step).unfold(2, width, step).flatten(3)
    return F.linear(patches, convolution.weight.flatten(1), convolution.bias).permute(0, 3, 1, 2)
