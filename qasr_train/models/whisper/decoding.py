"""Owns Whisper's decoder: all tokens at once in training, step by step with its keys and values in transcription.

Input: states of the encoder and token ids. Output: states before the head, or `Steps` of greedy decoding. The arithmetic of a
layer is written out for transcription, so that rows may have prompts and windows of their own and leave when they are done.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from transformers import GenerationConfig, GenerationMixin
from transformers.modeling_outputs import BaseModelOutput

from qasr_train.errors import ConfigError
from qasr_train.models.blocks.greedy import KEPT_FRACTION, Chosen, RowTokens
from qasr_train.models.blocks.rows import pad_rows
from qasr_train.models.blocks.sampling import Chooser, Likeliest
from qasr_train.models.whisper.encoder import groups_of, places_of

_STORE_BLOCK = 64  # positions by which the store of keys and values grows


def decode_at_once(decoder: Any, ids: torch.Tensor, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """float [B, T, D]: the states before the head after each token, for training.

    Args:
        decoder: transformers' WhisperDecoder with attention by torch (sdpa), which is causal without a mask.
        ids: int64 [B, T], padded on the right. states: float [B, S, D] of the encoder. mask: as `mask_of` gives it.
    """
    positions = decoder.embed_positions.weight[: ids.shape[1]]
    hidden = decoder.embed_tokens(ids)
    hidden = F.dropout(hidden + positions.to(hidden.dtype), p=decoder.dropout, training=decoder.training)
    for layer in decoder.layers:
        hidden = layer(hidden, None, states, mask)
    return decoder.layer_norm(hidden)


def decode_groups(
    decoder: Any, ids: torch.Tensor, states: torch.Tensor, mask: torch.Tensor | None, num_positions: Sequence[int]
) -> torch.Tensor:
    """`decode_at_once`, rows with the full window apart from those of their own: no row attends to 30 s for another's sake.

    num_positions: of each row's states, on the host.
    """
    groups = groups_of(num_positions, decoder)
    if len(groups) == 1 or mask is None:
        return decode_at_once(decoder, ids, states, mask)
    parts = []
    for group in groups:
        width = max(num_positions[row] for row in group)
        parts.append(decode_at_once(decoder, ids[group], states[group, :width], mask[group, ..., :width]))
    return torch.cat(parts)[places_of(groups)]


def generate(
    core: Any,
    states: torch.Tensor,
    prompt: torch.Tensor,
    begun: Sequence[RowTokens],
    limits: Sequence[int],
    *,
    start_id: int,
    end_id: int,
    rules: Mapping[str, Any],
) -> list[RowTokens]:
    """The ids that `WhisperSteps` choose, by transformers: every row runs until the last is done, and is cut at its own limit.

    Args:
        core, states: as `WhisperSteps` has them. prompt: int64 [B, T]. limits: most new tokens of each row.
        begun: beginnings of the answers; there must be none.
        start_id, end_id: tokens around a transcript. rules: the checkpoint's generation_config.json.

    Raises:
        ConfigError: windows are not whole, prompts begin with contexts, or answers are begun already.
    """
    if any(one.ids for one in begun):
        raise ConfigError("decode.engine=generate: does not go on with what was said already; use engine=auto or loop")
    starts = (prompt == start_id).int().argmax(1)
    if states.shape[1] != core.config.max_source_positions or bool((starts != 0).any()):
        raise ConfigError(
            "decode.engine=generate: transformers generates from whole windows without contexts alone; use engine=loop, "
            "or model.window=full and decode.use_context=false"
        )
    settings = GenerationConfig(
        max_new_tokens=max(limits),
        do_sample=False,
        num_beams=1,
        decoder_start_token_id=start_id,
        eos_token_id=end_id,
        pad_token_id=end_id,
        suppress_tokens=rules.get("suppress_tokens"),
        begin_suppress_tokens=rules.get("begin_suppress_tokens"),
    )
    # Whisper's own generate() would detect, encode and pad again; the general one is all that a window needs.
    general = cast(Any, GenerationMixin).generate
    encoded = BaseModelOutput(last_hidden_state=states)
    ids = general(core, encoder_outputs=encoded, decoder_input_ids=prompt, generation_config=settings)
    rows = ids[:, prompt.shape[1] :].tolist()
    return [RowTokens(row[:limit], []) for row, limit in zip(rows, limits, strict=True)]


class Suppression:
    """Tokens that are never chosen, and those that are not the first of a transcript. Both as generation_config.json has them."""

    def __init__(self, always: Sequence[int], at_begin: Sequence[int], device: torch.device) -> None:
        self.always = torch.tensor(list(always), dtype=torch.int64, device=device)
        self.at_begin = torch.tensor(list(at_begin), dtype=torch.int64, device=device)

    def __call__(self, logits: torch.Tensor, *, is_first: bool = False) -> torch.Tensor:
        """float [B, V] with the logits of those tokens at minus infinity; in place."""
        logits.index_fill_(-1, self.always, -torch.inf)
        return logits.index_fill_(-1, self.at_begin, -torch.inf) if is_first else logits


class WhisperSteps:
    """The rows of a batch while they are decoded; see `Steps` of blocks/greedy.py. `extend` takes the prompts first."""

    def __init__(
        self,
        core: Any,
        states: torch.Tensor,
        mask: torch.Tensor | None,
        suppress: Suppression,
        *,
        num_positions: int,
        chooser: Chooser | None = None,
    ) -> None:
        """core: transformers' WhisperForConditionalGeneration in eval mode. states, mask: as `decode_at_once` has them.

        chooser: of the next tokens, for as many rows as there will be; None: the likeliest.
        """
        self.core, self.decoder, self.suppress = core, core.model.decoder, suppress
        self.chooser = chooser or Likeliest()
        self.mask, self.num_positions = mask, num_positions
        self.layers = [_LayerStore(layer, states) for layer in self.decoder.layers]
        self.seen = torch.zeros(len(states), 0, dtype=torch.bool, device=states.device)  # columns that hold a token
        self.sounds = torch.arange(len(states), device=states.device)  # which of `states` each row hears

    def extend(self, ids: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
        """float [B, n, D]: the states after each of these next tokens.

        Args:
            ids: int64 [B, n]. is_token: bool [B, n]; False where a row is padded, on the left of its first token.
        """
        begin, num_new = self.seen.shape[1], ids.shape[1]
        positions = self.seen.sum(1, keepdim=True) + is_token.cumsum(1) - 1
        self.seen = torch.cat([self.seen, is_token], dim=1)
        hidden = self.decoder.embed_tokens(ids) + self.decoder.embed_positions.weight[
            positions.clamp(0, self.num_positions - 1)
        ].to(self.decoder.embed_tokens.weight.dtype)
        columns = torch.arange(self.seen.shape[1], device=ids.device)
        own = columns[begin:, None]
        # Padding sees itself alone: a row of a softmax that sees nothing is not a number.
        visible = (columns <= own) & self.seen[:, None] | (columns == own)
        for layer in self.layers:
            hidden = layer(hidden, visible[:, None], self.mask)
        assert hidden.shape[1] == num_new
        return self.decoder.layer_norm(hidden)

    def forget_tokens(self) -> None:
        """Begin again with the same sound and no token."""
        self.seen = self.seen[:, :0]
        for layer in self.layers:
            layer.length = 0

    def logits(self, state: torch.Tensor) -> torch.Tensor:
        """float32 [B, V] of the token after states [B, D]."""
        return self.core.proj_out(state).float()

    def follow(self, begun: Sequence[Sequence[int]], state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(float [B, D], bool [B]): the state after each row's beginning of an answer, and which rows have one; None: no row.

        begun: ids after the prompts. state: float [B, D], after the prompts' last tokens.
        """
        if not any(begun):
            return state, None
        ids, mask, _ = (tensor.to(state.device) for tensor in pad_rows([(ids, []) for ids in begun], 0, on_left=True))
        is_begun = mask.any(1)
        return torch.where(is_begun[:, None], self.extend(ids, mask.bool())[:, -1], state), is_begun

    def first(self, state: torch.Tensor, is_begun: torch.Tensor | None = None) -> Chosen:
        """The next token of each row, after states [B, D]. is_begun: bool [B], see `follow`."""
        logits = self.logits(state)
        if is_begun is None:
            return self.chooser(self.suppress(logits, is_first=True))
        allowed = self.suppress(logits.clone(), is_first=True)
        return self.chooser(torch.where(is_begun[:, None], self.suppress(logits), allowed))

    def advance(self, tokens: torch.Tensor, num_steps: int) -> list[Chosen]:
        """See `Steps`."""
        new: list[Chosen] = []
        for _ in range(num_steps):
            last = (new[-1].ids if new else tokens)[:, None]
            state = self.extend(last, torch.ones_like(last, dtype=torch.bool))[:, -1]
            new.append(self.chooser(self.suppress(self.logits(state))))
        return new

    def keep(self, kept: torch.Tensor) -> None:
        """See `Steps`."""
        self.spread(kept)
        self.chooser.keep(kept)

    def spread(self, rows: torch.Tensor) -> None:
        """See `GroupSteps`."""
        self.seen, sounds = self.seen[rows], self.sounds[rows]
        # A beam moves rows within their clips: all of them go on hearing what they heard, far more than they have said.
        is_heard_alike = len(rows) == len(self.sounds) and torch.equal(sounds, self.sounds)
        self.sounds = sounds
        self.mask = self.mask if self.mask is None or is_heard_alike else self.mask[rows]
        for layer in self.layers:
            layer.keep(rows, is_heard_alike=is_heard_alike)

    def should_drop(self, num_pending: int) -> bool:
        """See `Steps`."""
        return num_pending <= KEPT_FRACTION * len(self.seen)


