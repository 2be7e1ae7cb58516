"""Pieces of transcripts: letters over several tokens, text around the transcript, cutting, joining, rows of predictions."""

import math
import random

import pytest

from qasr_train.errors import DataError
from qasr_train.models.blocks.byte_level import WrittenBytes
from qasr_train.models.blocks.text_pieces import (
    TextPiece,
    cut_pieces,
    joined_pieces,
    parse_pieces,
    pieces_field,
    pieces_of_tokens,
)
from tests.helpers_model import tiny_processor


def test_a_letter_over_several_tokens_is_one_piece_with_their_probabilities_multiplied() -> None:
    # 你 is E4 BD A0, 好 is E5 A5 BD: the second token ends one and begins the other.
    tokens = [(b" a", -0.5), (b"\xe4\xbd", -0.25), (b"\xa0\xe5", -0.125), (b"\xa5\xbd", -1.0), (b".", -2.0)]
    assert pieces_of_tokens("a你好.", tokens) == ((1, -0.5), (2, -1.375), (1, -2.0))


def test_tokens_that_write_nothing_and_white_space_around_count_for_nothing() -> None:
    tokens = [(b" ", -9.0), (b"he", -0.5), (b"", -7.0), (b"llo", -0.25), (b" \n", -9.0)]
    assert pieces_of_tokens("hello", tokens) == ((2, -0.5), (3, -0.25))
    assert pieces_of_tokens("", [(b" ", -9.0)]) == ()
    assert pieces_of_tokens("", []) == ()


def test_a_broken_letter_belongs_to_what_follows_it_and_at_the_end_stands_alone() -> None:
    assert pieces_of_tokens("\ufffdb", [(b"\xe4", -1.0), (b"b", -2.0)]) == ((2, -3.0),)
    assert pieces_of_tokens("a\ufffd", [(b"a", -1.0), (b"\xe4\xbd", -2.0)]) == ((1, -1.0), (1, -2.0))


def test_a_loop_that_was_taken_out_leaves_both_sides_and_another_text_nothing() -> None:
    tokens = [(b"one", -1.0), (b" no", -2.0), (b" no", -3.0), (b" no", -4.0), (b" end", -5.0)]
    of_words = ((3, -1.0), (3, -2.0), (3, -5.0))
    assert pieces_of_tokens("one no end", tokens) == (*of_words[:2], (1, -3.0), of_words[2]), (
        "a space of the loop stayed"
    )
    assert pieces_of_tokens("one maybe end", tokens) is None
    assert pieces_of_tokens("one no end and on", tokens) is None


@pytest.mark.parametrize("text", ["naïve Ärzte, 日本語😀!", "สวัสดีครับ नमस्ते", "a\n\tb"])
def test_the_tokens_of_a_real_tokenizer_part_the_text(text: str) -> None:
    tokenizer = tiny_processor().tokenizer
    written = WrittenBytes(tokenizer)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = [tokenizer.convert_tokens_to_ids("<|im_end|>"), *ids]
    pieces = pieces_of_tokens(text, [(written(one), -0.5) for one in ids])
    assert pieces is not None and sum(piece.num_characters for piece in pieces) == len(text)
    assert sum(piece.log_prob for piece in pieces) == -0.5 * (len(ids) - 1), "each token counts once, special ones not"


def test_bytes_cut_at_random_always_part_the_text() -> None:
    drawn = random.Random(0)
    for _ in range(300):
        text = "".join(drawn.choices("aé你😀 ", k=drawn.randint(1, 8))).strip()
        data, tokens = text.encode(), []
        while data:
            width = drawn.randint(1, 4)
            tokens.append((data[:width], -drawn.random()))
            data = data[width:]
        pieces = pieces_of_tokens(text, tokens)
        assert pieces is not None and sum(one.num_characters for one in pieces) == len(text)
        assert math.isclose(sum(one.log_prob for one in pieces), sum(log_prob for _, log_prob in tokens))


def test_cut_and_joined() -> None:
    pieces = (TextPiece(3, -1.0), TextPiece(2, -2.0), TextPiece(4, -3.0))
    assert cut_pieces(pieces, 2, 6) == ((1, -1.0), (2, -2.0), (1, -3.0))
    assert cut_pieces(pieces, 5, 5) == ()
    parts = [(" ab ", (TextPiece(4, -1.0),)), ("", None), ("cd", (TextPiece(1, -2.0), TextPiece(1, -3.0)))]
    assert joined_pieces(parts) == ((2, -1.0), (1, 0.0), (1, -2.0), (1, -3.0))
    assert joined_pieces([*parts, ("e", None)]) is None
    assert joined_pieces([("", None)]) is None


def test_a_row_is_read_as_it_was_written_to_four_places() -> None:
    pieces = (TextPiece(5, -0.123456), TextPiece(1, 1e-9), TextPiece(2, -0.00001))
    assert pieces_field(pieces) == [[5, -0.1235], [1, 0.0], [2, 0.0]]
    assert parse_pieces(pieces_field(pieces), "hello ok", "f:1") == ((5, -0.1235), (1, 0.0), (2, 0.0))
    assert parse_pieces(None, "hello", "f:1") is None


@pytest.mark.parametrize(
    "field", ["ab", [3], [[3]], [[0, -1.0]], [[3, 0.5]], [[3, "a"]], [[True, -1]], [[3, math.nan]]]
)
def test_what_is_no_list_of_pieces_is_refused(field: object) -> None:
    with pytest.raises(DataError, match=r"f:1: `pieces` is .* expected a list of \[characters, log-probability"):
        parse_pieces(field, "abc", "f:1")


def test_pieces_of_another_text_are_refused() -> None:
    with pytest.raises(DataError, match="f:1: `pieces` are of 3 characters and `pred_text` has 4; leave `pieces` out"):
        parse_pieces([[3, -1.0]], "abcd", "f:1")
