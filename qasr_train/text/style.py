"""Owns how transcripts are written: case, punctuation, digits or number words, fillers; of one text, of a set, of several.

Input: transcripts with their languages. Output: `SetStyle`, and sentences about what is mixed. A fine-tuned model writes as its
training texts do; where two sets differ it learns to write by the sound of the domain, which nobody wants. No torch.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from num2words import num2words

from qasr_train.text.english_2 import MONEY, UNITS
from qasr_train.text.languages import LANGUAGE_CODES
from qasr_train.text.written_numbers import sign_words

MIXED_BELOW = 0.9  # a set whose commonest way has a smaller share is mixed
MIN_ROWS = 20  # fewer rows that show a trait say nothing about a set
MARKS = re.compile(r"[.,?!;:…。、，？！；：،؟؛।]")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+")
_DIGIT = re.compile(r"\d")
_MIN_WORDS_UNPUNCTUATED = 4  # a single "yes" without a mark shows nothing
_NUMBERS = (*range(2, 21), *range(30, 100, 10), 100, 1000)  # not 1: "one", "ein", "un" are more than numbers
# Sounds of hesitation that are no words; where a language is missing, verbatim and clean transcripts are not told apart.
FILLERS = {
    "English": frozenset("uh um uhm umm er erm hmm mhm".split()),
    "German": frozenset("äh ähm öh hm hmm".split()),
    "French": frozenset("euh heu hum".split()),
    "Spanish": frozenset("eh em mmm".split()),
}
_ENGLISH_SIGNS = "% ‰ $ € £ ¢ ° percent dollar dollars euro euros cent cents degree degrees".split()
_VERBATIM_PERCENT = 0.5  # of the words; transcribed conversations have one to six
_MIN_WORDS = 200  # fewer say nothing about a set
# What num2words 0.5.14 gives words of that language for (docs/evaluation.md).
_SPELT = frozenset("en ar de fr es pt id it ko ru th vi ja tr nl sv da fi pl cs fa ro hu".split())


@dataclass(frozen=True, slots=True)
class TextStyle:
    """How one text is written; None where it does not show. casing: lower, upper, cased. numbers: digits, words, both."""

    casing: str | None
    punctuation: str | None
    numbers: str | None


@dataclass(frozen=True)
class SetStyle:
    """How the texts of a set are written: of each trait the number of rows by the way they are written.

    num_words, num_fillers: words of the languages whose fillers are known, and how many of them are fillers.
    """

    casing: Mapping[str, int]
    punctuation: Mapping[str, int]
    numbers: Mapping[str, int]
    num_words: int = 0
    num_fillers: int = 0

    @property
    def filler_percent(self) -> float | None:
        """Share of fillers; None where too few words say anything."""
        return 100 * self.num_fillers / self.num_words if self.num_words >= _MIN_WORDS else None

    def traits(self) -> dict[str, Mapping[str, int]]:
        """The three, by the name a person reads."""
        return {"letter case": self.casing, "punctuation": self.punctuation, "numbers": self.numbers}

    def describe(self) -> str:
        """E.g. "letter case lower 98 %, cased 2 %; punctuation none 100 %"."""
        traits = [f"{name} {_shares(counts)}" for name, counts in self.traits().items() if counts]
        if self.filler_percent is not None:
            traits.append(f"fillers {self.filler_percent:.1f} % of the words")
        return "; ".join(traits) or "no text"


def text_style(text: str, language: str | None) -> TextStyle:
    """How a text is written.

    Cased is upper and lower case in one text, as in a sentence. Digits count as numbers, and so do number words from two on where
    num2words knows the language.
    """
    is_upper, is_lower = text.upper() == text, text.lower() == text
    casing = None
    if _LETTER.search(text) and not (is_upper and is_lower):  # both: a script without case
        casing = "upper" if is_upper else "lower" if is_lower else "cased"
    punctuation = None
    if MARKS.search(re.sub(r"(?<=\d)[.,:](?=\d)", "", text)):
        punctuation = "marks"
    elif len(text.split()) >= _MIN_WORDS_UNPUNCTUATED:
        punctuation = "none"
    has_digits = bool(_DIGIT.search(text))
    has_words = not number_words(language).isdisjoint(_WORD.findall(text.lower()))
    numbers = {(True, True): "both", (True, False): "digits", (False, True): "words"}.get((has_digits, has_words))
    return TextStyle(casing, punctuation, numbers)


def num_fillers(text: str, language: str | None) -> int | None:
    """Sounds of hesitation in a text; None where those of the language are not known."""
    fillers = FILLERS.get(language or "")
    return None if fillers is None else sum(word in fillers for word in _WORD.findall(text.lower()))


def set_style(texts: Iterable[tuple[str, str | None]]) -> SetStyle:
    """How a set is written: (text, language) of each row; empty texts show nothing."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    num_words = num_fillers = 0
    for text, language in texts:
        style = text_style(text, language)
        if fillers := FILLERS.get(language or ""):
            words = _WORD.findall(text.lower())
            num_words += len(words)
            num_fillers += sum(word in fillers for word in words)
        for name in ("casing", "punctuation", "numbers"):
            way = getattr(style, name)
            if way is not None:
                counts[name][way] += 1
    casing, punctuation, numbers = (dict(counts[name].most_common()) for name in ("casing", "punctuation", "numbers"))
    return SetStyle(casing, punctuation, numbers, num_words, num_fillers)


