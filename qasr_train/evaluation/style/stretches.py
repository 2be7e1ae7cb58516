"""Owns what stands where in two texts as they were written: stretches of the reference and what was written for each.

Input: a reference and an output, their language. Output: `Stretch`es, by the words that `qasr-2` takes for the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from qasr_train.evaluation.scoring.word_pairs import MAX_CELLS, word_pairs
from qasr_train.evaluation.words.places import Place, places_of, written_words
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.tokens import tokens

# Of all rules those that take the most ways to write a number, a unit or a word for one: what is the same to them is the same.
RULES = get_normalizer("qasr-2")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring words of both texts that hang together, as they were written.

    said, written: of the reference and of the output, in order; () where a word stands in one alone. said_words, written_words:
    those of them that count as words (no dash by itself, no filler). is_same: whether it is the same, however written.
    """

    said: tuple[str, ...]
    written: tuple[str, ...]
    said_words: tuple[str, ...]
    written_words: tuple[str, ...]
    is_same: bool


@dataclass(frozen=True, slots=True)
class _Text:
    """A text as written: its words, which of them count, the normalised ones, and where a stretch may end.

    ends: a number of normalised words -> how many written ones lie before that place.
    """

    words: list[str]
    is_counted: list[bool]
    normalized: list[str]
    ends: dict[int, int]

    def part(self, begin: int, end: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(all words, those that count) of a part of it."""
        both = zip(self.words[begin:end], self.is_counted[begin:end], strict=True)
        return tuple(self.words[begin:end]), tuple(word for word, is_counted in both if is_counted)


def stretches(
    reference: str, output: str, language: str | None, normalized: tuple[str, str] | None = None
) -> list[Stretch] | None:
    """Both texts in as many stretches as can be told apart; None where they are too long to align.

    Args:
        normalized: both by RULES, where that is known already; None: it is done here.
    """
    by_rules = normalized or (RULES.normalize(reference, language), RULES.normalize(output, language))
    said, written = (_text(*both, language) for both in zip((reference, output), by_rules, strict=True))
    if len(said.normalized) * len(written.normalized) > MAX_CELLS:
        return None
    found: list[Stretch] = []
    places, begins, is_same = [0, 0], [0, 0], True

    def close() -> None:
        ends = (said.ends[places[0]], written.ends[places[1]])
        (all_said, said_words), (all_written, kept) = (
            text.part(begin, end) for text, begin, end in zip((said, written), begins, ends, strict=True)
        )
        if all_said or all_written:
            found.append(Stretch(all_said, all_written, said_words, kept, is_same))
        begins[:] = ends

    for pair in word_pairs(said.normalized, written.normalized, merges_compounds=False):
        places[0] += bool(pair.expected)
        places[1] += bool(pair.heard)
        is_same = is_same and pair.is_same
        if places[0] in said.ends and places[1] in written.ends:
            close()
            is_same = True
    if begins != [len(said.words), len(written.words)]:  # texts without a word that counts
        close()
    return found


def _text(text: str, normalized: str, language: str | None) -> _Text:
    places = places_of(text, normalized, language, RULES.normalize)
    words = [text[begin:end] for begin, end in written_words(text, language)]
    counted = {number for place in places if place.last > place.first for number in range(place.begin, place.end)}
    return _Text(
        words,
        [number in counted for number in range(len(words))],
        tokens(normalized, language),
        _ends(places, len(words)),
    )


def _ends(places: Sequence[Place], num_written: int) -> dict[int, int]:
    """What does not count belongs to the stretch before it, at the beginning to the first one."""
    counting = [place for place in places if place.last > place.first]
    ends = {place.first: place.begin for place in counting[1:]}
    return {0: 0} | ends | {counting[-1].last if counting else 0: num_written}
