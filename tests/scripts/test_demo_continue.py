"""Stage 4 of the base model: wider heads are the same function, rows are as other programs send them, drawn voices are new."""

import random

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration

from scripts.demo.continue_base import FORMS, compute_losses, learning_rate
from scripts.demo.examples import IGNORED_LABEL, Example, RowForms, collate, draw_form, extract_features
from scripts.demo.synthesis import ALL_TIMBRES, HELD_OUT_TIMBRES
from scripts.demo.tiny_model import widen_heads
from scripts.demo.train_base import predict_targets
from scripts.demo.voices import draw_voice, write_voices
from tests.helpers import ROOT, tone

CHECKPOINT = ROOT / "qasr_train/assets/tiny"


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(CHECKPOINT)


@pytest.fixture(scope="module")
def model():
    torch.set_flush_denormal(True)
    return Qwen3ASRForConditionalGeneration.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()


def row(processor, duration_s: float = 0.7, **fields) -> Example:
    fields = {"language": "English", "text": "seven birds", "context": ""} | fields
    return Example(extract_features(tone(duration_s), processor), **fields)


@torch.no_grad()
def test_wider_heads_are_the_same_function(model, processor):
    batch = collate(
        [row(processor), row(processor, 2.3, context="birds, lamp", text="all the lamps of the house")], processor
    )
    wide = widen_heads(model, 64).eval()
    assert wide.config.text_config.head_dim == 64 and model.config.text_config.head_dim == 40
    found, expected = predict_targets(wide, batch)[0], predict_targets(model, batch)[0]
    assert torch.allclose(found, expected, atol=2e-4) and expected.abs().max() > 5


def test_a_row_without_a_system_turn_a_given_language_and_more_ends(processor):
    batch = collate([row(processor, context=None, is_forced=True, num_more_ends=2)], processor)
    text = processor.tokenizer.decode(batch.input_ids[0])
    assert text.startswith("<|im_start|>user\n<|audio_start|>") and "system" not in text
    assert "assistant\nlanguage English<asr_text>seven birds" in text
    labels = batch.labels[0]
    assert processor.tokenizer.decode(labels[labels != IGNORED_LABEL]) == "seven birds" + "<|im_end|>" * 3


def test_rows_come_in_the_shares_of_the_forms():
    rng = random.Random(0)
    bare = Example(np.zeros((1, 1), np.float32), "English", "one", "")
    rows = [draw_form(bare, FORMS, rng) for _ in range(2000)]
    # A clip with a context keeps its turn, so of the others more are left out: 0.35 of all are.
    assert sum(one.context is None for one in rows) / 2000 == pytest.approx(
        FORMS.no_turn / (1 - FORMS.context), abs=0.03
    )
    assert sum(one.is_forced for one in rows) / 2000 == pytest.approx(FORMS.forced, abs=0.03)
    assert all(one.num_more_ends >= 1 for one in rows) and max(one.num_more_ends for one in rows) > FORMS.more_ends
    with_context = Example(np.zeros((1, 1), np.float32), "English", "one", "lamp")
    assert {draw_form(with_context, FORMS, rng).context for _ in range(50)} == {"lamp"}


def test_where_nobody_speaks_and_a_language_is_given_the_text_is_empty():
    silence = Example(np.zeros((1, 1), np.float32), "None", "", "")
    languages = {draw_form(silence, RowForms(forced=1.0), random.Random(seed)).language for seed in range(40)}
    assert languages == {"English", "German", "Spanish", "French"}
    assert draw_form(silence, RowForms(), random.Random(0)) == silence


@torch.no_grad()
def test_the_loss_tells_the_first_end_from_those_behind_it(model, processor):
    once, thrice = (collate([row(processor, num_more_ends=n)], processor) for n in (0, 2))
    end = processor.tokenizer.eos_token_id
    of_text, of_more = compute_losses(model, thrice, end)
    assert of_text.item() == pytest.approx(compute_losses(model, once, end)[0].item(), abs=1e-4)
    assert of_more.item() > 0


def test_the_learning_rate_rises_and_ends_at_zero():
    rates = [learning_rate(step, 900, 1.0) for step in range(1, 901)]
    assert rates[29] == pytest.approx(0.5, abs=0.01) and rates[-1] == pytest.approx(0.0, abs=1e-6)
    assert max(rates) == rates[59] > 0.98


def test_drawn_voices_stand_beside_the_trained_ones_alone(tmp_path):
    pytest.importorskip("espeakng_loader")
    names = write_voices(tmp_path, 3, seed=1)
    there = {path.name for path in (tmp_path / "voices" / "!v").iterdir()}
    assert there == set(names) | set(ALL_TIMBRES) - set(HELD_OUT_TIMBRES)
    texts = [(tmp_path / "voices" / "!v" / name).read_text() for name in names]
    assert len(set(texts)) == 3 and write_voices(tmp_path, 3, seed=1) == names
    assert [(tmp_path / "voices" / "!v" / name).read_text() for name in names] == texts


def test_a_drawn_voice_has_nine_formants_within_reach_of_a_throat():
    for seed in range(20):
        lines = [line.split() for line in draw_voice("x", random.Random(seed)).splitlines()]
        formants = [line for line in lines if line[0] == "formant"]
        assert [int(line[1]) for line in formants] == list(range(9))
        assert all(75 <= int(line[2]) <= 150 for line in formants)
