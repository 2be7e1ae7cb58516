"""Owns how probable each piece of a transcript was: what its tokens, some of which end inside a letter, make of its text.

Input: tokens as bytes of UTF-8 with their log-probabilities; or rows of predictions.jsonl. Output: `TextPiece`s that part a text
without a rest, whole, cut or joined. No torch.
"""

import codecs
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from qasr_train.errors import DataError

_DECIMALS = 4  # of a logarithm: 0.01 % of a probability


class TextPiece(NamedTuple):
    """A stretch of a transcript, of one token or of several that share a letter.

    num_characters: at least 1. log_prob: natural logarithm of the probability of its tokens together, given all before them.
    """

    num_characters: int
    log_prob: float


Pieces = tuple[TextPiece, ...]


def pieces_of_tokens(text: str, tokens: Iterable[tuple[bytes, float]]) -> Pieces | None:
    """The pieces of a transcript; None where the tokens do not hold it, so that nothing is guessed.

    A letter cut over several tokens is one piece with all that those tokens hold, and their probabilities are multiplied.

    Args:
        text: the transcript, without the white space around it.
        tokens: (UTF-8, log-probability) of each in order; b"" for one that writes nothing. More than `text` may stand around it.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    whole: list[str] = []
    pieces: list[TextPiece] = []
    written, log_prob = "", 0.0
    for data, of_token in tokens:
        if not data:
            continue
        written, log_prob = written + decoder.decode(data), log_prob + of_token
        if decoder.getstate()[0]:
            continue  # the token ends inside a letter
        whole.append(written)
        pieces.append(TextPiece(len(written), log_prob))
        written, log_prob = "", 0.0
    if rest := written + decoder.decode(b"", final=True):
        whole.append(rest)
        pieces.append(TextPiece(len(rest), log_prob))
    ranges = _ranges_of("".join(whole), text)
    return None if ranges is None else tuple(piece for one in ranges for piece in cut_pieces(pieces, *one))


def _ranges_of(written: str, text: str) -> list[tuple[int, int]] | None:
    """Where a transcript stands in what the tokens wrote; in two parts where a loop between them was taken out."""
    begin = written.find(text)
    if begin >= 0:
        return [(begin, begin + len(text))]
    first, end = len(written) - len(written.lstrip()), len(written.rstrip())
    same = next((i for i, (a, b) in enumerate(zip(written[first:end], text, strict=False)) if a != b), end - first)
    last = end - (len(text) - same)
    if last < first + same or written[last:end] != text[same:]:
        return None
    return [(first, first + same), (last, end)]


def cut_pieces(pieces: Sequence[TextPiece], begin: int, end: int) -> Pieces:
    """The pieces of the characters from `begin` up to `end`; of a piece that is cut the probability stays whole."""
    kept, place = [], 0
    for piece in pieces:
        inside = min(place + piece.num_characters, end) - max(place, begin)
        if inside > 0:
            kept.append(TextPiece(inside, piece.log_prob))
        place += piece.num_characters
    return tuple(kept)


def separator_pieces(text: str) -> Pieces:
    """White space that no token wrote, as a certain piece; () for no text."""
    return (TextPiece(len(text), 0.0),) if text else ()


def joined_pieces(parts: Sequence[tuple[str, Pieces | None]]) -> Pieces | None:
    """Of texts with their pieces, joined by one space each where anything is written; None where some are not known."""
    if all(pieces is None for _, pieces in parts):
        return None
    joined: list[TextPiece] = []
    for text, pieces in parts:
        if pieces is None and text.strip():
            return None
        begin, end = len(text) - len(text.lstrip()), len(text.rstrip())
        kept = cut_pieces(pieces or (), begin, end)
        joined += [*(separator_pieces(" ") if joined and kept else ()), *kept]
    return tuple(joined)


def pieces_field(pieces: Sequence[TextPiece]) -> list[list[float]]:
    """`pieces` of a row: [characters, log-probability] each."""
    return [[piece.num_characters, round(min(piece.log_prob, 0.0), _DECIMALS) + 0.0] for piece in pieces]


def parse_pieces(field: Any, text: str, where: str) -> Pieces | None:
    """Pieces of a row that was written, or of another system's.

    Raises:
        DataError: they are no pairs of numbers, or do not part the text; begins with `where`.
    """
    if field is None:
        return None
    if not isinstance(field, list) or not all(map(_is_piece, field)):
        raise DataError(f"{where}: `pieces` is {field!r:.80}; expected a list of [characters, log-probability up to 0]")
    pieces = tuple(TextPiece(number, float(log_prob)) for number, log_prob in field)
    if (total := sum(piece.num_characters for piece in pieces)) != len(text):
        raise DataError(
            f"{where}: `pieces` are of {total} characters and `pred_text` has {len(text)}; leave `pieces` out where the text "
            "was changed"
        )
    return pieces


def _is_piece(one: Any) -> bool:
    if not isinstance(one, list) or len(one) != 2 or any(isinstance(value, bool) for value in one):
        return False
    number, log_prob = one
    return isinstance(number, int) and number >= 1 and isinstance(log_prob, int | float) and log_prob <= 0
