"""Whisper's own decoding loop, token for token beside transformers': contexts, limits, rows that leave, confidence, silence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import WhisperForConditionalGeneration

from qasr_train.batch import Batch, Recording
from qasr_train.errors import ConfigError
from qasr_train.models.base import Hypothesis
from qasr_train.models.families import load_model
from qasr_train.models.settings import Engine
from qasr_train.models.whisper.config import WhisperConfig, Window
from qasr_train.models.whisper.model import Whisper
from tests.helpers import tone, utterance

CONTEXTS = [None, "two small pills", "Q" * 40, "fox", None, "a day"]  # of 0 to 31 tokens
DURATIONS_S = [0.3, 2.2, 1.0, 4.1, 0.0, 2.9]
CLIPS = [
    Recording(utterance(id=f"u{i}", context=context), tone(seconds, frequency_hz=150.0 * (i + 1)))
    for i, (context, seconds) in enumerate(zip(CONTEXTS, DURATIONS_S, strict=True))
]


def load(folder: Path, **settings: Any) -> Whisper:
    """A model whose transcripts are its token ids in figures: random weights say little that can be read."""
    model = load_model(WhisperConfig(path=str(folder), **settings), device="cpu")
    assert isinstance(model, Whisper)
    model.tokens.tokenizer.decode = lambda ids, **_: " ".join(map(str, ids))
    return model


def ids_of(generated: list[int], end_id: int) -> str:
    """The same of what transformers generated."""
    return " ".join(map(str, generated[: generated.index(end_id)] if end_id in generated else generated))


@pytest.fixture(scope="module")
def model(tiny_whisper: Path) -> Whisper:
    return load(tiny_whisper)


@pytest.fixture(scope="module")
def reference(tiny_whisper: Path) -> WhisperForConditionalGeneration:
    return WhisperForConditionalGeneration.from_pretrained(tiny_whisper)


def prepared(model: Whisper, clips: list[Recording], *, language: str | None = None, use_context: bool = True) -> Batch:
    return model.collator.for_transcription(clips, language=language, use_context=use_context)


@pytest.fixture(scope="module")
def heard_together(model: Whisper) -> dict[str | None, list[Hypothesis]]:
    """The clips in one batch, by the language that was told."""
    return {
        told: model.transcribe(prepared(model, CLIPS, language=told), max_new_tokens=12) for told in (None, "German")
    }


@pytest.mark.parametrize(("row", "language"), [(0, None), (1, None), (2, "German"), (4, None), (5, "German")])
def test_each_row_of_a_batch_is_what_transformers_generates_of_it_alone(
    model: Whisper,
    reference: WhisperForConditionalGeneration,
    heard_together: dict[str | None, list[Hypothesis]],
    row: int,
    language: str | None,
):
    """With its own context as `prompt_ids`; the language is detected as transformers detects it, without the context."""
    heard = heard_together[language][row]
    alone = prepared(model, [CLIPS[row]], language=language)
    prompt = alone.input_ids[0].tolist()
    context = prompt[: prompt.index(model.tokens.sot_id)]
    generated = reference.generate(
        alone.input_features,
        attention_mask=alone.input_features_mask,
        language=language and language.lower(),
        task="transcribe",
        max_new_tokens=12,
        prompt_ids=torch.tensor(context) if context else None,
    )[0].tolist()
    assert heard.raw_text == ids_of(generated, model.tokens.end_id)
    assert heard.num_tokens > 1
    expected = reference.detect_language(alone.input_features)[0].item()
    assert heard.language == language or heard.language == model.language_names[expected]


def test_both_engines_give_the_same_tokens_and_each_row_stops_at_its_limit(model: Whisper):
    batch = prepared(model, CLIPS, use_context=False)
    limits = [1, 12, 3, 9, 7, 2]
    loop = model.transcribe_rows(batch, max_new_tokens=limits, engine=Engine.loop)
    assert model.transcribe_rows(batch, max_new_tokens=limits, engine=Engine.generate) == loop
    assert [one.num_tokens for one in loop if one.is_truncated] == [
        most for most, one in zip(limits, loop, strict=True) if one.is_truncated
    ]
    whole = model.transcribe(batch, max_new_tokens=12)
    for most, cut, full in zip(limits, loop, whole, strict=True):
        assert cut.num_tokens == min(most, full.num_tokens)
        assert cut.raw_text.split() == full.raw_text.split()[:most]


def never_ending(folder: Path) -> Whisper:
    model = load(folder, window=Window.clip)
    model.generation = {**model.generation, "suppress_tokens": [model.tokens.end_id]}
    return model


def test_the_room_of_a_row_does_not_depend_on_the_contexts_beside_it(tiny_whisper: Path):
    """64 positions: less 4 of the prompt, and its own context with <|startofprev|>."""
    model = never_ending(tiny_whisper)
    own = [len(model.tokens.context_ids(context, beside=4)) for context in CONTEXTS]
    assert own[0] == 0 and max(own) == 32
    for language in ("German", None):
        batch = prepared(model, CLIPS, language=language)
        heard = model.transcribe(batch, max_new_tokens=500)
        assert [one.num_tokens for one in heard] == [60 - num_context for num_context in own]
        alone = model.transcribe(prepared(model, CLIPS[:1], language=language), max_new_tokens=500)
        assert heard[:1] == alone


def test_transformers_cannot_be_asked_with_contexts_or_short_windows(tiny_whisper: Path, model: Whisper):
    for one, batch in (
        (model, prepared(model, CLIPS)),
        (clip := load(tiny_whisper, window=Window.clip), prepared(clip, CLIPS, use_context=False)),
    ):
        with pytest.raises(
            ConfigError, match="decode.engine=generate: transformers generates from whole windows without"
        ):
            one.transcribe_rows(batch, max_new_tokens=[3] * len(CLIPS), engine=Engine.generate)


def recomputed(reference: WhisperForConditionalGeneration, batch: Batch, tokens: list[int]) -> torch.Tensor:
    """log-probabilities of tokens after a prompt by one plain forward pass, the model's suppressed tokens impossible."""
    ids = torch.tensor([batch.input_ids[0].tolist() + tokens])
    with torch.no_grad():
        logits = reference(batch.input_features, decoder_input_ids=ids).logits[0, batch.input_ids.shape[1] - 1 : -1]
    settings = reference.generation_config
    logits[:, settings.suppress_tokens] = -torch.inf
    logits[0, settings.begin_suppress_tokens] = -torch.inf
    return logits.log_softmax(-1).gather(-1, torch.tensor(tokens)[:, None])[:, 0]


