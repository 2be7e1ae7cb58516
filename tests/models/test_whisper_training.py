"""Whisper's loss: that of transformers on the same tokens, traps of its labels, rows apart from their batch, languages heard."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoProcessor, WhisperForConditionalGeneration
from transformers.models.whisper.modeling_whisper import shift_tokens_right

from qasr_train.batch import IGNORED, Recording
from qasr_train.models.whisper import encoder
from qasr_train.models.whisper.config import Window
from qasr_train.models.whisper.model import Whisper
from qasr_train.objectives.cross_entropy import CrossEntropy
from tests.helpers_whisper import ROWS, load, recordings


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def loss_and_gradients(model: Whisper, clips: list[Recording]) -> tuple[float, int, dict[str, torch.Tensor]]:
    """(summed loss, supervised tokens, gradient of the sum) of a batch."""
    model.module.zero_grad()
    loss = CrossEntropy()(model, model.collator.for_training(clips))
    loss.total.backward()
    return float(loss.total.detach()), loss.num_targets, gradients(model.module)


def test_loss_and_gradients_are_those_of_transformers_on_the_same_tokens(tiny_whisper: Path):
    model = load(tiny_whisper)
    total_nats, num_targets, found = loss_and_gradients(model, recordings())
    batch = model.collator.for_training(recordings())
    reference = WhisperForConditionalGeneration.from_pretrained(tiny_whisper)
    loss = reference(
        batch.input_features, decoder_input_ids=batch.input_ids[:, :-1], labels=batch.labels[:, 1:].contiguous()
    ).loss
    (loss * num_targets).backward()
    assert total_nats / num_targets == pytest.approx(float(loss.detach()), abs=1e-5)
    assert float(loss.detach()) > 1.0
    expected = gradients(reference)
    assert found.keys() == expected.keys(), "a tied head is one weight, and the encoder's sines have no gradient"
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4 * float(gradient.abs().max()), msg=name)


def hugging_face_loss(folder: Path, features: torch.Tensor, *, keeps_start: bool) -> float:
    """As the usual script makes labels: the tokenizer's own prefix, padding at IGNORED, the start token cut off or left."""
    processor = AutoProcessor.from_pretrained(folder)
    start, end = "<|startoftranscript|>", "<|endoftext|>"
    told = {"de": " two small pills", "en": " fox"}
    texts = [f"{start}<|{code}|><|transcribe|><|notimestamps|>{text}{end}" for code, text in told.items()]
    begin = 0 if keeps_start else 1
    rows = [processor.tokenizer(text, add_special_tokens=False)["input_ids"][begin:] for text in texts]
    labels = torch.full((2, max(map(len, rows))), IGNORED)
    for row, ids in zip(labels, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    reference = WhisperForConditionalGeneration.from_pretrained(folder)
    shifted = shift_tokens_right(labels, reference.config.pad_token_id, reference.config.decoder_start_token_id)
    assert bool(shifted[0, 1] == shifted[0, 0]) is keeps_start, "the trap: two start tokens"
    with torch.no_grad():
        return float(reference(features, labels=labels).loss)


def test_supervised_languages_give_the_loss_of_transformers_own_labels(tiny_whisper: Path):
    """Where the script cuts the start token off; where it does not, the model is trained behind two of them."""
    model = load(tiny_whisper, supervise_language=True)
    clips = recordings([{"text": "two small pills", "language": "German"}, {"text": "fox", "language": "English"}])
    batch = model.collator.for_training(clips)
    with torch.no_grad():
        loss = CrossEntropy()(model, batch)
    found = float(loss.total) / loss.num_targets
    assert found == pytest.approx(hugging_face_loss(tiny_whisper, batch.input_features, keeps_start=False), abs=1e-5)
    assert found != pytest.approx(hugging_face_loss(tiny_whisper, batch.input_features, keeps_start=True), abs=1e-2)


@pytest.mark.parametrize("window", list(Window))
def test_a_row_learns_in_a_batch_what_it_learns_alone(tiny_whisper: Path, window: Window):
    """Another's sound, words, context and padding change neither its loss nor its gradient."""
    model = load(tiny_whisper, window=window)
    total_nats, num_targets, found = loss_and_gradients(model, recordings())
    alone = [loss_and_gradients(model, [clip]) for clip in recordings()]
    assert num_targets == sum(one[1] for one in alone)
    assert total_nats == pytest.approx(sum(one[0] for one in alone), rel=1e-5)
    for name, gradient in found.items():
        expected = sum(one[2][name] for one in alone)
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()), msg=name)


