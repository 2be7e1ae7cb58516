"""Tokens as bytes: what a tokenizer cut anywhere is put together again, a byte at a time."""

import pytest
from tokenizers import pre_tokenizers

from qasr_train.models.blocks.byte_level import _BYTE_OF, token_bytes
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from tests.helpers_model import tiny_processor

TEXTS = [
    "two small pills",
    "naïve Ärzte",
    "สวัสดีครับ",
    "नमस्ते दोस्तों",
    "مرحبا بكم",
    "日本語😀",
    "a\ufffdb",
    "\n\t\x07",
    "<|im_end|> Ã© \u0100",
]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_processor().tokenizer


def test_every_byte_has_the_character_that_the_tokenizers_library_writes_it_with():
    assert sorted(_BYTE_OF) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(_BYTE_OF.values()) == list(range(256))
    # The library's own table, by what it makes of letters: é is C3 A9, a space 20.
    [(written, _)] = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("é ")
    assert bytes(_BYTE_OF[one] for one in written) == b"\xc3\xa9\x20"


@pytest.mark.parametrize("text", TEXTS)
def test_the_bytes_of_a_text_are_its_utf_8(tokenizer, text: str):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert b"".join(token_bytes(tokenizer, one) for one in ids) == text.encode()


def test_special_tokens_bear_their_names_and_an_id_beyond_the_vocabulary_none(tokenizer):
    collator = Qwen3ASRCollator(tiny_processor())
    assert collator.token_bytes(collator.end_id) == b"<|im_end|>"
    assert token_bytes(tokenizer, len(tokenizer) + 1000) == b""
