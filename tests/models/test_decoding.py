"""The decoding loop of Qwen3-ASR: token for token what transformers' `generate` gives, whoever is in the batch."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from peft.tuners.lora import LoraLayer

from qasr_train.batch import Batch, Recording
from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.base import Hypothesis, RowDecoder, confidence_of
from qasr_train.models.blocks.greedy import RowTokens
from qasr_train.models.qwen3_asr import decoding, prefill, step_graphs
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.qwen3_asr.decoding import decode_greedily
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.qwen3_asr.packing import pack
from qasr_train.models.settings import AdaptConfig, Engine, LoraSettings
from tests.helpers import tone, utterance
from tests.helpers_model import tiny_model, tiny_processor

DURATIONS_S = [0.6, 3.0, 1.1, 9.0, 0.3, 2.0]


# Tokens that the random model below says after 1 to 13 others; it has no real end.
END_IDS = [271, 147]


@pytest.fixture(scope="module")
def model() -> Qwen3ASR:
    """Random weights, large enough that clips sound unlike and a row does not say one token for ever."""
    core = tiny_model()
    with torch.no_grad():
        for parameter in [
            *core.model.language_model.layers.parameters(),
            *core.model.multi_modal_projector.parameters(),
        ]:
            if parameter.ndim > 1:
                parameter.mul_(5)
    return Qwen3ASR(core, tiny_processor())


def clips() -> list[Recording]:
    """Noise of unequal lengths (one over the 8 s window of the encoder), every second with a context."""
    rng = np.random.default_rng(0)
    return [
        Recording(
            utterance(id=f"u{i}", context="two small pills" * i if i % 2 else None),
            (tone(seconds) + 0.3 * rng.standard_normal(round(seconds * 16_000))).astype(np.float32),
        )
        for i, seconds in enumerate(DURATIONS_S)
    ]


def prompts(model: Qwen3ASR, **settings: Any) -> Batch:
    return model.collator.for_transcription(clips(), **settings)


def generated_alone(model: Qwen3ASR, row: int, limit: int, end_ids: list[int]) -> list[int]:
    """What transformers generates for one clip by itself, up to and with its end."""
    batch = model.collator.for_transcription([clips()[row]])
    generate: Any = model.core.generate
    ids = generate(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        input_features=batch.input_features,
        input_features_mask=batch.input_features_mask,
        max_new_tokens=limit,
        do_sample=False,
        eos_token_id=end_ids,
        pad_token_id=model.collator.pad_id,
    )
    return list(ids[0, batch.input_ids.shape[1] :].tolist())


def decoded(model: Qwen3ASR, batch: Batch, limits: list[int], end_ids: list[int], **settings: Any) -> list[list[int]]:
    return [row.ids for row in decoded_rows(model, batch, limits, end_ids, **settings)]


def decoded_rows(
    model: Qwen3ASR, batch: Batch, limits: list[int], end_ids: list[int], **settings: Any
) -> list[RowTokens]:
    packed = pack(batch, model.collator.audio_id)
    with torch.no_grad():
        embeds = model._embed(batch, packed)
    return decode_greedily(model.core, embeds, packed.rows.lengths, limits=limits, end_ids=end_ids, **settings)


@pytest.mark.parametrize("steps_between_looks", [1, 4])
@pytest.mark.parametrize("prefill_tokens", [8192, 60])
@pytest.mark.parametrize("is_graphed", [False, True])
def test_every_row_ends_where_generate_ends_it_alone(
    model: Qwen3ASR,
    steps_between_looks: int,
    prefill_tokens: int,
    is_graphed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prefill, "PREFILL_TOKENS", {"cpu": prefill_tokens})
    limits = [30, 25, 3, 30, 30, 30]
    maker = step_graphs.StepGraphs(model.core) if is_graphed else None
    found = decoded(model, prompts(model), limits, END_IDS, maker=maker, steps_between_looks=steps_between_looks)
    assert found == [generated_alone(model, row, limit, END_IDS) for row, limit in enumerate(limits)]
    lengths = [len(ids) for ids in found]
    assert lengths[2] == 3
    assert len(set(lengths)) > 4, "rows that end at once would not leave the batch one by one"


def test_rows_that_are_done_leave_the_batch(model: Qwen3ASR, monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []
    step = decoding.EagerSteps._step

    def count(steps: Any, tokens: torch.Tensor) -> Any:
        widths.append(len(tokens))
        return step(steps, tokens)

    monkeypatch.setattr(decoding.EagerSteps, "_step", count)
    decoded(model, prompts(model), [2, 4, 6, 30, 2, 8], [model.collator.pad_id])
    # A row with a limit of n takes part in n - 1 steps. Of six two are done after step 1 (4 left), u1 after step 3 (3 of 4),
    # u2 after step 5 (2 of 3), u5 after step 7.
    assert widths[:8] == [6, 4, 4, 3, 3, 2, 2, 1]
    assert len(widths) <= 29


@pytest.mark.parametrize("settings", [{}, {"language": "French"}, {"use_context": False}])
def test_both_engines_hear_the_same(model: Qwen3ASR, settings: dict[str, Any]) -> None:
    limits = [5, 40, 17, 90, 2, 40]
    ours, theirs = (
        model.transcribe_rows(prompts(model, **settings), max_new_tokens=limits, engine=engine)
        for engine in (Engine.auto, Engine.generate)
    )
    assert all(one.log_probs is None for one in theirs), "generate is not asked for them"
    assert ours == theirs
    assert [one.num_tokens for one in ours if one.is_truncated] == [
        limit for one, limit in zip(ours, limits, strict=True) if one.is_truncated
    ]
    assert any(one.is_truncated for one in ours), "a loop that meets its limit was to be among them"
    assert all((one.language == "French") == ("language" in settings) for one in ours)


def test_one_limit_for_all_is_a_limit_for_each(model: Qwen3ASR) -> None:
    assert isinstance(model, RowDecoder)
    assert model.transcribe(prompts(model), max_new_tokens=7) == model.transcribe_rows(
        prompts(model), max_new_tokens=[7] * len(DURATIONS_S)
    )


def test_the_cache_grows_past_its_blocks(model: Qwen3ASR, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "CACHE_BLOCK", 2)
    limits = [150] * len(DURATIONS_S)
    found = decoded(model, prompts(model), limits, [model.collator.pad_id])
    for row in (0, 4):
        assert found[row] == generated_alone(model, row, 150, [model.collator.pad_id])


def test_transcribing_leaves_the_mode_of_training_alone(model: Qwen3ASR) -> None:
    model.train()
    model.transcribe(prompts(model), max_new_tokens=2)
    assert model.core.training
    model.eval()


# --- how sure the model was ---------------------------------------------------------------------------------------------


def probabilities_alone(model: Qwen3ASR, row: int, answer: list[int], **settings: Any) -> list[float]:
    """Log-probability of each token of an answer, by transformers' own forward pass over prompt and answer at once."""
    batch = model.collator.for_transcription([clips()[row]], **settings)
    ids = torch.cat([batch.input_ids, torch.tensor([answer])], dim=1)
    with torch.no_grad():
        logits = model.core(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            input_features=batch.input_features,
            input_features_mask=batch.input_features_mask,
        ).logits
    log_probs = torch.log_softmax(logits[0, batch.input_ids.shape[1] - 1 : -1].double(), -1)
    return [float(step[token]) for step, token in zip(log_probs, answer, strict=True)]