def style_remarks(styles: Mapping[str, SetStyle]) -> list[str]:
    """Sentences about sets that are mixed in themselves, and about sets that differ from each other."""
    remarks = [remark for name, style in styles.items() for remark in _within(name, style)]
    names: Sequence[str] = list(styles)
    for trait in ("letter case", "punctuation", "numbers"):
        ways = {name: _way(styles[name].traits()[trait]) for name in names}
        known = {name: way for name, way in ways.items() if way is not None}
        if len(set(known.values())) > 1:
            told = ", ".join(f"{name}: {way}" for name, way in known.items())
            remarks.append(
                f"sets differ in {trait} ({told}); the model would learn to write by the sound of the domain, so write all "
                "of them one way"
            )
    return remarks + _fillers_differ(styles)


def _fillers_differ(styles: Mapping[str, SetStyle]) -> list[str]:
    """Verbatim beside clean transcripts: a twentieth of the fillers of the most verbatim set, or fewer."""
    shares = {name: share for name, style in styles.items() if (share := style.filler_percent) is not None}
    highest = max(shares.values(), default=0.0)
    if highest < _VERBATIM_PERCENT or min(shares.values()) > highest / 20:
        return []
    told = ", ".join(f"{name}: {share:.1f} % fillers" for name, share in shares.items())
    return [f"some sets are verbatim and others clean ({told}); keep or drop uh and um in all of them"]


@cache
def number_words(language: str | None) -> frozenset[str]:
    """Words that are numbers from two on in a language, lower case; empty where num2words does not know it."""
    code = LANGUAGE_CODES.get(language or "", "")
    if code not in _SPELT:
        return frozenset()
    spelt = (str(num2words(number, lang=code)).lower() for number in _NUMBERS)
    return frozenset(word for words in spelt if len(_WORD.findall(words)) == 1 for word in _WORD.findall(words))


@cache
def unit_words(language: str | None) -> frozenset[str]:
    """How units and signs beside numbers may be written so that `qasr-2` takes them for one another; single words, lower case."""
    code = LANGUAGE_CODES.get(language or "", "")
    if code != "en":
        return sign_words(code)
    names = {name for name in UNITS.values() if " " not in name}
    return frozenset({*UNITS, *names, *MONEY, *MONEY.values(), *_ENGLISH_SIGNS, *(f"{name}s" for name in names)})


def _within(name: str, style: SetStyle) -> list[str]:
    mixed = {trait: counts for trait, counts in style.traits().items() if _way(counts) == "mixed"}
    return [
        f"{name}: {trait} is mixed ({_shares(counts)}); the model would learn to guess, so write it one way"
        for trait, counts in mixed.items()
    ]


def _way(counts: Mapping[str, int]) -> str | None:
    """The commonest way, "mixed" where it is not common enough, None where too few rows show any."""
    total = sum(counts.values())
    if total < MIN_ROWS:
        return None
    way, number = max(counts.items(), key=lambda item: item[1])
    return way if number >= MIXED_BELOW * total else "mixed"


def _shares(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    return ", ".join(f"{way} {100 * number / total:.0f} %" for way, number in counts.items())
