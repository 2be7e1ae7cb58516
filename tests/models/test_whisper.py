"""Whisper: equal to transformers' own generation, languages forced, detected and refused, English-only checkpoints."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSpeechSeq2Seq

from qasr_train.batch import Recording
from qasr_train.errors import CheckpointError, ConfigError, DataError
from qasr_train.models.families import FAMILIES, load_collator, load_model, load_trainable
from qasr_train.models.settings import Capability
from qasr_train.models.whisper.config import WhisperConfig
from qasr_train.models.whisper.model import Whisper
from qasr_train.models.whisper.tokens import language_name
from tests.helpers import tone, utterance, write_wav
from tests.helpers_transcription import transcribe_all
from tests.models.tiny_families import TINY, save_tiny_whisper

CLIPS = [Recording(utterance(id=f"u{i}"), tone(0.5 + i, frequency_hz=200.0 * (i + 1))) for i in range(3)]


def load(folder: Path, **settings: Any) -> Whisper:
    save_tiny_whisper(folder, **settings)
    model = load_model(WhisperConfig(path=str(folder)), device="cpu")
    assert isinstance(model, Whisper)
    return model


@pytest.mark.parametrize("language", [None, "German"])
def test_it_generates_what_transformers_generates(tmp_path: Path, language: str | None):
    model = load(tmp_path)
    batch = model.collator.for_transcription(CLIPS, language=language, use_context=False)
    heard = model.transcribe(batch, max_new_tokens=12)
    reference = AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path)
    generated = reference.generate(
        batch.input_features,
        attention_mask=batch.input_features_mask,
        language=language and language.lower(),
        task="transcribe",
        max_new_tokens=12,
    )
    expected = [model.processor.tokenizer.decode(row, skip_special_tokens=True) for row in generated]
    assert [one.raw_text for one in heard] == expected
    assert any(expected)


def test_a_detected_language_is_the_one_transformers_detects(tmp_path: Path):
    model = load(tmp_path)
    batch = model.collator.for_transcription(CLIPS, language=None, use_context=False)
    reference = AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path)
    ids = reference.detect_language(batch.input_features)
    expected = [language_name(token) for token in model.processor.tokenizer.convert_ids_to_tokens(ids)]
    heard = model.transcribe(batch, max_new_tokens=2)
    assert [one.language for one in heard] == expected
    assert Capability.LANGUAGE in model.capabilities


def test_a_forced_language_is_in_the_prompt_and_the_hypothesis(tmp_path: Path):
    model = load(tmp_path)
    batch = model.collator.for_transcription(CLIPS[:1], language="Filipino", use_context=False)
    prompt = model.processor.tokenizer.convert_ids_to_tokens(batch.input_ids[0])
    assert prompt == ["<|startoftranscript|>", "<|tl|>", "<|transcribe|>", "<|notimestamps|>"]
    assert model.transcribe(batch, max_new_tokens=2)[0].language == "Filipino"


def test_a_language_it_does_not_know_is_refused_with_those_it_does(tmp_path: Path):
    model = load(tmp_path)
    with pytest.raises(
        ConfigError,
        match=r"language=Thai: .* no token for it, but for English, Filipino, Galician, German; use auto",
    ):
        model.collator.for_transcription(CLIPS, language="Thai", use_context=False)


def test_an_english_only_checkpoint_has_no_language_in_its_prompt(tmp_path: Path):
    model = load(tmp_path, is_multilingual=False)
    assert Capability.LANGUAGE not in model.capabilities
    batch = model.collator.for_transcription(CLIPS[:1], language=None, use_context=False)
    prompt = model.processor.tokenizer.convert_ids_to_tokens(batch.input_ids[0])
    assert prompt == ["<|startoftranscript|>", "<|notimestamps|>"]
    assert model.transcribe(batch, max_new_tokens=2)[0].language == "English"
    with pytest.raises(ConfigError, match="language=German: this Whisper checkpoint knows English only"):
        model.collator.for_transcription(CLIPS, language="German", use_context=False)


def test_the_decoders_positions_bound_the_new_tokens(tmp_path: Path):
    model = load(tmp_path)
    batch = model.collator.for_transcription(CLIPS[:1], language="English", use_context=False)
    eos = model.module.config.eos_token_id
    with torch.no_grad():  # a decoder that never ends
        model.module.get_output_embeddings().weight[eos] = 0.0
        model.generation = {**model.generation, "suppress_tokens": [eos]}
    heard = model.transcribe(batch, max_new_tokens=500)[0]
    assert (heard.num_tokens, heard.is_truncated) == (60, True)  # 64 positions less a prompt of 4


def test_a_long_recording_is_heard_in_overlapping_windows_none_of_it_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = load(tmp_path / "whisper")
    recording = 0.1 * np.random.default_rng(0).standard_normal(75 * 16_000).astype(np.float32)
    path = write_wav(tmp_path / "talk.wav", recording, subtype="FLOAT")
    pieces: list[np.ndarray] = []
    collate = model.collator.for_transcription

    def remember(recordings: Sequence[Recording], **settings: Any) -> Any:
        pieces.extend(one.waveform for one in recordings)
        return collate(recordings, **settings)

    monkeypatch.setattr(model.collator, "for_transcription", remember)
    [prediction] = transcribe_all(
        model, [utterance(id="talk", audio=str(path), duration_s=75.0)], max_new_tokens=3, max_duration_s=30.0
    )
    assert prediction.duration_s == 75.0
    assert all(len(piece) <= 30 * 16_000 for piece in pieces)
    is_heard = np.zeros(len(recording), dtype=int)
    for piece in pieces:
        [begin] = np.flatnonzero(recording[: len(recording) - len(piece) + 1] == piece[0])
        is_heard[begin : begin + len(piece)] += 1
    assert is_heard.min() == 1 and is_heard.max() == 2
    assert is_heard.sum() > len(recording)


def test_more_than_the_window_is_refused_instead_of_dropped(tmp_path: Path):
    model = load(tmp_path)
    with pytest.raises(
        DataError, match=r"utterance 'long' lasts 30.1 s, more than Whisper's window of 30 s; evaluation cuts it"
    ):
        model.collator.for_transcription(
            [Recording(utterance(id="long"), tone(30.1))], language=None, use_context=False
        )


def test_mistakes_in_a_checkpoint_are_named(tmp_path: Path):
    save_tiny_whisper(tmp_path / "whisper")
    (tmp_path / "whisper" / "generation_config.json").unlink()
    with pytest.raises(CheckpointError, match="generation_config.json: missing, or without decoder_start_token_id"):
        load_model(WhisperConfig(path=str(tmp_path / "whisper")), device="cpu")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "wav2vec2"}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="says model_type 'wav2vec2', and model.family=whisper opens whisper"):
        load_model(WhisperConfig(path=str(tmp_path / "other")), device="cpu")
    assert WhisperConfig(path="x").max_duration_s == 30.0
    with pytest.raises(ConfigError, match="model.max_duration_s"):
        WhisperConfig(path="x", max_duration_s=31.0)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("generation_config.json", {"eos_token_id": 99999}, "eos_token_id is 99999, which the tokenizer does not have"),
        ("config.json", {"vocab_size": 3}, "the tokenizer has ids up to"),
        ("config.json", {"encoder_attention_heads": 0}, "encoder_attention_heads is 0; expected from 1 to 1e+07"),
        ("config.json", {"init_std": float("nan")}, "init_std is nan; expected a finite number"),
    ],
)
def test_files_of_two_models_and_damaged_sizes_are_refused(
    tmp_path: Path, file: str, change: dict[str, Any], said: str
):
    save_tiny_whisper(tmp_path)
    content = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps(content | change))
    with pytest.raises(CheckpointError, match=re.escape(said)) as caught:
        load_model(WhisperConfig(path=str(tmp_path)), device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("found", "named"), [("whisper", "qwen3_asr"), ("qwen3_asr", "whisper")])
def test_a_checkpoint_of_the_other_family_that_trains_says_what_opens_it(tmp_path: Path, found: str, named: str):
    TINY[found](tmp_path)
    opens = {"whisper": "model=whisper_small", "qwen3_asr": "model=qwen3_asr_0.6b"}[found]
    sentence = f"says model_type '{found}', and model.family={named} opens {named}; for this checkpoint give {opens} model.path="
    config = FAMILIES[named].config(path=str(tmp_path))
    for load in (
        load_collator,
        lambda one: load_model(one, device="cpu"),
        lambda one: load_trainable(one, device="cpu"),
    ):
        with pytest.raises(CheckpointError, match=sentence):
            load(config)