@pytest.mark.parametrize("steps_between_looks", [1, 4])
def test_probabilities_are_those_of_one_forward_pass_over_the_answer(model: Qwen3ASR, steps_between_looks: int) -> None:
    limits = [30, 25, 3, 30, 30, 30]
    found = decoded_rows(model, prompts(model), limits, END_IDS, steps_between_looks=steps_between_looks)
    for number, row in enumerate(found):
        assert row.log_probs == pytest.approx(probabilities_alone(model, number, row.ids), abs=2e-4)
    assert min(min(row.log_probs) for row in found) < -0.1, "a model that is always sure would show nothing"


def hypothesis_of(model: Qwen3ASR, said: list[str], *, prefix: str = "") -> Hypothesis:
    """What comes of these tokens, whose log-probabilities are -1, -2, -3 ..."""
    ids = [model.collator.tokenizer.convert_tokens_to_ids(token) for token in said]
    return model._hypothesis("u", RowTokens(ids, [-float(i) for i in range(1, len(ids) + 1)]), prefix)


def test_only_the_transcript_and_its_end_are_counted(model: Qwen3ASR) -> None:
    whole = hypothesis_of(model, ["l", "a", "<asr_text>", "a", "b", "<|im_end|>"])
    assert whole.log_probs == (-4.0, -5.0, -6.0)
    assert hypothesis_of(model, ["a", "b", "<|im_end|>"], prefix="language English<asr_text>").log_probs == (-1, -2, -3)
    assert hypothesis_of(model, ["l", "<asr_text>", "a"]).log_probs == (-3.0,), "cut short: no end to count"
    assert hypothesis_of(model, ["a", "b"]).log_probs == (-1.0, -2.0), "without a marker all of it is the transcript"
    assert hypothesis_of(model, ["l", "<asr_text>"]).log_probs == (), "cut before the transcript"
    assert (whole.text, whole.pieces) == ("ab", ((1, -4.0), (1, -5.0))), "of the end nothing is written"
    assert hypothesis_of(model, ["a", "b", "<|im_end|>"], prefix="language English<asr_text>").pieces == (
        (1, -1),
        (1, -2),
    )
    assert hypothesis_of(model, ["l", "<asr_text>"]).pieces == ()


