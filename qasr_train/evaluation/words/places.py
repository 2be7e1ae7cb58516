"""Owns which written words a normalised word came from: "twenty-one don'ts" was three words, and is "21 do nots".

Input: a text as it was written, the same normalised, its language and the rules. Output: `Place`s, which part both in order.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

from qasr_train.text.languages import CER_LANGUAGES
from qasr_train.text.tokens import tokens

_WORD = re.compile(r"\S+")
_CHARACTER = re.compile(r"\S")
# Longer stretches without a word in common are not split: every way to split one asks the rules twice.
_MAX_SPLIT = 12


class Place(NamedTuple):
    """A stretch of written words (characters in languages without spaces) and the normalised ones it became.

    begin, end: of the written ones, as `written_words` counts them, from `begin` up to before `end`. first, last: of the
    normalised ones likewise; none of them where the rules do not count what was written.
    """

    begin: int
    end: int
    first: int
    last: int


def written_words(text: str, language: str | None) -> list[tuple[int, int]]:
    """(begin, end) in characters of each word of a text as it was written; of each character in languages without spaces."""
    pattern = _CHARACTER if language in CER_LANGUAGES else _WORD
    return [found.span() for found in pattern.finditer(text)]


def places_of(
    text: str, normalized: str, language: str | None, normalize: Callable[[str, str | None], str]
) -> list[Place]:
    """Which written words became which normalised ones.

    Words that only lost case and punctuation are told by themselves. A stretch that changed is split where normalising its parts
    by themselves gives the same; what cannot be split is one place, whose words share all that is known of it.

    Args:
        text: as written. normalized: what is compared, which may have been joined with the other text's. normalize: the rules.
    """
    spans = written_words(text, language)
    keys = [_key(text[begin:end]) for begin, end in spans]
    words = tokens(normalized, language)
    kept = [number for number, key in enumerate(keys) if key]
    if [keys[number] for number in kept] == words:  # nearly all texts of a good system
        return _with_dropped(
            [Place(number, number + 1, place, place + 1) for place, number in enumerate(kept)], len(spans)
        )

    def counted(begin: int, end: int) -> list[str]:
        return tokens(_normalized(normalize, text[spans[begin][0] : spans[end - 1][1]], language), language)

    places: list[Place] = []
    for block in _blocks(keys, words):
        is_same = block.end - block.begin == block.last - block.first == 1
        places += [block] if is_same else _split(block, words, counted)
    return places


@lru_cache(20_000)  # the same few words change in most texts
def _normalized(normalize: Callable[[str, str | None], str], text: str, language: str | None) -> str:
    return normalize(text, language)


def _with_dropped(places: Sequence[Place], num_written: int) -> list[Place]:
    """The places, and one of no normalised word for each written word between them."""
    found, at = [], 0
    for place in places:
        found += [Place(number, number + 1, place.first, place.first) for number in range(at, place.begin)]
        found.append(place)
        at = place.end
    last = places[-1].last if places else 0
    return found + [Place(number, number + 1, last, last) for number in range(at, num_written)]


@lru_cache(100_000)
def _key(word: str) -> str:
    """What is left of a word without case and without marks around it; of marks alone nothing, of a sign the sign."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    begin, end = 0, len(folded)
    while begin < end and _is_mark(folded[begin]):
        begin += 1
    while end > begin and _is_mark(folded[end - 1]):
        end -= 1
    return folded[begin:end]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "P" and character not in "%&#@§"


def _blocks(keys: Sequence[str], words: Sequence[str]) -> list[Place]:
    """Stretches of equal words, one each, and what lies between them; none has normalised words without written ones."""
    blocks: list[Place] = []
    for step in Levenshtein.opcodes(keys, words):
        if step.tag == "equal":
            num_same = step.src_end - step.src_start
            same = range(num_same)
            blocks += [
                Place(step.src_start + n, step.src_start + n + 1, step.dest_start + n, step.dest_start + n + 1)
                for n in same
            ]
            continue
        block = Place(step.src_start, step.src_end, step.dest_start, step.dest_end)
        is_open = bool(blocks) and not _is_one(blocks[-1], keys, words)
        if is_open or (blocks and block.begin == block.end):
            last = blocks.pop()
            block = Place(last.begin, block.end, last.first, block.last)
        blocks.append(block)
    if len(blocks) > 1 and blocks[0].begin == blocks[0].end:
        first, second = blocks[:2]
        blocks[:2] = [Place(first.begin, second.end, first.first, second.last)]
    return blocks


def _is_one(block: Place, keys: Sequence[str], words: Sequence[str]) -> bool:
    is_pair = block.end - block.begin == block.last - block.first == 1
    return is_pair and keys[block.begin] == words[block.first]


def _split(block: Place, words: Sequence[str], counted: Callable[[int, int], list[str]]) -> list[Place]:
    """A stretch in the parts that the rules take by themselves; itself where they do not."""
    found: list[Place] = []
    begin, first = block.begin, block.first
    if block.end - block.begin <= _MAX_SPLIT:
        for cut in range(block.begin + 1, block.end):
            left = counted(begin, cut)
            last = first + len(left)
            if list(words[first:last]) == left and counted(cut, block.end) == list(words[last : block.last]):
                found.append(Place(begin, cut, first, last))
                begin, first = cut, last
    return [*found, Place(begin, block.end, first, block.last)]
