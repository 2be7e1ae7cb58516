"""Owns the decoder's and encoder's attention over packed rows: all tokens of a batch in one sequence, without padding.

Input: [1, heads, P, head width] queries of all rows and the rows' lengths. Output: attention of each row to itself alone.
On CUDA in bf16 it is one variable-length call a layer; elsewhere a loop over rows, which on a CPU was faster than a block
mask (over 4 times) and never slower than padding (docs/benchmarks.md).
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from qasr_train.batch import IGNORED, Batch

DECODER_ATTENTION = "qasr_packed"
# A name that holds "flash" makes the encoder of transformers hand over all windows in one call.
ENCODER_ATTENTION = "qasr_flash_windows"
# From torch 2.12 on the call wants to be told of grouped heads; 2.11 takes them as they come. Both hand key and value as
# they are to the same kernel, which has grouped heads of its own.
ASKS_FOR_GROUPED_HEADS = "enable_gqa" in inspect.signature(varlen_attn).parameters


# Not frozen: torch.compile looks into a frozen one, and compiles anew for every length.
@dataclass(eq=False, slots=True)
class RowLengths:
    """Lengths of packed rows (or windows): on the host, and as int32 [rows + 1] boundaries on the device."""

    lengths: list[int]
    boundaries: torch.Tensor
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> "RowLengths":
        """From lengths on the host; nothing is waited for."""
        boundaries = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        return cls(list(lengths), boundaries.to(device, non_blocking=True), max(lengths))


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Where the P tokens of a padded batch stand once packed; int64 on the batch's device.

    flat: [P] position of each token in the flattened [B * T] batch. position_ids: [1, P] place in its own row.
    audio: positions in the packed sequence that take the encoder's output. before_target: positions whose next token is
    supervised, or that are themselves where labels are not shifted. targets, row: that label, and its batch row.
    """

    rows: RowLengths
    flat: torch.Tensor
    position_ids: torch.Tensor
    audio: torch.Tensor
    before_target: torch.Tensor
    targets: torch.Tensor
    row: torch.Tensor


def pack(batch: Batch, audio_id: int, *, is_shifted: bool = True) -> PackedBatch:
    """The packed layout of a batch, worked out on the host where `batch.host` allows, without device syncs.

    A batch without labels has no targets. is_shifted: a position answers for the label behind it; False: for its own, as the
    slots of an aligner do.
    """
    host = batch.host or batch
    labels_of_all = torch.full_like(host.input_ids, IGNORED) if host.labels is None else host.labels
    device = batch.input_ids.device
    is_token = host.attention_mask.bool()
    lengths = is_token.sum(-1)
    flat = is_token.flatten().nonzero()[:, 0]
    # Position 0, 1, ... of each row, whichever side its padding is on.
    position_ids = (is_token.cumsum(-1) - 1).flatten()[flat]
    labels = labels_of_all.flatten()[flat]
    is_target = (labels != IGNORED) & ((position_ids > 0) | (not is_shifted))
    at_target = is_target.nonzero()[:, 0]
    before_target = at_target - int(is_shifted)
    row = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)

    def there(index: torch.Tensor) -> torch.Tensor:
        return index.to(device, non_blocking=True)

    return PackedBatch(
        rows=RowLengths.of(lengths.tolist(), device),
        flat=there(flat),
        position_ids=there(position_ids[None]),
        audio=there((host.input_ids.flatten()[flat] == audio_id).nonzero()[:, 0]),
        before_target=there(before_target),
        targets=there(labels[at_target]),
        row=there(row[before_target]),
    )


def decode(core: Any, batch: Batch, packed: PackedBatch, embeds: torch.Tensor, *, is_packed: bool) -> torch.Tensor:
    """float [P, D]: the language model's states. is_packed: rows one after the other, or padded to the longest."""
    return _decode_packed(core, embeds, packed) if is_packed else _decode_padded(core, embeds, packed, batch)


def _decode_packed(core: Any, embeds: torch.Tensor, packed: PackedBatch) -> torch.Tensor:
    """float [P, D]: all rows one after the other, each seeing itself alone."""
    decoder = core.model.language_model
    # A dict of masks is taken as it is; without it transformers would build one of P x P.
    no_masks = dict.fromkeys(decoder.config.layer_types)
    return decoder(
        inputs_embeds=embeds[None],
        position_ids=packed.position_ids,
        attention_mask=no_masks,
        use_cache=False,
        rows=packed.rows,
    ).last_hidden_state[0]


