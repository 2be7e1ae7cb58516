"""Owns rows of token ids, and how those of a batch are padded to one width.

Input: rows on the host. Output: int64 [B, T] ids, attention mask and labels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from qasr_train.batch import IGNORED


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
