"""Owns the audio side of the forward pass: log-mel -> embeddings of the audio positions, chunks that hold only padding left out.

Composes transformers' own modules (convolutions, layers, projector). Input: padded features and each row's frames, known on
the host. Output: float [N, D] for all rows one after the other. Chunks of 1 s and windows of 8 s are the model's own.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from qasr_train.models.qwen3_asr.packing import RowLengths

# Chunks (seconds) that go through the convolutions at a time: they hold some 14 MB each in fp32 while they do.
CHUNKS_AT_ONCE = 32


def encode_audio(
    model: Any, features: torch.Tensor, num_frames: Sequence[int], *, recompute_convolutions: bool
) -> torch.Tensor:
    """float [N, D]: what the decoder is given for the audio positions of all rows, in row order.

    Args:
        model: transformers' Qwen3ASRModel (audio_tower, multi_modal_projector).
        features: float [B, M, F], F a multiple of the chunk of 100 frames; row i is real up to num_frames[i].
        num_frames: frames of each row, on the host.
        recompute_convolutions: run them again in the backward pass instead of keeping 16 MB (fp32) a second of audio.
    """
    tower, device = model.audio_tower, features.device
    chunk_frames = 2 * tower.n_window
    chunks = [(row, i) for row, frames in enumerate(num_frames) for i in range(-(-frames // chunk_frames))]
    row, place = torch.tensor(chunks).T.to(device, non_blocking=True)
    cut = features.view(*features.shape[:2], -1, chunk_frames)[row, :, place]
    groups = [
        checkpoint(_convolve, tower, group, use_reentrant=False) if recompute_convolutions else _convolve(tower, group)
        for group in cut.split(CHUNKS_AT_ONCE)
    ]
    convolved = torch.cat(groups) if len(groups) > 1 else groups[0]

    positions_of_chunk = convolved.shape[1]
    lengths = [num_positions(min(num_frames[r] - i * chunk_frames, chunk_frames)) for r, i in chunks]
    kept = [chunk * positions_of_chunk + p for chunk, length in enumerate(lengths) for p in range(length)]
    hidden = convolved.flatten(0, 1).index_select(0, torch.tensor(kept).to(device, non_blocking=True))

    per_window = positions_of_chunk * (tower.n_window_infer // chunk_frames)
    windows = RowLengths.of(window_lengths(chunks, lengths, per_window), device)
    for layer in tower.layers:
        [hidden] = layer(hidden, windows.boundaries, max_seqlen=windows.longest, rows=windows)
    return model.multi_modal_projector(tower.ln_post(hidden))


def window_lengths(chunks: Sequence[tuple[int, int]], lengths: Sequence[int], per_window: int) -> list[int]:
    """Positions of each attention window: every row cut into windows of `per_window`, the rest a window of its own."""
    totals: dict[int, int] = {}
    for (row, _), length in zip(chunks, lengths, strict=True):
        totals[row] = totals.get(row, 0) + length
    windows = []
    for total in totals.values():
        whole, rest = divmod(total, per_window)
        windows += [per_window] * whole + [rest] * bool(rest)
    return windows


def num_positions(num_frames: int) -> int:
    """Positions that three convolutions of stride 2 make of a chunk's frames."""
    for _ in range(3):
        num_frames = (num_frames + 1) // 2
    return num_frames


def _convolve(tower: Any, chunks: torch.Tensor) -> torch.Tensor:
    """float [C, M, 100] -> float [C, 13, D]: the convolutions, their projection and the position embedding."""
    hidden = chunks[:, None]
    for convolution in (tower.conv2d1, tower.conv2d2, tower.conv2d3):
        hidden = F.gelu(convolution(hidden))
    hidden = tower.conv_out(hidden.permute(0, 3, 1, 2).flatten(2))
    return hidden + tower.positional_embedding.positional_embedding[: hidden.shape[1]].to(hidden.dtype)
