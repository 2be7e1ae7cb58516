"""Whisper's prompts and targets, token by token: languages, no speech, contexts as transformers has them, positions."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoProcessor

from qasr_train.errors import CheckpointError, ConfigError, DataError
from qasr_train.models.families import load_collator, load_training_collator
from qasr_train.models.whisper.config import WhisperConfig
from qasr_train.models.whisper.tokens import WhisperTokens, require_generation, transcript_of
from tests.helpers import needs_shared, utterance

START, END, PREV = "<|startoftranscript|>", "<|endoftext|>", "<|startofprev|>"
TOLD = ["<|transcribe|>", "<|notimestamps|>"]


def tokens_of(folder: Path, **settings: Any) -> WhisperTokens:
    return load_training_collator(WhisperConfig(path=str(folder), **settings)).tokens


@pytest.fixture(scope="module")
def tokens(tiny_whisper: Path) -> WhisperTokens:
    return tokens_of(tiny_whisper)


def named(tokens: WhisperTokens, ids: list[int]) -> list[str]:
    return tokens.tokenizer.convert_ids_to_tokens(ids)


def said(tokens: WhisperTokens, ids: list[int]) -> str:
    """What stands before the end token, decoded with special tokens shown."""
    assert named(tokens, ids)[-1] == END
    return tokens.tokenizer.decode(ids[:-1])


@pytest.mark.parametrize(
    "text",
    ["two small pills", "Z", "two  small", f"say {END} now", "<|en|><|notimestamps|>", "ein Übel", "ﷺ قال", "\u200f"],
)
def test_the_target_is_the_transcript_and_the_end_token_whatever_it_looks_like(tokens: WhisperTokens, text: str):
    row = tokens.training_row("German", text, None)
    assert named(tokens, row.prompt) == [START, "<|de|>", *TOLD]
    assert said(tokens, row.target) == f" {text}"
    assert row.target.count(tokens.end_id) == 1 and max(row.target[:-1]) < tokens.end_id


@pytest.mark.parametrize("text", ["你好", "ひらがな", "カタカナ", "สวัสดี", "ສະບາຍດີ", "မြန်မာ", "ខ្មែរ"])
def test_scripts_without_spaces_begin_without_one(tokens: WhisperTokens, text: str):
    assert said(tokens, tokens.training_row("English", text, None).target) == text


@pytest.mark.parametrize("text", ["한국어", "हिन्दी", "བོད", "Ⅳ", "2 pills", "’tis"])
def test_all_others_begin_with_a_space(tokens: WhisperTokens, text: str):
    assert said(tokens, tokens.training_row("English", text, None).target) == f" {text}"


def test_nobody_speaking_is_the_no_speech_token_in_the_place_of_the_language(tokens: WhisperTokens):
    for language in ("German", None):
        row = tokens.training_row(language, "", "a term")
        assert named(tokens, row.prompt)[-1] == START and named(tokens, row.prompt)[0] == PREV
        assert named(tokens, row.target) == ["<|nospeech|>", END]
    tokens_without = WhisperTokens(
        tokens.tokenizer, {"decoder_start_token_id": tokens.sot_id}, num_positions=64, supervise_language=False
    )
    tokens_without.no_speech_id = None
    assert named(tokens_without, tokens_without.training_row("English", "", None).target) == [END]


def test_a_row_without_a_language_leaves_its_place_to_what_the_model_hears(tokens: WhisperTokens):
    assert named(tokens, tokens.training_row(None, "fox", None).prompt) == [START, START, *TOLD]


def test_supervised_language_stands_in_the_target_where_it_is_known(tiny_whisper: Path):
    tokens = tokens_of(tiny_whisper, supervise_language=True)
    row = tokens.training_row("German", "fox", None)
    assert named(tokens, row.prompt) == [START]
    assert named(tokens, row.target[:3]) == ["<|de|>", *TOLD]
    assert said(tokens, row.target[3:]) == " fox"
    unknown = tokens.training_row(None, "fox", None)
    assert named(tokens, unknown.prompt) == [START, START, *TOLD]
    assert said(tokens, unknown.target) == " fox"


def test_an_english_only_checkpoint_is_told_no_language(english_whisper: Path):
    tokens = tokens_of(english_whisper)
    for language in ("English", None):
        assert named(tokens, tokens.training_row(language, "fox", None).prompt) == [START, "<|notimestamps|>"]
    with pytest.raises(
        ConfigError, match="supervise_language=true: this Whisper checkpoint knows English only and has no"
    ):
        tokens_of(english_whisper, supervise_language=True)


def test_rows_it_cannot_be_taught_are_refused_by_the_name_of_their_source(tiny_whisper: Path, english_whisper: Path):
    with pytest.raises(
        ConfigError,
        match=r"^data.train.commands: holds rows in Arabic, and this Whisper checkpoint knows English only; start from a "
        r"multilingual checkpoint, or teach them as English: data.train.commands.language=English$",
    ):
        load_training_collator(WhisperConfig(path=str(english_whisper))).require_languages(
            {"English", "Arabic"}, "data.train.commands"
        )
    with pytest.raises(
        ConfigError,
        match="^data.train.new: holds rows in Thai, and this Whisper checkpoint has no token for it, but for English, "
        "Filipino, Galician, German; start from",
    ):
        load_training_collator(WhisperConfig(path=str(tiny_whisper))).require_languages(
            {"German", "Thai"}, "data.train.new"
        )


@pytest.mark.parametrize("context", ["Metformin, Ramipril", "  two small pills ", "你好", "a day " * 40, "fox"])
def test_a_context_has_the_ids_of_transformers_get_prompt_ids(tiny_whisper: Path, tokens: WhisperTokens, context: str):
    expected = AutoProcessor.from_pretrained(tiny_whisper).get_prompt_ids(context, return_tensors="np").tolist()
    kept = 64 // 2 - 1  # tokens after <|startofprev|>, of 448 positions 223
    found = tokens.context_ids(context, beside=10)
    assert found == [tokens.tokenizer.convert_tokens_to_ids(PREV), *expected[1:][-kept:]]


@pytest.mark.parametrize("context", [None, "", "  \n"])
def test_no_context_takes_no_position(tokens: WhisperTokens, context: str | None):
    assert tokens.context_ids(context, beside=10) == []


def test_special_tokens_in_a_context_are_text(tokens: WhisperTokens):
    ids = tokens.context_ids(END, beside=10)
    assert max(ids[1:]) < tokens.end_id
    assert tokens.tokenizer.decode(ids[1:]) == f" {END}"


def test_a_context_makes_room_for_the_transcript(tokens: WhisperTokens):
    text = "Z" * 40
    row = tokens.training_row("German", text, "Q" * 60)
    num_target = len(row.target)
    assert said(tokens, row.target) == f" {text}"
    assert len(row.prompt) + num_target == 64
    context = row.prompt[: row.prompt.index(tokens.sot_id)]
    assert named(tokens, context)[0] == PREV and set(tokens.tokenizer.decode(context[1:])) == {"Q"}
    assert tokens.training_row("German", "Z" * 59, "Q").prompt[0] == tokens.sot_id, "no room is left for any of it"


def test_the_longest_target_just_fits(tokens: WhisperTokens):
    assert tokens.max_target_tokens == 60  # of 64: start, language, task, no timestamps
    row = tokens.training_row("German", "Z" * 58, None)
    assert (len(row.target), len(row.prompt)) == (60, 4)


def test_a_row_without_a_transcript_is_named():
    with pytest.raises(DataError, match="^rows.jsonl:7: utterance 'u1' has no transcript; training needs `text`"):
        transcript_of(utterance(text=None, origin="rows.jsonl:7"))
    assert transcript_of(utterance(text=" two \n")) == "two"
    assert transcript_of(utterance(text="the { colour / color } of it")) == "the colour of it"


@pytest.mark.parametrize(
    "generation, vocab_size, wrong",
    [
        ({}, 51865, "missing, or without decoder_start_token_id"),
        ({"decoder_start_token_id": 1}, 51865, "of a multilingual checkpoint, but without lang_to_id"),
        ({"decoder_start_token_id": 1, "is_multilingual": True}, 300, "of a multilingual checkpoint, but without"),
    ],
)
def test_a_generation_config_that_tells_no_prompt_is_refused(generation: dict[str, Any], vocab_size: int, wrong: str):
    with pytest.raises(CheckpointError, match=f"^file: {wrong}"):
        require_generation("file", generation, vocab_size=vocab_size)


def test_an_english_only_one_needs_no_languages():
    require_generation("file", {"decoder_start_token_id": 1}, vocab_size=51864)
    require_generation("file", {"decoder_start_token_id": 1, "is_multilingual": False}, vocab_size=51865)


@needs_shared
def test_the_tokens_of_whisper_base_are_those_of_openai(whisper_base: Path):
    """Ids of openai/whisper's multilingual tokenizer; a language each has one name and one token."""
    tokens = load_collator(WhisperConfig(path=str(whisper_base))).tokens
    assert (tokens.sot_id, tokens.end_id, tokens.no_speech_id) == (50258, 50257, 50362)
    assert tokens.training_row("Arabic", "a", None).prompt == [50258, 50272, 50359, 50363]
    assert tokens.context_ids("a", beside=4)[0] == 50361
    assert tokens.max_target_tokens == 444
    generation = json.loads((whisper_base / "generation_config.json").read_text())
    assert sorted(tokens.language_ids.values()) == sorted(generation["lang_to_id"].values())
    processor = AutoProcessor.from_pretrained(whisper_base)
    for context in ("Metformin 500 mg", "你好", "word " * 400):
        expected = processor.get_prompt_ids(context, return_tensors="np").tolist()
        assert tokens.context_ids(context, beside=4) == [expected[0], *expected[1:][-223:]]