def test_confidence_is_the_geometric_mean_over_all_pieces(model: Qwen3ASR) -> None:
    pieces = [
        Hypothesis("u", "a", None, "a", 2, False, log_probs=(math.log(0.5), math.log(0.25))),
        Hypothesis("u", "b", None, "b", 1, False, log_probs=(math.log(0.125),)),
    ]
    assert confidence_of(pieces) == pytest.approx(0.25)  # (1/2 * 1/4 * 1/8) ** (1/3)
    assert confidence_of(pieces[:1]) == pytest.approx(8**-0.5)
    assert confidence_of([*pieces, replace(pieces[0], log_probs=None)]) is None
    assert confidence_of([replace(pieces[0], log_probs=())]) is None
    assert confidence_of([]) is None


# --- steps as graphs ----------------------------------------------------------------------------------------------------


def test_graphs_are_kept_from_batch_to_batch_and_dropped_with_the_weights(model: Qwen3ASR):
    graphs = step_graphs.StepGraphs(model.core)
    limits = [30] * len(DURATIONS_S)
    first = decoded(model, prompts(model), limits, END_IDS, maker=graphs)
    num_captured = graphs.num_captured
    assert 1 < num_captured < 30, "a graph for every few rows"
    assert decoded(model, prompts(model), limits, END_IDS, maker=graphs) == first
    assert graphs.num_captured == num_captured

    gate: Any = model.core.model.language_model.layers[0].mlp.gate_proj
    before = gate.weight
    gate.weight = torch.nn.Parameter(torch.zeros_like(before))
    other = decoded(model, prompts(model), limits, END_IDS, maker=graphs)
    assert graphs.num_captured > num_captured
    gate.weight = before
    assert other != first
    assert decoded(model, prompts(model), limits, END_IDS, maker=graphs) == first


