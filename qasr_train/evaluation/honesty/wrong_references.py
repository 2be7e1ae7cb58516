"""Owns the probe by wrong references: where a published text is known to be wrong, does a model write what was published or said?

Input: published and right texts of clips, and what a model wrote. Output: the `WrongSpan`s, and on which side each text stands;
test sets with planted errors. Method: huggingface/open_asr_leaderboard, benchmark_fitting (after "Quantifying Benchmark
Optimization in ASR Models"), but for words that a published text lacks, which are no evidence here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum
from random import Random

from rapidfuzz.distance import Levenshtein

from qasr_train.manifest import Utterance
from qasr_train.text.alternatives.notation import first_spelling
from qasr_train.text.languages import CER_LANGUAGES
from qasr_train.text.normalize import Normalizer
from qasr_train.text.tokens import tokens

_MIN_DISTANCE = 0.3  # characters of a span: nearer texts differ in how they are written, not in what is said
_MIN_MATCHED, _MAX_LENGTH = 0.5, 3.0  # shares of the published text: a worse or longer output says nothing
_MIN_WORDS, _MIN_LETTERS = 4, 3  # of a text that a word is planted in, and of that word


class Side(str, Enum):
    """What a model wrote where the published text is wrong."""

    published = "published"
    right = "right"
    neither = "neither"


@dataclass(frozen=True, slots=True)
class WrongSpan:
    """A run of words that was published and not said. begin, end: in the tokens of the published text; right: what was said."""

    begin: int
    end: int
    published: str
    right: str


def wrong_spans(published: Sequence[str], right: Sequence[str]) -> list[WrongSpan]:
    """Where a published text has other words than were said, both as normalised tokens.

    None where they have less than half of it in common: such a correction is of another clip, or of all of it.
    """
    spans, opcodes = [], _opcodes(published, right)
    if sum(end - begin for tag, begin, end, *_ in opcodes if tag == "equal") < int(_MIN_MATCHED * len(published)):
        return []
    for tag, begin, end, other_begin, other_end in opcodes:
        if tag == "equal" or begin == end:
            continue
        ours, theirs = "".join(published[begin:end]), "".join(right[other_begin:other_end])
        if Levenshtein.distance(ours, theirs) >= _MIN_DISTANCE * len(ours):
            spans.append(WrongSpan(begin, end, " ".join(published[begin:end]), " ".join(right[other_begin:other_end])))
    return spans


def side_of(span: WrongSpan, published: Sequence[str], heard: Sequence[str]) -> Side:
    """Which text a model's output stands with: the whole published run, or what was said in its place."""
    kept, instead = set[int](), ""
    for tag, begin, end, heard_begin, heard_end in _opcodes(published, heard):
        if tag == "equal":
            kept |= set(range(begin, end))
        elif begin < span.end and span.begin < end:
            instead = " ".join([*instead.split(), *heard[heard_begin:heard_end]])
    if len(kept) < int(_MIN_MATCHED * len(published)) or len(heard) > _MAX_LENGTH * len(published):
        return Side.neither
    of_span = set(range(span.begin, span.end))
    if of_span <= kept:
        return Side.published
    return Side.right if not of_span & kept and instead == span.right else Side.neither


def plant_errors(utterances: Sequence[Utterance], fraction: float, seed: int, normalizer: Normalizer) -> dict[str, str]:
    """New texts by id: of that share of the utterances, drawn by the seed, one word is another word of the set.

    Only texts of four words or more are taken, of languages written with spaces; the new word has as few letters in common with
    the old one as a wrong span needs. Of alternatives the first is what a word is planted in.
    """
    draw = Random(seed)
    texts = {one.id: first_spelling(one.text or "") for one in utterances}
    able = [one for one in utterances if _can_hold(texts[one.id], one.language)]
    chosen = draw.sample(able, min(len(able), round(fraction * len(utterances))))
    words: dict[str | None, list[str]] = {}
    for one in able:
        words.setdefault(one.language, []).extend(_plantable(texts[one.id]))
    planted = {}
    for one in chosen:
        text = texts[one.id].split()
        place = draw.choice([number for number, word in enumerate(text) if _is_plantable(word)])
        if other := _other_word(text[place], words[one.language], one.language, normalizer, draw):
            planted[one.id] = " ".join([*text[:place], other, *text[place + 1 :]])
    return planted


def spans_of(
    published: str, right: str, language: str | None, normalizer: Normalizer
) -> tuple[list[str], list[WrongSpan]]:
    """(tokens of the published text, where it is wrong), by the rules of a normaliser; of alternatives the first."""
    ours, theirs = (
        tokens(normalizer.normalize(first_spelling(text), language), language) for text in (published, right)
    )
    return ours, wrong_spans(ours, theirs)


def _opcodes(ours: Sequence[str], theirs: Sequence[str]) -> Sequence[tuple[str, int, int, int, int]]:
    """Blocks of two texts, without difflib's habit of leaving out what is frequent."""
    return SequenceMatcher(None, list(ours), list(theirs), autojunk=False).get_opcodes()


def _can_hold(text: str, language: str | None) -> bool:
    return language not in CER_LANGUAGES and len(text.split()) >= _MIN_WORDS and bool(_plantable(text))


def _plantable(text: str) -> list[str]:
    return [word for word in text.split() if _is_plantable(word)]


def _is_plantable(word: str) -> bool:
    return word.isalpha() and len(word) >= _MIN_LETTERS


def _other_word(
    word: str, words: Sequence[str], language: str | None, normalizer: Normalizer, draw: Random
) -> str | None:
    """Another word of the set that is far enough from the old one; None where none of many draws is."""
    for _ in range(100):
        other = draw.choice(words)
        if len(spans_of(word, other, language, normalizer)[1]) == 1:
            return other
    return None
