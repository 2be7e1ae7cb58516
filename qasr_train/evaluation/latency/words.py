"""Owns when the words of one stream came to stand: how long each took to its final form, and how many were shown and changed.

Input: a scored row whose prediction was streamed, its normaliser. Output: `StreamedWords`. Words are what the primary metric of
the language counts, of normalised texts, so that a capital letter or a full stop changes none. Definitions: docs/streaming.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.streaming.shown import Shown, Streamed
from qasr_train.text.normalize import Normalizer
from qasr_train.text.tokens import tokens


@dataclass(frozen=True, slots=True)
class StreamedWords:
    """Of one utterance.

    first_delay_s: seconds from the end of the first reference word to the first word shown; None without either.
    delays_s: of each reference word that was recognised and has a time, seconds from its end to when its final form stood.
    num_shown: words that stood on the screen at any time, each once as long as it stayed. num_changed: those that went again.
    """

    first_delay_s: float | None
    delays_s: tuple[float, ...]
    num_shown: int
    num_changed: int


def streamed_words(row: UtteranceScore, normalizer: Normalizer) -> StreamedWords | None:
    """None where the row was not heard as it came, or failed."""
    streamed, language = row.prediction.streamed, row.prediction.language
    if streamed is None or not row.is_heard:
        return None
    since_s, final, num_shown = _since(streamed.updates, normalizer, language)
    times = _reference_times(streamed, normalizer, language)
    matched = _kept([word for word, _ in times], final)
    delays = [since_s[mine] - end_s for theirs, mine in matched.items() if (end_s := times[theirs][1]) is not None]
    shown_s = next((one.heard_s for one in streamed.updates if _words(one.text, normalizer, language)), None)
    spoken_s = next((end_s for _, end_s in times if end_s is not None), None)
    first = None if shown_s is None or spoken_s is None else shown_s - spoken_s
    return StreamedWords(first, tuple(delays), num_shown, num_shown - len(final))


def _since(
    updates: Sequence[Shown], normalizer: Normalizer, language: str | None
) -> tuple[list[float], list[str], int]:
    """(since when each word of the last text has stood there, these words, how many words were ever shown)."""
    since_s: list[float] = []
    words: list[str] = []
    text, num_shown = "", 0
    for one in updates:
        if one.text == text:
            continue
        now = _words(one.text, normalizer, language)
        kept = {mine: before for before, mine in _kept(words, now).items()}
        since_s = [since_s[kept[place]] if place in kept else one.heard_s for place in range(len(now))]
        words, text, num_shown = now, one.text, num_shown + len(now) - len(kept)
    return since_s, words, num_shown


def _reference_times(
    streamed: Streamed, normalizer: Normalizer, language: str | None
) -> list[tuple[str, float | None]]:
    """(word, seconds at its end) of the reference; of a word that the normaliser parts, the parts share its time evenly."""
    times: list[tuple[str, float | None]] = []
    for word in streamed.words:
        parts = _words(word.text, normalizer, language)
        for number, part in enumerate(parts, 1):
            if word.start_s is None or word.end_s is None:
                times.append((part, None))
            else:
                times.append((part, word.start_s + (word.end_s - word.start_s) * number / len(parts)))
    return times


def _kept(before: Sequence[str], after: Sequence[str]) -> dict[int, int]:
    """Places of equal words in the alignment with the fewest changes: place before -> place after."""
    blocks = Levenshtein.opcodes(before, after).as_matching_blocks()
    return {block.a + n: block.b + n for block in blocks for n in range(block.size)}


def _words(text: str, normalizer: Normalizer, language: str | None) -> list[str]:
    return tokens(normalizer.normalize(text, language), language)