def test_stores_grow_with_rows_and_columns(model: Qwen3ASR, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(step_graphs, "COLUMN_BLOCK", 16)
    graphs = step_graphs.StepGraphs(model.core)
    limits = [90] * len(DURATIONS_S)
    one = model.collator.for_transcription(clips()[:1])
    assert decoded(model, one, limits[:1], [model.collator.pad_id], maker=graphs) == [
        generated_alone(model, 0, 90, [model.collator.pad_id])
    ]
    size = graphs.stores[0][0].numel()
    found = decoded(model, prompts(model), limits, [model.collator.pad_id], maker=graphs)
    assert graphs.stores[0][0].numel() > size
    assert found == [generated_alone(model, row, 90, [model.collator.pad_id]) for row in range(len(limits))]


@pytest.mark.parametrize("num_batches", [8, pytest.param(24, marks=pytest.mark.slow)])  # .ci/run runs both
def test_graphs_take_whatever_batches_come_and_whatever_lay_in_their_memory(
    model: Qwen3ASR, monkeypatch, num_batches: int
):
    """Against the steps without graphs, with the least of memory and of graphs, and no number in it left from before."""
    monkeypatch.setattr(step_graphs, "COLUMN_BLOCK", 16)
    monkeypatch.setattr(step_graphs, "MAX_GRAPHS", 3)
    graphs, rng, everything = step_graphs.StepGraphs(model.core), np.random.default_rng(0), clips()
    for number in range(num_batches):
        rows = rng.integers(0, len(everything), size=rng.integers(1, 14))
        # Half of them go on together to the end, so that columns grow and no row leaves.
        limits, end_ids = (
            (rng.integers(1, 40, size=len(rows)).tolist(), END_IDS) if number % 2 else ([60] * len(rows), [])
        )
        batch = model.collator.for_transcription([everything[row] for row in rows])
        with torch.inference_mode():
            for store in (one for pair in graphs.stores for one in pair):
                store.fill_(float("nan"))
        found = decoded(model, batch, limits, end_ids, maker=graphs, steps_between_looks=int(rng.integers(1, 9)))
        assert found == decoded(model, batch, limits, end_ids)
        assert len(graphs._graphs) <= 3


def test_the_graph_longest_unused_is_dropped(model: Qwen3ASR, monkeypatch):
    monkeypatch.setattr(step_graphs, "MAX_GRAPHS", 3)
    graphs = step_graphs.StepGraphs(model.core)
    monkeypatch.setattr(graphs, "_capture", lambda rows, columns: lambda: None)
    for rows in (1, 2, 4, 1, 8):
        graphs.step(rows, 128)
    assert [rows for rows, _ in graphs._graphs] == [4, 1, 8]


def test_graphs_of_adapters_that_are_switched_merged_or_scaled_are_dropped():
    torch.manual_seed(0)
    adapted = Qwen3ASR(tiny_model(), tiny_processor())
    lora = LoraSettings(rank=4, decoder=["q_proj", "v_proj"], encoder=[], projector=[])
    adapted.module = apply_adaptation(adapted.module, AdaptConfig(lora=lora), PARTS)
    module: Any = adapted.module
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
    graphs, batch, limits = step_graphs.StepGraphs(adapted.core), prompts(adapted), [12] * len(DURATIONS_S)

    def hear() -> list[list[int]]:
        before = graphs.num_captured
        found = decoded(adapted, batch, limits, [], maker=graphs)
        assert graphs.num_captured > before, "a graph of other adapters was taken"
        assert found == decoded(adapted, batch, limits, [])
        return found

    module.eval()
    with_adapters = hear()
    with module.disable_adapter():
        assert hear() != with_adapters
    assert hear() == with_adapters
    layers = [layer for layer in adapted.core.modules() if isinstance(layer, LoraLayer)]
    for layer in layers:
        layer.scale_layer(3.0)
    assert hear() != with_adapters
    module.merge_adapter()
    hear()


@pytest.mark.parametrize(
    ("rows", "rounded"), [(1, 1), (2, 2), (3, 4), (5, 8), (9, 12), (12, 12), (13, 16), (17, 24), (25, 32), (128, 128)]
)
def test_rows_of_a_graph_are_rounded_up(rows: int, rounded: int):
    assert step_graphs.rounded_rows(rows) == rounded
    assert step_graphs.rounded_columns(128 * rows - 1) == 128 * rows


@pytest.mark.gpu
def test_on_a_gpu_graphs_the_loop_and_generate_hear_the_same(model: Qwen3ASR):
    model.to("cuda")
    limits = [30, 25, 3, 30, 30, 30]
    batch = prompts(model).to("cuda")
    heard = {
        engine: model.transcribe_rows(batch, max_new_tokens=limits, engine=engine) for engine in (*Engine, Engine.auto)
    }
    assert model._step_graphs and model._step_graphs.num_captured > 1
    assert heard[Engine.auto] == heard[Engine.loop] == heard[Engine.generate]
    for graphed, looped in zip(heard[Engine.auto], heard[Engine.loop], strict=True):
        assert graphed.log_probs == pytest.approx(looped.log_probs, abs=1e-3)
    with torch.no_grad():
        model(model.collator.for_training(clips()).to("cuda"))
    assert model._step_graphs is None, "a training batch needs the memory"
    model.to("cpu")


@pytest.mark.gpu
def test_on_a_gpu_adapters_are_heard_when_they_change():
    torch.manual_seed(0)
    adapted = Qwen3ASR(tiny_model(), tiny_processor())
    lora = LoraSettings(rank=4, decoder=["q_proj", "v_proj"], encoder=[], projector=[])
    adapted.module = apply_adaptation(adapted.module, AdaptConfig(lora=lora), PARTS)
    adapted.to("cuda")
    batch, limits, heard = prompts(adapted).to("cuda"), [12] * len(DURATIONS_S), []
    weights = [parameter for name, parameter in adapted.module.named_parameters() if "lora_B" in name]
    for scale in (0.0, 0.5):
        torch._foreach_copy_([w.data for w in weights], [torch.full_like(w, scale) for w in weights])
        graphed, looped = (
            adapted.transcribe_rows(batch, max_new_tokens=limits, engine=engine)
            for engine in (Engine.auto, Engine.loop)
        )
        assert graphed == looped
        heard.append(graphed)
    assert heard[0] != heard[1]
