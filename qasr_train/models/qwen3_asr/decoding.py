"""Owns the greedy decoding loop of Qwen3-ASR: prompts prefilled without padding, all rows decoded together, done rows leave.

Input: embeddings of the prompts, packed one after the other, and each row's limit of new tokens. Output: token ids of each
row, those of transformers' `generate` cut at the row's own limit, and how probable each was. `generate` itself is another
engine, in model.py. A step is run operation by operation, or replayed as a CUDA graph (step_graphs.py).
"""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import torch
from transformers.cache_utils import Cache, DynamicLayer

from qasr_train.models.blocks.greedy import KEPT_FRACTION, Chosen, RowTokens, Steps, choose, finish_rows
from qasr_train.models.blocks.sampling import Chooser, Likeliest
from qasr_train.models.qwen3_asr.prefill import CACHE_ARGUMENT, prefill

CACHE_BLOCK = 64  # positions by which the cache grows at the least


class StepMaker(Protocol):
    """Begins the steps of a batch."""

    def begin(self, embeds: torch.Tensor, lengths: Sequence[int]) -> tuple[Steps, torch.Tensor]:
        """The steps after the prompts, and float [B, D], the state after each prompt's last token; see `prefill`."""


@torch.inference_mode()
def decode_greedily(
    core: Any,
    embeds: torch.Tensor,
    lengths: Sequence[int],
    *,
    limits: Sequence[int],
    end_ids: Collection[int],
    maker: StepMaker | None = None,
    steps_between_looks: int | None = None,
) -> list[RowTokens]:
    """The tokens of each row, in order, up to and with its first end token, or as many as its limit.

    Args:
        core: transformers' Qwen3ASRForConditionalGeneration in eval mode, whose attention is that of packing.py.
        embeds: float [P, D]; the prompts of all rows one after the other.
        lengths: positions of each prompt, on the host.
        limits: most new tokens of each row, at least 1.
        end_ids: tokens that end a row.
        maker: what runs the steps; None: operation by operation.
        steps_between_looks: how often done rows are looked for; None: STEPS_BETWEEN_LOOKS on a GPU, every step on a CPU.
    """
    steps, last = (maker or EagerStepMaker(core)).begin(embeds, lengths)
    return finish_rows(steps, choose(core.lm_head(last)), limits, end_ids, steps_between_looks=steps_between_looks)


class EagerStepMaker:
    """Steps run operation by operation."""

    def __init__(self, core: Any, chooser: Chooser | None = None) -> None:
        """chooser: of the next tokens, for as many rows as there will be; None: the likeliest."""
        self.core, self.chooser = core, chooser or Likeliest()

    def begin(self, embeds: torch.Tensor, lengths: Sequence[int]) -> tuple["EagerSteps", torch.Tensor]:
        """See `StepMaker`."""
        stores, last = prefill(self.core, embeds, lengths, [])
        layers: list[Any] = []
        while stores:  # one after the other, so that not all stand twice in memory
            layers.append(_GrowingLayer(*stores.pop(0)))
        return EagerSteps(self.core, Cache(layers=layers), lengths, embeds.device, self.chooser), last


class EagerSteps:
    """Steps of one batch over a cache that grows; see `Steps`."""

    def __init__(self, core: Any, cache: Cache, lengths: Sequence[int], device: torch.device, chooser: Chooser) -> None:
        self.core, self.cache, self.chooser = core, cache, chooser
        self.positions = torch.tensor(lengths).to(device)  # of the next token, in its own row
        widest = max(lengths)
        columns, starts = torch.arange(widest), widest - torch.tensor(lengths)
        self.mask = (columns >= starts[:, None]).to(device)  # bool [B, cached positions]: left of a prompt is padding

    def advance(self, tokens: torch.Tensor, num_steps: int) -> list[Chosen]:
        """See `Steps`."""
        new: list[Chosen] = []
        for _ in range(num_steps):
            new.append(self._step(new[-1].ids if new else tokens))
        return new

    def keep(self, kept: torch.Tensor) -> None:
        """See `Steps`."""
        self.spread(kept)
        self.chooser.keep(kept)

    def spread(self, rows: torch.Tensor) -> None:
        """See `GroupSteps`."""
        self.positions, self.mask = self.positions[rows], self.mask[rows]
        self.cache.batch_select_indices(rows)

    def should_drop(self, num_pending: int) -> bool:
        """See `Steps`."""
        return num_pending <= KEPT_FRACTION * len(self.positions)

    def _step(self, tokens: torch.Tensor) -> Chosen:
        """The next token of each row, after int64 [B]."""
        decoder = self.core.model.language_model
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        positions, self.positions = self.positions, self.positions + 1
        hidden = decoder(
            inputs_embeds=self.core.get_input_embeddings()(tokens)[:, None],
            position_ids=positions[:, None],
            attention_mask=dict.fromkeys(decoder.config.layer_types, self.mask[:, None, None]),
            use_cache=True,
            **{CACHE_ARGUMENT: self.cache},
        ).last_hidden_state[:, -1]
        return self.chooser(self.core.lm_head(hidden))


class _GrowingLayer(DynamicLayer):
    """Keys and values written in place; transformers' own layer copies all of them at every step."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """keys, values: float [B, heads, T, width]; the prompts."""
        super().__init__()
        self.lazy_initialization(keys, values)
        self._length = 0
        self._key_store, self._value_store = (one.new_empty(0) for one in (keys, values))
        self.update(keys, values)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the states; gives all there are."""
        begin, self._length = self._length, self._length + key_states.shape[-2]
        if self._key_store.ndim == 1 or self._length > self._key_store.shape[-2]:
            self._key_store = _grown(self._key_store, key_states, begin, self._length)
            self._value_store = _grown(self._value_store, value_states, begin, self._length)
        self._key_store[:, :, begin : self._length] = key_states
        self._value_store[:, :, begin : self._length] = value_states
        return self._look()

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows."""
        self._key_store, self._value_store = self._key_store[indices], self._value_store[indices]
        self._look()

    def _look(self) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = self._key_store[:, :, : self._length], self._value_store[:, :, : self._length]
        self.keys, self.values = keys, values
        return keys, values


def _grown(store: torch.Tensor, states: torch.Tensor, num_kept: int, num_needed: int) -> torch.Tensor:
    num_positions = num_needed + max(CACHE_BLOCK, num_kept // 4)
    grown = states.new_empty(*states.shape[:2], num_positions, states.shape[3])
    if num_kept:
        grown[:, :, :num_kept] = store[:, :, :num_kept]
    return grown
