"""Owns the audio side of Whisper's forward pass: log-mel of windows of any length -> states, rows that do not see each other's.

Composes transformers' own modules. Its own encoder refuses all but 30 s; a shorter window has the first of the positions.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from qasr_train.models.blocks.sharded import gathers_layers

# Raise it with every change of what `encode_windows` computes: it tells encodings in caches of another code apart.
ENCODER_VERSION = 1
# Without autograd a CPU takes so many positions at a time, a whole window by itself: what lies between two operations of a layer
# then stays in the cache of a core, which saves a tenth of the time. With autograd nothing was gained (docs/benchmarks.md).
_CPU_POSITIONS = 2048
# Frames of silence that the convolutions see after a clip's own window: what is beside it in a batch changes nothing then.
CONV_FRAMES = 2


def encode_windows(
    encoder: Any, features: torch.Tensor, num_positions: Sequence[int], *, recompute_convolutions: bool
) -> torch.Tensor:
    """float [B, S, D]: the encoder's states of each row, S being the most positions of a row; past its own, a row's are rubbish.

    Args:
        encoder: transformers' WhisperEncoder.
        features: float [B, M, F], F at least 2 S; what stands after 2 S is seen by the convolutions alone.
        num_positions: of each row, on the host.
        recompute_convolutions: run them again in the backward pass instead of keeping what is between them.
    """
    groups = groups_of(num_positions, encoder)
    if len(groups) == 1:
        return _encode_group(encoder, features, num_positions, recompute_convolutions)
    whole, parts = max(num_positions), []
    for group in groups:
        own = [num_positions[row] for row in group]
        # What stands further on is seen by no position of these rows.
        part = features[group, :, : 2 * max(own) + CONV_FRAMES]
        states = _encode_group(encoder, part, own, recompute_convolutions)
        parts.append(F.pad(states, (0, 0, 0, whole - states.shape[1])))
    return torch.cat(parts)[places_of(groups)]


def groups_of(num_positions: Sequence[int], module: Any) -> list[list[int]]:
    """The rows that are computed together: those with the full window apart, beside which short ones would be long as well.

    module: transformers' encoder or decoder of Whisper. Where its layers are gathered from other processes, all rows: those take
    part in every pass.
    """
    full, rows = module.config.max_source_positions, range(len(num_positions))
    groups = [[row for row in rows if (num_positions[row] == full) is is_full] for is_full in (False, True)]
    return [list(rows)] if not all(groups) or gathers_layers(module) else groups


def places_of(groups: Sequence[Sequence[int]]) -> list[int]:
    """Where each row stands once the groups stand one after the other."""
    order = [row for group in groups for row in group]
    return sorted(range(len(order)), key=order.__getitem__)


def _encode_group(
    encoder: Any, features: torch.Tensor, num_positions: Sequence[int], recompute_convolutions: bool
) -> torch.Tensor:
    """`encode_windows` of rows of one group."""
    whole = max(num_positions)
    rows = len(features)
    if features.device.type == "cpu" and not torch.is_grad_enabled() and not gathers_layers(encoder):
        rows = max(1, _CPU_POSITIONS // whole)
    parts = [
        _encode(encoder, features[i : i + rows], num_positions[i : i + rows], recompute_convolutions)
        for i in range(0, len(features), rows)
    ]
    return torch.cat([F.pad(part, (0, 0, 0, whole - part.shape[1])) for part in parts]) if len(parts) > 1 else parts[0]


def _encode(
    encoder: Any, features: torch.Tensor, num_positions: Sequence[int], recompute_convolutions: bool
) -> torch.Tensor:
    """`encode_windows` of these rows at once, S being the most of theirs."""
    width = max(num_positions)
    convolve = _convolve(encoder, features) if not recompute_convolutions else _recomputed(encoder, features)
    hidden = convolve[:, :width] + encoder.embed_positions.weight[:width].to(convolve.dtype)
    hidden = F.dropout(hidden, p=encoder.dropout, training=encoder.training)
    mask = mask_of(num_positions, hidden.device)
    for layer in encoder.layers:
        hidden = layer(hidden, mask)
    return encoder.layer_norm(hidden)


def mask_of(num_positions: Sequence[int], device: torch.device) -> torch.Tensor | None:
    """bool [B, 1, 1, S]: which states of each row are its own; None where all are."""
    width = max(num_positions)
    if min(num_positions) == width:
        return None
    own = torch.arange(width) < torch.tensor(num_positions)[:, None]
    return own[:, None, None].to(device, non_blocking=True)


def flattened(states: torch.Tensor, num_positions: Sequence[int]) -> torch.Tensor:
    """float [A, D]: the rows' own states, of [B, S, D]."""
    return torch.cat([row[:own] for row, own in zip(states, num_positions, strict=True)])


def padded(states: torch.Tensor, num_positions: Sequence[int]) -> torch.Tensor:
    """float [B, S, D] again, zero past a row's own, of [A, D]."""
    return torch.nn.utils.rnn.pad_sequence(list(states.split(list(num_positions))), batch_first=True)


def _convolve(encoder: Any, features: torch.Tensor) -> torch.Tensor:
    """float [B, M, F] -> [B, F / 2, D]."""
    return F.gelu(encoder.conv2(F.gelu(encoder.conv1(features)))).transpose(1, 2)


def _recomputed(encoder: Any, features: torch.Tensor) -> torch.Tensor:
    return checkpoint(_convolve, encoder, features, use_reentrant=False)
