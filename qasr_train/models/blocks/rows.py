"""Owns rows of token ids, and how those of a batch are padded to one width.

Input: rows on the host. Output: int64 [B, T] ids, attention mask and labels.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from qasr_train.batch import IGNORED, Batch


class TokenRow(NamedTuple):
    """Token ids of one row. prompt ends where the model starts to speak; target is empty in transcription."""

    prompt: list[int]
    target: list[int]


def pad_rows(
    rows: Sequence[tuple[Sequence[int], Sequence[int]]], pad_id: int, *, on_left: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, attention mask and labels of rows of prompt and target; exactly the targets are supervised."""
    labelled = [([*prompt, *target], [*[IGNORED] * len(prompt), *target]) for prompt, target in rows]
    return pad_labelled(labelled, pad_id, on_left=on_left)


def pad_labelled(
    rows: Sequence[tuple[Sequence[int], Sequence[int]]], pad_id: int, *, on_left: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same of rows of ids and labels, one label an id. on_left: padding stands before the row, else behind it."""
    width = max(len(ids) for ids, _ in rows)
    input_ids = torch.full((len(rows), width), pad_id, dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    labels = torch.full_like(input_ids, IGNORED)
    for number, (own, own_labels) in enumerate(rows):
        begin = width - len(own) if on_left else 0
        place = slice(begin, begin + len(own))
        input_ids[number, place] = torch.tensor(own, dtype=torch.int64)
        attention_mask[number, place] = 1
        labels[number, place] = torch.tensor(own_labels, dtype=torch.int64)
    return input_ids, attention_mask, labels


def after_prompts(batch: Batch, begun: Sequence[Sequence[int]], pad_id: int) -> Batch:
    """A transcription batch whose prompts are followed by these ids, one sequence a row; padded on the left, as it was."""
    if not any(begun):
        return batch
    host, device = batch.host or batch, batch.input_ids.device
    prompts = zip(host.input_ids, host.attention_mask.bool(), begun, strict=True)
    rows: list[tuple[list[int], list[int]]] = [
        ([*ids[is_token].tolist(), *more], []) for ids, is_token, more in prompts
    ]
    ids, mask, _ = pad_rows(rows, pad_id, on_left=True)
    on_host = None if batch.host is None else replace(batch.host, input_ids=ids, attention_mask=mask)
    return replace(batch, input_ids=ids.to(device), attention_mask=mask.to(device), host=on_host)
