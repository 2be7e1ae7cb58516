"""Owns what of a transcript had been said by a moment: its text as far as the last word that had ended, punctuation with it.

Input: a transcript and its words with their times. Output: `SpokenText`, and its beginnings; None where the times do not tell.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

from qasr_train.timed.base import TimedWord

_SPOKEN_MARKS = "%&@#§"  # Unicode counts them among punctuation, and people say them


@dataclass(frozen=True, slots=True)
class SpokenText:
    """A transcript, its words, and where in it each of them ends.

    text: without blanks around it. words: in order, those that hold something spoken.
    ends: of each, the place in `text` behind it and the marks that close it.
    """

    text: str
    words: tuple[TimedWord, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, text: str, words: Sequence[TimedWord]) -> "SpokenText | None":
        """None where the words, one after the other, are not what is spoken in the text; case and punctuation do not count."""
        text, keys = text.strip(), [_key(word.text) for word in words]
        letters = [(place, key) for place, letter in enumerate(text) if (key := _letter_key(letter))]
        if "".join(keys) != "".join(key for _, key in letters):
            return None
        spoken = [word for word, key in zip(words, keys, strict=True) if key]
        places = [place for place, key in letters for _ in key]
        lasts = [places[number - 1] for number in accumulate(len(key) for key in keys if key)]
        if any(a == b for a, b in pairwise(lasts)):
            return None  # one letter of the text ("½") in two words
        ends = (_behind_closing_marks(text, last + 1, word) for last, word in zip(lasts, spoken, strict=True))
        return cls(text, tuple(spoken), tuple(ends))

    def until(self, at_s: float) -> "SpokenText | None":
        """What had been said by `at_s` seconds of the recording: the words that had ended; one under way is left out.

        None where the times do not tell: of a word without times, unless one behind it had begun or one before it had not ended;
        and where a word had ended and one before it had not.
        """
        said = _said_by(self.words, at_s)
        number = said.index(False) if False in said else len(said)
        if None in said or True in said[number:]:
            return None
        text = self.text[: self.ends[number - 1]] if number else ""
        return SpokenText(text, self.words[:number], self.ends[:number])


def _said_by(words: Sequence[TimedWord], at_s: float) -> list[bool | None]:
    """Of each word whether it had ended by then; None: nobody can tell."""
    times = [[at for at in (word.start_s, word.end_s) if at is not None] for word in words]
    # The latest that is known of the words before each, and the earliest of those behind it.
    before = [-1.0, *accumulate((max(own, default=-1.0) for own in times), max)]
    behind = [*accumulate((min(own, default=float("inf")) for own in reversed(times)), min, initial=float("inf"))][::-1]
    said: list[bool | None] = []
    for number, word in enumerate(words):
        if word.end_s is not None:
            said.append(word.end_s <= at_s)
        elif (word.start_s is not None and word.start_s >= at_s) or before[number] >= at_s:
            said.append(False)
        else:
            said.append(True if behind[number + 1] <= at_s else None)
    return said


def _behind_closing_marks(text: str, place: int, word: TimedWord) -> int:
    """The place behind the marks that follow a word without a blank, but for those that open what comes next."""
    end = place
    while end < len(text) and not text[end].isspace() and not _letter_key(text[end]) and not _opens(text[end]):
        end += 1
    if end == place:
        return place
    marks, is_followed = text[place:end], end < len(text) and bool(_letter_key(text[end]))
    # "well-known", "and/or": inside of what is written as one; "l'homme" as [l'] [homme] says itself where it ends.
    is_inside = is_followed and (marks.isascii() or unicodedata.category(marks[-1]) == "Pd")
    return place if is_inside and not word.text.endswith(marks) else end


def _opens(letter: str) -> bool:
    return unicodedata.category(letter) in ("Ps", "Pi")


def _key(text: str) -> str:
    """What of a text is spoken: letters, accents, digits and symbols, in one spelling."""
    return "".join(map(_letter_key, text))


@lru_cache(maxsize=10_000)
def _letter_key(letter: str) -> str:
    return "".join(filter(_is_spoken, unicodedata.normalize("NFKD", letter).casefold()))


def _is_spoken(letter: str) -> bool:
    return letter in _SPOKEN_MARKS or unicodedata.category(letter)[0] in "LMNS"