def _decode_padded(core: Any, embeds: torch.Tensor, packed: PackedBatch, batch: Batch) -> torch.Tensor:
    """float [P, D]: the same through rows padded to the longest."""
    shape = batch.input_ids.shape
    padded = embeds.new_zeros(shape.numel(), embeds.shape[1]).index_copy(0, packed.flat, embeds)
    hidden = core.model.language_model(
        inputs_embeds=padded.view(*shape, -1), attention_mask=batch.attention_mask, use_cache=False
    ).last_hidden_state
    return hidden.flatten(0, 1).index_select(0, packed.flat)


def use_packed_attention(encoder: Any, decoder: Any) -> None:
    """Give the config of the encoder and of the decoder our attention; calls that name no rows go the way of sdpa.

    It is set for good and not around the forward pass, as gradient checkpointing reads it again in the backward pass.
    """
    for name in (DECODER_ATTENTION, ENCODER_ATTENTION):
        AttentionInterface.register(name, attend_rows)
        AttentionMaskInterface.register(name, sdpa_mask)
    encoder._attn_implementation = ENCODER_ATTENTION
    decoder._attn_implementation = DECODER_ATTENTION


def attend_rows(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    rows: RowLengths | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of every row to itself, in the interface of transformers; float [1, P, heads, width].

    Args:
        query, key, value: float [1, heads, P, width]; fewer heads of key and value are shared by groups of query heads.
        attention_mask: only for calls without rows; of one query each, those of a decoding step, or of any for sdpa.
        rows: the packed rows. cu_seq_lens_q: their boundaries, where transformers' encoder calls by itself. Neither: sdpa.
        is_causal: None: as the module says.
    """
    if rows is None and cu_seq_lens_q is not None:
        rows = RowLengths.of(cu_seq_lens_q.diff().tolist(), query.device)
    if rows is None and query.shape[2] == 1 and attention_mask is not None and not dropout:
        return _attend_from_one_position(query, key, value, attention_mask, scaling), None
    if rows is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=is_causal, **others
        )
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    if query.is_cuda and torch.is_autocast_enabled("cuda"):
        # Norms give float32 under autocast, and the variable-length call is not one that autocast knows.
        dtype = torch.get_autocast_dtype("cuda")
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    # [P, heads, width], as the kernel takes them and gives their gradients: turned in here, compiled layers copy nothing for it.
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    return _attend_packed(query, key, value, rows, scaling, causal, dropout)[None], None


@torch.compiler.disable  # a compiled layer would be compiled again for every number of rows
def _attend_packed(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    rows: RowLengths,
    scaling: float | None,
    causal: bool,
    dropout: float,
) -> torch.Tensor:
    """float [P, heads, width] of such query, key and value."""
    if _can_attend_at_once(query) and not dropout:
        return _attend_at_once(query, key, value, rows, scaling, causal)
    pieces = []
    for one in zip(*(tensor.split(rows.lengths) for tensor in (query, key, value)), strict=True):
        q, k, v = (tensor.transpose(0, 1)[None] for tensor in one)
        attended = F.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=causal, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        pieces.append(attended[0].transpose(0, 1))
    return torch.cat(pieces)


def _attend_from_one_position(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """Attention of the newest position of every row to a cache; float [B, 1, heads, width].

    Heads that share keys and values stand as positions of one query, so that no key is copied for each of them.
    """
    rows, heads, _, width = query.shape
    grouped = query.reshape(rows, key.shape[1], heads // key.shape[1], width)
    out = F.scaled_dot_product_attention(grouped, key, value, attn_mask=mask, scale=scaling)
    return out.reshape(rows, 1, heads, width)


def _can_attend_at_once(query: torch.Tensor) -> bool:
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and _has_flash_kernel(query.device)


@lru_cache
def _has_flash_kernel(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere; a T4 or V100 has none


def _attend_at_once(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: RowLengths, scaling: float | None, causal: bool
) -> torch.Tensor:
    """One variable-length call of torch for all rows; float [P, heads, width] of such query, key and value."""
    grouped: dict[str, Any] = {"enable_gqa": query.shape[1] != key.shape[1]} if ASKS_FOR_GROUPED_HEADS else {}
    out = varlen_attn(
        query,
        key,
        value,
        rows.boundaries,
        rows.boundaries,
        rows.longest,
        rows.longest,
        scale=scaling,
        window_size=(-1, 0) if causal else (-1, -1),
        **grouped,
    )
    assert isinstance(out, torch.Tensor)
    return out
