"""Owns the greedy decoding loop of Qwen3-ASR: prompts prefilled without padding, all rows decoded together, done rows leave.

Input: embeddings of the prompts, packed one after the other, and each row's limit of new tokens. Output: token ids of each
row, those of transformers' `generate` cut at the row's own limit, and how probable each was. `generate` itself is the other
engine, in model.py.
"""

from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache, DynamicLayer

from qasr_train.models.qwen3_asr.packing import RowLengths

PREFILL_TOKENS = 8192  # prompts go through the decoder in groups of so many tokens, which bounds the memory they take
CACHE_BLOCK = 64  # positions by which the cache grows at the least
# Done rows are dropped when they are a quarter of the batch: each time the cache of the others is copied once.
KEPT_FRACTION = 0.75
# Looking at the tokens makes a GPU wait for the host; there it is done every so many steps, and a row runs on meanwhile.
STEPS_BETWEEN_LOOKS = 8


class RowTokens(NamedTuple):
    """What was decoded of one row: ids, and the natural logarithm of the probability the model gave each of them."""

    ids: list[int]
    log_probs: list[float]


@torch.inference_mode()
def decode_greedily(
    core: Any,
    embeds: torch.Tensor,
    lengths: Sequence[int],
    *,
    limits: Sequence[int],
    end_ids: Collection[int],
    steps_between_looks: int | None = None,
) -> list[RowTokens]:
    """The tokens of each row, in order, up to and with its first end token, or as many as its limit.

    Args:
        core: transformers' Qwen3ASRForConditionalGeneration in eval mode, whose attention is that of packing.py.
        embeds: float [N, D]; the prompts of all rows one after the other.
        lengths: positions of each prompt, on the host.
        limits: most new tokens of each row, at least 1.
        end_ids: tokens that end a row.
        steps_between_looks: how often done rows are looked for; None: STEPS_BETWEEN_LOOKS on a GPU, every step on a CPU.
    """
    num_steps = steps_between_looks or (STEPS_BETWEEN_LOOKS if embeds.is_cuda else 1)
    cache, last = _prefill(core, embeds, lengths)
    chosen = _choose(core.lm_head(last))
    run = _Run(cache, lengths, limits, end_ids, embeds.device)
    new = [chosen]
    while not run.take(new):
        tokens = run.drop_done(new[-1].ids)
        new = []
        for _ in range(num_steps):
            chosen = _step(core, run, tokens)
            tokens = chosen.ids
            new.append(chosen)
    return run.done


class _Chosen(NamedTuple):
    """The tokens of one step: int64 [B], and float32 [B], the logarithm of the probability of each."""

    ids: torch.Tensor
    log_probs: torch.Tensor


def _choose(logits: torch.Tensor) -> _Chosen:
    """The likeliest token of each row of float [B, V]."""
    ids = logits.argmax(-1)
    logits = logits.float()  # of bfloat16 a sum over the vocabulary would be too coarse
    return _Chosen(ids, logits.gather(-1, ids[:, None])[:, 0] - logits.logsumexp(-1))