class _LayerStore:
    """A layer of the decoder with the keys and values of its rows: of the sound once, of the tokens as they come."""

    def __init__(self, layer: Any, states: torch.Tensor) -> None:
        self.layer = layer
        attention = layer.encoder_attn
        self.sound = (self._heads(attention.k_proj(states)), self._heads(attention.v_proj(states)))
        self.length = 0
        self.store = torch.stack(self.sound)[..., :0, :]  # [keys and values, B, heads, positions, width]

    def __call__(self, hidden: torch.Tensor, visible: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """float [B, n, D] -> the same after this layer. visible: bool [B, 1, n, positions]; mask: of the sound."""
        layer = self.layer
        normed = layer.self_attn_layer_norm(hidden)
        keys, values = self._append(
            self._heads(layer.self_attn.k_proj(normed)), self._heads(layer.self_attn.v_proj(normed))
        )
        hidden = hidden + self._attend(layer.self_attn, normed, keys, values, visible)
        normed = layer.encoder_attn_layer_norm(hidden)
        hidden = hidden + self._attend(layer.encoder_attn, normed, *self.sound, mask)
        normed = layer.final_layer_norm(hidden)
        return hidden + layer.fc2(layer.activation_fn(layer.fc1(normed)))

    def keep(self, kept: torch.Tensor, *, is_heard_alike: bool) -> None:
        """Go on with these rows. is_heard_alike: whether the sound of each place stays what it is."""
        self.store = self.store[:, kept]
        if not is_heard_alike:
            self.sound = (self.sound[0][kept], self.sound[1][kept])

    def _append(self, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        begin, self.length = self.length, self.length + keys.shape[-2]
        if self.length > self.store.shape[-2]:
            shape = list(self.store.shape)
            shape[-2] = self.length + max(_STORE_BLOCK, begin // 4)
            grown = self.store.new_empty(shape)
            grown[..., :begin, :] = self.store[..., :begin, :]
            self.store = grown
        self.store[0, ..., begin : self.length, :] = keys
        self.store[1, ..., begin : self.length, :] = values
        return self.store[..., : self.length, :]

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        """float [B, n, D] -> [B, heads, n, width]."""
        return states.unflatten(-1, (self.layer.self_attn.num_heads, -1)).transpose(1, 2)

    def _attend(
        self, attention: Any, normed: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        queries = self._heads(attention.q_proj(normed) * attention.scaling)
        heard = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=1.0)
        return attention.out_proj(heard.transpose(1, 2).flatten(2))
