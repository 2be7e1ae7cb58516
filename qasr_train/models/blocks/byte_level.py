"""Owns the bytes that a token of a byte-level BPE vocabulary stands for: a letter may be cut over several tokens.

Input: a tokenizer, a token id. Output: bytes of UTF-8 text.
"""

from collections.abc import Mapping
from typing import Any, Protocol

# Bytes that are written as the character of their number; the others are written, in order, from U+0100 on (GPT-2's table).
_AS_THEMSELVES = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(0x100) if byte not in _AS_THEMSELVES]
_BYTE_OF = {chr(byte): byte for byte in _AS_THEMSELVES} | {chr(0x100 + n): byte for n, byte in enumerate(_OTHERS)}


class ByteLevelTokenizer(Protocol):
    """What is needed of a tokenizer of transformers."""

    def convert_ids_to_tokens(self, ids: int) -> str | None:
        """The token as the vocabulary writes it; None: no such id."""

    def decode(self, token_ids: list[int]) -> str:
        """The text of tokens, U+FFFD for what is no whole letter."""

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """Added tokens by their ids; `special` says which a transcript leaves out."""


def token_bytes(tokenizer: ByteLevelTokenizer, token_id: int) -> bytes:
    """UTF-8, of which a token may hold a part of a letter; special tokens by their names, b"" for an id that is none."""
    written = tokenizer.convert_ids_to_tokens(token_id)
    if written is None:
        return b""
    # The name of an added token stands for itself; bytes that are no ASCII never look as the text they make.
    if tokenizer.decode([token_id]) == written:
        return written.encode()
    return bytes(_BYTE_OF[character] for character in written)


class WrittenBytes:
    """What each token writes into a transcript, looked up once: its bytes, b"" of a special token."""

    def __init__(self, tokenizer: ByteLevelTokenizer) -> None:
        self._tokenizer = tokenizer
        self._known = {number: b"" for number, token in tokenizer.added_tokens_decoder.items() if token.special}

    def __call__(self, token_id: int) -> bytes:
        """UTF-8, of which a token may hold a part of a letter."""
        if token_id not in self._known:
            self._known[token_id] = token_bytes(self._tokenizer, token_id)
        return self._known[token_id]
