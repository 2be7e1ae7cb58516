"""Owns decoding steps replayed as CUDA graphs: one launch a step instead of some thousand, which is what a step takes time for.

A graph is captured for a number of rows and of cached columns, both rounded up, and replayed from batch to batch. All graphs
work on the same memory: keys and values of a layer lie in one flat store that every shape looks at in its own way.

Input: prompts, as `decoding.py` has them. Output: its `Steps`. Without a GPU the steps run one operation after the other
through the same memory, which is how tests look at them.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.cache_utils import Cache, DynamicLayer
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from qasr_train.models.blocks.greedy import STEPS_BETWEEN_LOOKS, Chosen, choose
from qasr_train.models.qwen3_asr.prefill import CACHE_ARGUMENT, Store, prefill

COLUMN_BLOCK = 128  # cached columns are rounded up to a multiple of it
MAX_GRAPHS = 64  # the one longest unused is dropped; each holds some megabytes of launches
_SPARE = 1.1  # of the memory a batch needs is taken, since the next one of equal seconds differs a little

Shape = tuple[int, int]  # rows and columns


class StepGraphs:
    """Graphs and memory, kept from batch to batch. They hold while weights stay where they are; see `begin`.

    core: transformers' Qwen3ASRForConditionalGeneration in eval mode, whose attention is that of packing.py.
    """

    def __init__(self, core: Any) -> None:
        self.core = core
        self.stores: list[Store] = []  # flat [tokens * heads * width] a layer
        self.inputs: _Inputs | None = None
        self.num_captured = 0  # over the life of this object
        self._graphs: OrderedDict[tuple[int, int], Callable[[], None]] = OrderedDict()
        self._weights: object = None
        self._pool: Any = None

    def begin(self, embeds: torch.Tensor, lengths: Sequence[int]) -> tuple["GraphedSteps", torch.Tensor]:
        """See `StepMaker`. Graphs of weights that lie elsewhere by now, or of adapters since changed, are dropped."""
        if (weights := _fingerprint(self.core)) != self._weights:
            self._drop_graphs()
            self._weights = weights
        num_rows, widest = len(lengths), max(lengths)
        rows, columns = rounded_rows(num_rows), rounded_columns(widest + STEPS_BETWEEN_LOOKS)
        self._reserve(rows, columns, embeds)
        views = self.views(rows, columns)
        for store in (one for pair in views for one in pair):
            store.zero_()  # what is not masked by chance must at least be finite
        with _fused_norms(self.core.model.language_model):
            _, last = prefill(self.core, embeds, lengths, views)
        assert self.inputs is not None
        sizes = torch.tensor(lengths).to(embeds.device)
        for values, known in ((self.inputs.starts, widest - sizes), (self.inputs.positions, sizes)):
            values.zero_()  # rows that only fill the shape up
            values[:num_rows] = known
        self.inputs.tokens.zero_()
        self.inputs.column.fill_(widest)
        return GraphedSteps(self, num_rows=num_rows, columns=columns, column=widest), last

    def views(self, rows: int, columns: int) -> list[Store]:
        """The stores as [rows, heads, columns, width] of every layer."""
        return [self._views_of(number, (rows, columns)) for number in range(len(self.stores))]

    def move(self, old: Shape, new: Shape, kept: torch.Tensor, *, column: int) -> None:
        """Look at the stores in another shape, the first columns of these rows in their places there."""
        for number in range(len(self.stores)):
            states = [store[kept][:, :, :column] for store in self._views_of(number, old)]
            self._reserve_layer(number, new, like=states[0])
            for store, moved in zip(self._views_of(number, new), states, strict=True):
                store.zero_()
                store[: len(kept), :, :column] = moved

    def step(self, rows: int, columns: int) -> Callable[[], None]:
        """What runs one step of this shape on `inputs`; captured when it is first asked for."""
        if (rows, columns) not in self._graphs:
            while len(self._graphs) >= MAX_GRAPHS:
                self._graphs.popitem(last=False)
            self._graphs[rows, columns] = self._capture(rows, columns)
        self._graphs.move_to_end((rows, columns))
        return self._graphs[rows, columns]

    def _views_of(self, number: int, shape: Shape) -> Store:
        text = self.core.config.text_config
        whole = (shape[0], text.num_key_value_heads, shape[1], text.head_dim)
        keys, values = (store[: math.prod(whole)].view(whole) for store in self.stores[number])
        return keys, values

    def _reserve(self, rows: int, columns: int, embeds: torch.Tensor) -> None:
        """Memory for so many rows of so many columns; where there was less, graphs of the old one are dropped."""
        if self.inputs is None or rows > len(self.inputs.tokens) or self.inputs.tokens.device != embeds.device:
            self._drop_graphs()
            self.inputs = _Inputs.for_rows(rows, embeds.device)
        num_layers = self.core.config.text_config.num_hidden_layers
        self.stores += [(embeds.new_empty(0), embeds.new_empty(0))] * (num_layers - len(self.stores))
        for number in range(num_layers):
            self._reserve_layer(number, (rows, columns), like=embeds)

    def _reserve_layer(self, number: int, shape: Shape, *, like: torch.Tensor) -> None:
        text = self.core.config.text_config
        per_token, store = text.num_key_value_heads * text.head_dim, self.stores[number][0]
        is_large_enough = store.numel() >= math.prod(shape) * per_token
        if is_large_enough and store.dtype == like.dtype and store.device == like.device:
            return
        self._drop_graphs()
        self.stores[number] = (like.new_empty(0), like.new_empty(0))  # the old one first, or both would stand in memory
        num_values = int(math.prod(shape) * _SPARE) * per_token
        self.stores[number] = (like.new_empty(num_values), like.new_empty(num_values))

    def _drop_graphs(self) -> None:
        self._graphs.clear()
        self._pool = None

    def _capture(self, rows: int, columns: int) -> Callable[[], None]:
        """The step as one launch."""
        assert self.inputs is not None
        self.num_captured += 1
        inputs = self.inputs
        layers: list[Any] = [_FixedLayer(*pair, inputs.column) for pair in self.views(rows, columns)]
        cache = Cache(layers=layers)

        def run() -> None:
            _run_step(self.core, inputs, cache, rows, columns)

        if not inputs.tokens.is_cuda:
            return run
        with torch.cuda.device(inputs.tokens.device):
            return self._record(run, inputs)

    def _record(self, run: Callable[[], None], inputs: "_Inputs") -> Callable[[], None]:
        """What replays the launches of `run`; the inputs are as before."""
        before = inputs.copy()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries set themselves up in a first run, which must not be captured
            run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            run()
        self._pool = self._pool or graph.pool()
        inputs.restore(before)
        return graph.replay


class GraphedSteps:
    """Steps of one batch; see `Steps`."""

    def __init__(self, graphs: StepGraphs, *, num_rows: int, columns: int, column: int) -> None:
        assert graphs.inputs is not None
        self.graphs, self.inputs = graphs, graphs.inputs
        self.num_rows, self.rows, self.columns, self.column = num_rows, rounded_rows(num_rows), columns, column

    def advance(self, tokens: torch.Tensor, num_steps: int) -> list[Chosen]:
        """See `Steps`; num_steps: at most STEPS_BETWEEN_LOOKS."""
        inputs = self.inputs
        assert num_steps <= STEPS_BETWEEN_LOOKS, "there are no lines for more"
        if self.column + num_steps > self.columns:
            every = torch.arange(self.num_rows, device=tokens.device)
            self._move(every, (self.rows, rounded_columns(self.column + num_steps)))
        inputs.tokens[: self.num_rows] = tokens
        inputs.slot.zero_()
        run = self.graphs.step(self.rows, self.columns)
        for _ in range(num_steps):
            run()
        self.column += num_steps
        return [Chosen(inputs.ids[i, : self.num_rows], inputs.log_probs[i, : self.num_rows]) for i in range(num_steps)]

    def keep(self, kept: torch.Tensor) -> None:
        """See `Steps`."""
        self.num_rows = len(kept)
        for values in (self.inputs.positions, self.inputs.starts):
            values[: self.num_rows] = values[kept]
        self._move(kept, (rounded_rows(self.num_rows), self.columns))

    def should_drop(self, num_pending: int) -> bool:
        """See `Steps`: where a narrower graph does."""
        return rounded_rows(num_pending) < self.rows

    def _move(self, kept: torch.Tensor, shape: Shape) -> None:
        self.graphs.move((self.rows, self.columns), shape, kept, column=self.column)
        self.rows, self.columns = shape


@dataclass
class _Inputs:
    """What a step reads and writes, at fixed places on the device. B rows at the most.

    tokens, positions: int64 [B]; of the next token of each row. starts: int64 [B]; the first column that is not padding.
    column: int64 [1]; where all rows write next. slot: int64 [1]; the line of `ids` and `log_probs` that is written next.
    ids: int64, log_probs: float32 [STEPS_BETWEEN_LOOKS, B]; what the steps chose.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    starts: torch.Tensor
    column: torch.Tensor
    slot: torch.Tensor
    ids: torch.Tensor
    log_probs: torch.Tensor

    @classmethod
    def for_rows(cls, rows: int, device: torch.device) -> "_Inputs":
        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=torch.int64, device=device)

        lines = STEPS_BETWEEN_LOOKS
        return cls(
            zeros(rows), zeros(rows), zeros(rows), zeros(1), zeros(1), zeros(lines, rows), zeros(lines, rows).float()
        )

    def copy(self) -> list[torch.Tensor]:
        return [getattr(self, name).clone() for name in self.__dataclass_fields__]

    def restore(self, values: list[torch.Tensor]) -> None:
        for name, value in zip(self.__dataclass_fields__, values, strict=True):
            getattr(self, name).copy_(value)