class _Run:
    """What is known of the rows while they are decoded; the batch holds those in `rows`, some of which may be done."""

    def __init__(
        self,
        cache: Cache,
        lengths: Sequence[int],
        limits: Sequence[int],
        end_ids: Collection[int],
        device: torch.device,
    ) -> None:
        self.cache, self.limits, self.end_ids = cache, limits, frozenset(end_ids)
        self.done = [RowTokens([], []) for _ in lengths]
        self.rows = list(range(len(lengths)))
        self.pending = set(self.rows)
        self.positions = torch.tensor(lengths).to(device)  # of the next token, in its own row
        widest = max(lengths)
        columns, starts = torch.arange(widest), widest - torch.tensor(lengths)
        self.mask = (columns >= starts[:, None]).to(device)  # bool [B, cached positions]: left of a prompt is padding

    def take(self, new: Sequence[_Chosen]) -> bool:
        """Note the tokens of the last steps; True when all rows are done."""
        ids, log_probs = (torch.stack(one).tolist() for one in zip(*new, strict=True))
        for step_ids, step_log_probs in zip(ids, log_probs, strict=True):
            for row, token, log_prob in zip(self.rows, step_ids, step_log_probs, strict=True):
                if row not in self.pending:
                    continue
                done = self.done[row]
                done.ids.append(token)
                done.log_probs.append(log_prob)
                if token in self.end_ids or len(done.ids) == self.limits[row]:
                    self.pending.discard(row)
        return not self.pending

    def drop_done(self, tokens: torch.Tensor) -> torch.Tensor:
        """Take done rows out of the batch where they are many; gives the tokens of the others."""
        if len(self.pending) > KEPT_FRACTION * len(self.rows):
            return tokens
        kept = torch.tensor([i for i, row in enumerate(self.rows) if row in self.pending]).to(tokens.device)
        self.rows = [row for row in self.rows if row in self.pending]
        self.positions, self.mask = self.positions[kept], self.mask[kept]
        self.cache.batch_select_indices(kept)
        return tokens[kept]

    def next_column(self) -> tuple[torch.Tensor, torch.Tensor]:
        """int64 [B, 1] positions and bool [B, 1, 1, T] mask of the step that begins."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.rows), 1)], dim=1)
        positions, self.positions = self.positions, self.positions + 1
        return positions[:, None], self.mask[:, None, None]


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


def _prefill(core: Any, embeds: torch.Tensor, lengths: Sequence[int]) -> tuple[Cache, torch.Tensor]:
    """The cache of all prompts, padded on the left, and float [B, D], the state after each prompt's last token."""
    decoder, groups = core.model.language_model, _groups(lengths, PREFILL_TOKENS)
    no_masks = dict.fromkeys(decoder.config.layer_types)  # rows see themselves alone: packing.py
    keys: list[torch.Tensor] = []
    values: list[torch.Tensor] = []
    last, first_row, first_token = [], 0, 0
    for group in groups:
        rows = RowLengths.of(group, embeds.device)
        packed = Cache(layer_class_to_replicate=DynamicLayer)
        hidden = decoder(
            inputs_embeds=embeds[None, first_token : first_token + sum(group)],
            position_ids=torch.cat([torch.arange(length) for length in group])[None].to(embeds.device),
            attention_mask=no_masks,
            past_key_values=packed,
            use_cache=True,
            rows=rows,
        ).last_hidden_state[0]
        last.append(hidden[rows.boundaries[1:] - 1])
        states: list[Any] = list(packed.layers)  # typed as kinds of layers that hold no keys
        for number, layer in enumerate(states):
            if len(keys) == number:
                shape = (len(lengths), layer.keys.shape[1], max(lengths), layer.keys.shape[3])
                keys.append(layer.keys.new_zeros(shape))
                values.append(layer.values.new_zeros(shape))
            _unpack(layer.keys, keys[number], group, first_row)
            _unpack(layer.values, values[number], group, first_row)
        first_row, first_token = first_row + len(group), first_token + sum(group)
    layers: list[Any] = []
    while keys:  # one after the other, so that not all stand twice in memory
        layers.append(_GrowingLayer(keys.pop(0), values.pop(0)))
    return Cache(layers=layers), torch.cat(last)


def _unpack(packed: torch.Tensor, padded: torch.Tensor, lengths: Sequence[int], first_row: int) -> None:
    """[1, heads, N, width] of some rows -> their places in [B, heads, T, width], at the right."""
    for row, (begin, end) in enumerate(pairwise([0, *accumulate(lengths)]), first_row):
        padded[row, :, begin - end :] = packed[0, :, begin:end]


def _groups(lengths: Sequence[int], num_tokens: int) -> list[list[int]]:
    """Consecutive rows of at most so many tokens together, one row at the least."""
    groups: list[list[int]] = [[]]
    for length in lengths:
        if groups[-1] and sum(groups[-1]) + length > num_tokens:
            groups.append([])
        groups[-1].append(length)
    return groups


def _step(core: Any, run: _Run, tokens: torch.Tensor) -> _Chosen:
    """The likeliest next token of each row, after int64 [B]."""
    decoder = core.model.language_model
    positions, mask = run.next_column()
    hidden = decoder(
        inputs_embeds=core.get_input_embeddings()(tokens)[:, None],
        position_ids=positions,
        attention_mask=dict.fromkeys(decoder.config.layer_types, mask),
        past_key_values=run.cache,
        use_cache=True,
    ).last_hidden_state[:, -1]
    return _choose(core.lm_head(hidden))