@pytest.mark.parametrize("is_sharded", [False, True], ids=["apart", "together"])
def test_a_clip_in_its_full_window_beside_others_learns_what_it_learns_alone(
    tiny_whisper: Path, is_sharded: bool, monkeypatch: pytest.MonkeyPatch
):
    """Together: as where layers are gathered from other processes, which take part in one pass alone."""
    monkeypatch.setattr(encoder, "gathers_layers", lambda module: is_sharded)
    mixed = load(tiny_whisper, window=Window.clip, full_window_fraction=0.4)
    clips = recordings()
    positions = mixed.num_encoded(mixed.collator.for_training(clips))
    assert 0 < positions.count(1500) < len(clips)
    total_nats, num_targets, found = loss_and_gradients(mixed, clips)
    models = {False: load(tiny_whisper, window=Window.clip), True: load(tiny_whisper)}
    alone = [loss_and_gradients(models[own == 1500], [one]) for own, one in zip(positions, clips, strict=True)]
    assert num_targets == sum(one[1] for one in alone)
    assert total_nats == pytest.approx(sum(one[0] for one in alone), rel=1e-5)
    for name, gradient in found.items():
        expected = sum(one[2][name] for one in alone)
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()), msg=name)


def test_the_windows_differ_where_the_clip_is_short(tiny_whisper: Path):
    totals = [loss_and_gradients(load(tiny_whisper, window=window), recordings())[0] for window in Window]
    assert totals[0] != pytest.approx(totals[1], rel=1e-4)


def loss_of(model: Whisper, rows: list[dict[str, Any]]) -> float:
    with torch.no_grad():
        return float(CrossEntropy()(model, model.collator.for_training(recordings(rows))).total)


def test_a_language_that_a_row_does_not_name_is_the_one_the_model_hears(tiny_whisper: Path):
    model = load(tiny_whisper)
    unknown = [{**row, "language": None} for row in ROWS]
    features = model.collator.for_training(recordings(unknown)).input_features
    heard = WhisperForConditionalGeneration.from_pretrained(tiny_whisper).detect_language(features).tolist()
    names = [model.language_names[id_] for id_ in heard]
    told = [{**row, "language": name} for row, name in zip(ROWS, names, strict=True)]
    assert loss_of(model, unknown) == pytest.approx(loss_of(model, told), rel=1e-6)
    other = next(name for name in model.tokens.language_ids if name not in names)
    assert loss_of(model, unknown) != pytest.approx(
        loss_of(model, [{**row, "language": other} for row in ROWS]), rel=1e-4
    )


def test_a_language_is_heard_without_dropout(tiny_whisper: Path):
    model = load(tiny_whisper)
    for module in model.module.modules():
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.9
    unknown = model.collator.for_training(recordings([{**row, "language": None} for row in ROWS]))
    model.module.eval()
    states = torch.randn(4, 1500, 32, generator=torch.Generator().manual_seed(0))
    expected = model.fill_languages(unknown, states, None)
    model.module.train()
    for _ in range(3):
        assert torch.equal(model.fill_languages(unknown, states, None), expected)
    assert model.core.model.decoder.layers[0].training


@pytest.mark.parametrize("chunk_rows", [None, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothing_and_chunks_of_the_head_are_torchs_loss_of_all_logits(
    tiny_whisper: Path, smoothing: float, chunk_rows: int | None
):
    model = load(tiny_whisper, window=Window.clip)
    batch = model.collator.for_training(recordings())
    logits = model(batch)
    expected = nn.functional.cross_entropy(logits.logits, logits.targets, reduction="sum", label_smoothing=smoothing)
    expected.backward()
    wanted = gradients(model.module)
    model.module.zero_grad()
    found = CrossEntropy(label_smoothing=smoothing, chunk_rows=chunk_rows)(model, batch).total
    found.backward()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for name, gradient in gradients(model.module).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-3, atol=1e-4 * float(gradient.abs().max()), msg=name)
