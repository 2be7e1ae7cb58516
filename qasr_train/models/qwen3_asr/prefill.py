"""Owns the first pass of decoding: prompts without padding -> keys and values of each row, and the state after its last token.

Input: embeddings of all prompts, one after the other. Output: stores padded on the left to one width, so that all rows write
their next token into the same column.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

from qasr_train.models.qwen3_asr.packing import RowLengths

# Prompts go through the decoder in groups of so many tokens, which bounds the memory they take.
PREFILL_TOKENS = {"cpu": 8192, "cuda": 32768}
# What the decoder calls its cache: transformers 5.24 renamed it and warns of the old name at every call.
CACHE_ARGUMENT = "cache" if "cache" in inspect.signature(Qwen3Model.forward).parameters else "past_key_values"

Store = tuple[torch.Tensor, torch.Tensor]  # keys and values of one layer, float [B, heads, columns, width]


def prefill(
    core: Any, embeds: torch.Tensor, lengths: Sequence[int], stores: list[Store]
) -> tuple[list[Store], torch.Tensor]:
    """(stores, float [B, D], the state after each prompt's last token).

    Args:
        core: transformers' Qwen3ASRForConditionalGeneration, whose attention is that of packing.py.
        embeds: float [P, D]; the prompts of all rows one after the other. lengths: positions of each.
        stores: zeros of at least [B, heads, longest prompt, width] for each layer, written into; none: made here, as wide
            as the longest prompt.
    """
    decoder, stores = core.model.language_model, list(stores)
    no_masks = dict.fromkeys(decoder.config.layer_types)  # rows see themselves alone: packing.py
    row, column = (index.to(embeds.device) for index in _places(lengths))
    last, first_token = [], 0
    for group in _groups(lengths, PREFILL_TOKENS["cuda" if embeds.is_cuda else "cpu"]):
        rows = RowLengths.of(group, embeds.device)
        tokens = slice(first_token, first_token + sum(group))
        packed = Cache(layer_class_to_replicate=DynamicLayer)
        hidden = decoder(
            inputs_embeds=embeds[None, tokens],
            position_ids=torch.cat([torch.arange(length) for length in group])[None].to(embeds.device),
            attention_mask=no_masks,
            use_cache=True,
            rows=rows,
            **{CACHE_ARGUMENT: packed},
        ).last_hidden_state[0]
        last.append(hidden[rows.boundaries[1:] - 1])
        layers: list[Any] = list(packed.layers)  # typed as kinds of layers that hold no keys
        for number, layer in enumerate(layers):
            if len(stores) == number:
                shape = (len(lengths), layer.keys.shape[1], max(lengths), layer.keys.shape[3])
                stores.append((layer.keys.new_zeros(shape), layer.values.new_zeros(shape)))
            for store, states in zip(stores[number], (layer.keys, layer.values), strict=True):
                store[row[tokens], :, column[tokens]] = states[0].transpose(0, 1).to(store.dtype)
        first_token += sum(group)
    return stores, torch.cat(last)


def _places(lengths: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """int64 [P] each: the row of every token, and its column where all rows end in the same one."""
    sizes = torch.tensor(lengths)
    row = torch.arange(len(lengths)).repeat_interleave(sizes)
    ends = sizes.cumsum(0)
    return row, torch.arange(int(ends[-1])) + (max(lengths) - ends)[row]


def _groups(lengths: Sequence[int], num_tokens: int) -> list[list[int]]:
    """Consecutive rows of at most so many tokens together, one row at the least."""
    groups: list[list[int]] = [[]]
    for length in lengths:
        if groups[-1] and sum(groups[-1]) + length > num_tokens:
            groups.append([])
        groups[-1].append(length)
    return groups
