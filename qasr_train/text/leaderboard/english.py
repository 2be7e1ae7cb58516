"""Owns the English rules of `leaderboard-2026-11`: those of August with other fillers, clock times, "oh" and stray symbols.

Input: a raw transcript. Output: lower-case words apart by single spaces, numbers as digits. The rules are those of the stored
normalizer/normalizer.py of huggingface/open_asr_leaderboard with 32,167 characters, later than d1e99b2; docs/evaluation.md says
which could be confirmed. Steps without a comment are those of August, at their numbers there.
"""

import functools
import re
from collections.abc import Iterator

from whisper_normalizer.english import EnglishNumberNormalizer

from qasr_train.text.english import (
    american,
    fold_names,
    in_full,
    join_letters,
    numbers_to_digits,
    without_brackets,
    without_digit_commas,
    without_symbols,
)
from qasr_train.text.leaderboard.clock_times import times_to_digits

# Every letter of these may be drawn out (uh, uuhhh); what follows the letters is there or not.
_DRAWN_OUT = {
    "ah": "m*", "aha": "", "eh": "m*", "em": "", "er": "m*", "hah": "", "heh": "", "hm": "", "huh": "", "mh": "m*",
    "tsk": "", "ugh": "", "uh": "m*", "uhu": "[hm]*", "um": "h*",
}  # fmt: skip
_FIXED = "ahem eheh ehehe ehr hmmph hum hunh mhum mmkay".split()
_FILLERS = re.compile(
    # The pair first: of "ah-ha" only "ah" is a filler by itself.
    r"\b(?:ah-ha|m{2,}|"
    + "|".join(["".join(f"{letter}+" for letter in word) + tail for word, tail in _DRAWN_OUT.items()] + _FIXED)
    + r")\b"
)
_PERIOD_NOT_BEFORE_DIGIT = re.compile(r"\.(?![0-9])")
_WIDE_SPACE = re.compile(r"\s{2,}|[^\S ]")
_STRAY = re.compile(r"[.$¢€£](?![0-9])|(?<![0-9])%")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DIGITS = re.compile(r"\d+")


def english_2026_11(text: str) -> str:
    """English text as the leaderboard compares it after August 2026."""
    text = _FILLERS.sub("", without_brackets(text.lower()))
    # Long white space would take quadratic time below. Two spaces stay two, which keep "it's" and "been" apart.
    text = _WIDE_SPACE.sub("  ", text)
    text = text.replace("  '", "'").replace(" '", "'")
    text = without_digit_commas(in_full(times_to_digits(text)))
    text = without_symbols(_PERIOD_NOT_BEFORE_DIGIT.sub(" ", text))
    text = join_letters(fold_names(american(numbers_to_digits(text, _numbers()))))
    return " ".join(_STRAY.sub(" ", text).split())


class _NumbersWithOh(EnglishNumberNormalizer):
    """Whisper's numbers, but "oh" is a zero among digits alone: a digit follows, and a number is under way or two follow.

    Elsewhere it ends the number under way and stays a word. So the words between such an "oh" are given to Whisper's rules part
    by part; what they would have done with the next word in sight (minus, and, point) is said to them by the parts' last words.
    """

    def process_words(self, words: list[str]) -> Iterator[str]:
        part: list[str] = []
        is_under_way = is_doubled = False  # a number is; "double" or "triple" has taken this word
        for index, word in enumerate(words):
            ahead = words[index + 1 : index + 3]
            if word == "oh" and not is_doubled and not self._is_among_digits(is_under_way, ahead):
                yield from self._before_oh(part)
                part, is_under_way = [], False
                continue
            part.append(word)
            before = words[index - 1] if index else ""
            follows = ahead[0] if ahead else ""
            if is_doubled:
                is_doubled = False
            else:
                is_doubled = word in ("double", "triple") and (follows in self.ones or follows in self.zeros)
                is_under_way = is_doubled or self._leaves_a_number(word, before, follows, is_under_way)
        yield from super().process_words(part)

    def _is_among_digits(self, is_under_way: bool, ahead: list[str]) -> bool:
        are_digits = [self._is_digit(word) for word in ahead]
        return are_digits[:1] == [True] and (is_under_way or are_digits == [True, True])

    def _is_digit(self, word: str) -> bool:
        is_word = word in self.zeros or word in self.ones or word in self.tens
        return is_word or _DIGITS.fullmatch(word) is not None

    def _leaves_a_number(self, word: str, before: str, follows: str, is_under_way: bool) -> bool:
        """Whether Whisper's rules hold a number back after the word, to be told what belongs to it."""
        if _NUMBER.fullmatch(word[1:] if word[0] in self.prefixes else word):
            return True
        if word in self.zeros or word in self.ones or word in self.tens or word in self.multipliers:
            return True
        has_number_next = follows in self.words or _NUMBER.fullmatch(follows) is not None
        if word == "and":
            return has_number_next and before in self.multipliers and is_under_way
        if word == "point" and has_number_next:
            return is_under_way or follows in self.decimals or _NUMBER.fullmatch(follows) is not None
        return False

    def _before_oh(self, part: list[str]) -> Iterator[str]:
        """The words of a part that ends before an "oh" which stays a word, and that "oh"."""
        last = part[-1] if part else ""
        if last == "and" and len(part) > 1 and part[-2] in self.multipliers:
            part = part[:-1]
        if last == "point" or last in self.preceding_prefixers:
            # They leave a number open behind a point or a sign: a zero closes it, and goes again. A sign takes the "oh".
            *words, opened = super().process_words([*part, "zero"])
            yield from [*words, opened[:-1], "oh"] if last == "point" else [*words, f"{opened[:-1]}oh"]
            return
        yield from super().process_words(part)
        yield "oh"


@functools.cache
def _numbers() -> EnglishNumberNormalizer:
    return _NumbersWithOh()