class _FixedLayer(DynamicLayer):
    """Keys and values of a layer in memory that stays where it is; a step writes one column of it."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, column: torch.Tensor) -> None:
        """keys, values: float [B, heads, T, width]. column: int64 [1], on the device."""
        super().__init__()
        self.lazy_initialization(keys, values)
        self._store, self._column = (keys, values), column
        self.keys, self.values = self._store

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the states of one position; gives all columns, those not written yet too."""
        for store, states in zip(self._store, (key_states, value_states), strict=True):
            store.index_copy_(2, self._column, states.to(store.dtype))
        return self._store


def rounded_rows(num_rows: int) -> int:
    """The least of 1, 2, 4, 8, 12, 16, 24, 32, 48, ... that is not less: of many rows a third at most is for nothing."""
    power = 1 << max(0, num_rows - 1).bit_length()
    return 3 * power // 4 if power >= 16 and num_rows <= 3 * power // 4 else power


def rounded_columns(num_columns: int) -> int:
    """The least multiple of COLUMN_BLOCK that is not less."""
    return -(-num_columns // COLUMN_BLOCK) * COLUMN_BLOCK


def _run_step(core: Any, inputs: _Inputs, cache: Cache, rows: int, columns: int) -> None:
    """Decode one position of every row and note it; nothing leaves the device."""
    decoder, embed = core.model.language_model, core.get_input_embeddings()
    hidden = embed(inputs.tokens[:rows])[:, None]
    places = torch.arange(columns, device=hidden.device)
    is_seen = (places >= inputs.starts[:rows, None]) & (places <= inputs.column)
    mask = torch.zeros(rows, columns, dtype=hidden.dtype, device=hidden.device).masked_fill(~is_seen, float("-inf"))
    with _fused_norms(decoder):
        hidden = decoder(
            inputs_embeds=hidden,
            position_ids=inputs.positions[:rows, None],
            attention_mask=dict.fromkeys(decoder.config.layer_types, mask[:, None, None]),
            use_cache=True,
            **{CACHE_ARGUMENT: cache},
        ).last_hidden_state[:, -1]
    chosen = choose(core.lm_head(hidden))
    inputs.ids[:, :rows].index_copy_(0, inputs.slot, chosen.ids[None])
    inputs.log_probs[:, :rows].index_copy_(0, inputs.slot, chosen.log_probs[None])
    inputs.tokens[:rows] = chosen.ids
    for number in (inputs.positions[:rows], inputs.column, inputs.slot):
        number += 1


@contextmanager
def _fused_norms(decoder: nn.Module) -> Iterator[None]:
    """Let every norm be one operation of torch's meanwhile, not eight: in a step they were most of the launches.

    In half precision torch rounds once where transformers rounds twice, so that the last bit may differ.
    """
    norms = [module for module in decoder.modules() if isinstance(module, Qwen3RMSNorm)]
    for norm in norms:
        norm.forward = partial(_norm, norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _norm(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _fingerprint(core: Any) -> object:
    """What a graph took for granted: where weights and tables lie, which adapters are on and merged, how they are scaled."""
    adapters = [
        (layer.merged, layer.disable_adapters, tuple(layer.active_adapters), tuple(layer.scaling.items()))
        for layer in core.modules()
        if isinstance(layer, LoraLayer)
    ]
    decoder = core.model.language_model
    tensors = (*decoder.parameters(), *decoder.buffers(), *core.lm_head.parameters())
    return [tensor.data_ptr() for tensor in tensors], adapters