@pytest.mark.parametrize("row", [0, 3])
def test_confidence_is_the_log_probability_of_a_plain_forward_pass(
    model: Whisper, reference: WhisperForConditionalGeneration, row: int
):
    alone = prepared(model, [CLIPS[row]], language="German")
    heard = model.transcribe(prepared(model, CLIPS, language="German"), max_new_tokens=9)[row]
    tokens = [*map(int, heard.raw_text.split()), *[model.tokens.end_id] * (not heard.is_truncated)]
    assert heard.log_probs is not None and len(heard.log_probs) == heard.num_tokens == len(tokens)
    torch.testing.assert_close(
        torch.tensor(heard.log_probs), recomputed(reference, alone, tokens), rtol=1e-4, atol=1e-4, check_dtype=False
    )


@pytest.mark.parametrize("window", list(Window))
def test_alone_reversed_and_in_a_batch_it_hears_the_same(tiny_whisper: Path, window: Window):
    model = load(tiny_whisper, window=window)
    alone = [model.transcribe(prepared(model, [clip]), max_new_tokens=9)[0] for clip in CLIPS]
    assert model.transcribe(prepared(model, CLIPS), max_new_tokens=9) == alone
    assert model.transcribe(prepared(model, CLIPS[::-1]), max_new_tokens=9) == alone[::-1]
    assert len({one.raw_text for one in alone}) > 3


def test_clips_of_30_s_are_heard_the_same_through_both_windows(tiny_whisper: Path):
    clips = [
        Recording(utterance(id="whole"), tone(30.0)),
        Recording(utterance(id="nearly"), np.pad(tone(29.7), (0, 100))),
        Recording(utterance(id="short"), tone(0.4)),
    ]
    full, clip = (load(tiny_whisper, window=window) for window in (Window.full, Window.clip))
    expected = full.transcribe(prepared(full, clips[:2]), max_new_tokens=12)
    assert clip.transcribe(prepared(clip, clips), max_new_tokens=12)[:2] == expected
    with torch.no_grad():  # and their states are equal, not near
        states = [one.encode(prepared(one, clips[:2])) for one in (full, clip)]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=1e-6)


def silenced(model: Whisper, nats: float) -> None:
    """Make the no-speech token likelier by so many nats than the likeliest other at the start token of every clip."""
    hear = model.core.proj_out.forward

    def biased(states: torch.Tensor) -> torch.Tensor:
        logits = hear(states)
        logits[..., model.tokens.no_speech_id] = logits.amax(-1) + nats
        return logits

    model.core.proj_out.forward = biased


@pytest.mark.parametrize("language", [None, "German"])
def test_where_nobody_speaks_by_the_threshold_the_transcript_is_empty(tiny_whisper: Path, language: str | None):
    model = load(tiny_whisper, no_speech_threshold=0.6)
    model.generation = {**model.generation, "suppress_tokens": [model.tokens.no_speech_id]}
    loud: list[Hypothesis] = model.transcribe(prepared(model, CLIPS, language=language), max_new_tokens=5)
    assert all(one.raw_text for one in loud)
    silenced(model, 10.0)
    quiet = model.transcribe(prepared(model, CLIPS, language=language), max_new_tokens=5)
    for one, before in zip(quiet, loud, strict=True):
        assert (one.text, one.num_tokens, one.is_truncated, one.log_probs) == ("", 1, False, None)
        assert one.language == before.language


def test_without_a_threshold_no_speech_is_not_asked_for(tiny_whisper: Path):
    model = load(tiny_whisper)
    model.generation = {**model.generation, "suppress_tokens": [model.tokens.no_speech_id]}
    silenced(model, 10.0)
    assert all(one.raw_text for one in model.transcribe(prepared(model, CLIPS), max_new_tokens=5))


def test_eager_attention_in_a_config_changes_nothing(tiny_whisper: Path, tmp_path: Path, model: Whisper):
    """transformers honours it, and its eager attention is not causal unless it is given a mask."""
    for file in tiny_whisper.iterdir():
        text = file.read_bytes()
        if file.name == "config.json":
            text = text.replace(b"{", b'{\n  "attn_implementation": "eager",', 1)
        (tmp_path / file.name).write_bytes(text)
    assert WhisperForConditionalGeneration.from_pretrained(tmp_path).config._attn_implementation == "eager"
    eager = load(tmp_path)
    clips = [Recording(utterance(id=f"u{i}", text="two small pills"), tone(1.0 + i)) for i in range(2)]
    expected, found = (one(one.collator.for_training(clips)).logits for one in (model, eager))
    assert torch.equal(expected, found)
