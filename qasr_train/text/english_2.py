"""Owns the English rules of `qasr-2`: those of `qasr-1` with numbers, signs and names mended where they punished right words.

Input: a raw transcript. Output: lower-case words apart by single spaces, numbers as digits. Whisper's number words are kept, but
what it sees is prepared: times, dates, fractions, phone numbers, signs, zeros. docs/evaluation.md has the list.
"""

import functools
import re

from whisper_normalizer.english import EnglishNumberNormalizer

from qasr_train.text.english import STRAIGHT_APOSTROPHES, american, join_letters, plain_letters, spelt_out
from qasr_train.text.qasr_2 import visible

_DIGIT_WORDS = "zero one two three four five six seven eight nine".split()
_MONTHS = "january february march april may june july august september october november december".split()
_MONTH = "|".join(_MONTHS)
_SHORT_MONTH = re.compile(
    r"\b(jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.? (?=[0-3]?\d(?:st|nd|rd|th)?\b(?![.:]\d))"
)
_OF_SHORT = {month[:3]: month for month in _MONTHS} | {"sept": "september"}

_FRACTION_SLASH = "\u2044"  # the slash of a fraction; it passes through Whisper's numbers as it is
_CLOCK_COLON = "\ue006"  # the colon of a time, for the same reason: a private character
_POINT_ZERO = "\ue007"  # the point of 2.0, which Whisper's rules would make 2
_PAIR_HYPHEN = "\ue008"  # between two digits read one by one; one word, so that one wrong number is one error
_INSIDE = _FRACTION_SLASH + _CLOCK_COLON + _POINT_ZERO + _PAIR_HYPHEN
_GAP = "numbergap"  # between two numbers that were written apart, until Whisper's rules can no longer join them
_DENOMINATORS = {
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4, "fifth": 5,
    "fifths": 5, "sixth": 6, "sixths": 6, "seventh": 7, "sevenths": 7, "eighth": 8, "eighths": 8, "ninth": 9, "ninths": 9,
    "tenth": 10, "tenths": 10,
}  # fmt: skip
_SPOKEN_FRACTION = re.compile(
    rf"\b({'|'.join(_DIGIT_WORDS[1:])}|[1-9])[ -]({'|'.join(_DENOMINATORS)})\b(?! of (?:{_MONTH}))"
)
_LARGER_BEFORE = re.compile(
    r"(?:\b(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|and)|\d)[ -]$"
)

# A unit is read in full, and its plural says nothing: 5 mg, five milligrams.
UNITS = {
    "mg": "milligram", "mcg": "microgram", "μg": "microgram", "kg": "kilogram", "kgs": "kilogram", "ml": "milliliter",
    "cm": "centimeter", "mm": "millimeter", "km": "kilometer", "kms": "kilometer", "gb": "gigabyte", "mb": "megabyte",
    "khz": "kilohertz", "mhz": "megahertz", "mph": "miles per hour", "mmhg": "millimeters of mercury",
    "milligrammes": "milligram",
} | {
    f"{unit}s": unit
    for unit in "milligram microgram kilogram milliliter centimeter millimeter kilometer gigabyte megabyte".split()
}  # fmt: skip
MONEY = {"¥": "yen", "₹": "rupees", "₩": "won", "₽": "rubles", "₺": "lira", "₪": "shekels", "₫": "dong", "₱": "pesos",
          "฿": "baht", "₴": "hryvnias", "₿": "bitcoin"}  # fmt: skip
_OTHER_SIGN = "[" + "".join(MONEY) + "]"

_GROUPED = re.compile(r"(?<![\d.,])(?:\d{1,3}(?:,\d{3}){1,8}|\d{1,2}(?:,\d{2}){1,6},\d{3})(?![\d,])")


def english_2(text: str) -> str:
    """English text by the rules `qasr-2`."""
    text = visible(text, "en").lower().translate(STRAIGHT_APOSTROPHES)
    for pattern, replacement in _NAMES:
        text = pattern.sub(replacement, text)
    text = _written(spelt_out(text))
    # The slash of fractions is a symbol, which the next step would take away.
    letters = plain_letters(text.replace(_FRACTION_SLASH, "slashoffraction")).replace(
        "slashoffraction", _FRACTION_SLASH
    )
    with_zeros = " ".join(_pairs_apart(_spoken_zero(letters.split())))
    with_clocks = _SPOKEN_CLOCK.sub(_spoken_clock, with_zeros)
    words = _in_full(american(_digits(_SPOKEN_FRACTION.sub(_spoken_fraction, with_clocks))).split())
    return _finish(join_letters(" ".join(words)))


_NAMES = (
    (re.compile(r"\bcannot\b"), "can not"),
    (re.compile(r"\bo' ?clock\b"), "oclock"),
    (re.compile(r"\bo'(?=[a-z]{2})"), "o"),  # O'Brien, O'Neill: one word, and no zero
    (re.compile(r"\bc o(?= ?(?:2|two)\b)"), "co"),
    (re.compile(r"\bh (?:2|two) o\b"), "h2o"),
    (re.compile(r"\bh2o\b"), "h twoo"),  # else its letter would be a zero
)

# ---------------------------------------------------------------- what is written in digits and signs


def _written(text: str) -> str:
    """Digits and signs in the shape that the spoken words come to."""
    for pattern, replacement in _SIGNS:
        text = pattern.sub(replacement, text)
    if not any(character.isdigit() for character in text):
        return text
    text = _SHORT_MONTH.sub(lambda match: f"{_OF_SHORT[match[1]]} ", text)
    text = _DATE.sub(_date, text)
    text = _PHONE.sub(lambda match: _one_by_one(match[0]), text)
    text = _CLOCK.sub(_clock, _CLOCK_OF_HALF.sub(r"\1:\2", text))
    text = _GROUPED.sub(lambda match: match[0].replace(",", ""), text)
    text = re.sub(r"(?<=\d),(?=\d)", ".", text)  # a decimal comma, or it would make 25 of 2,5
    text = _WHOLE_DECIMAL.sub(rf"\1{_POINT_ZERO}\2", text)
    text = _MIXED.sub(_mixed, text)
    text = _SLASH.sub(_slash, text)
    text = re.sub(r"(?<=\d):(?=\d)", " to ", text)  # a ratio: 2:1
    text = re.sub(r"(?<=\d) ?[-–] ?(?=[$€£]?\d)", " to ", text)  # a range: 5-10
    text = re.sub(rf"(?<![\d.,{_INSIDE}])0\d{{1,19}}(?![\d.])", lambda match: _one_by_one(match[0]), text)
    text = _APART.sub(_apart, text)
    return _LONE_DIGIT.sub(lambda match: _DIGIT_WORDS[int(match[0])], text)


_SIGNS = (
    (re.compile(r"(?<![\w.,)%])[-–](?=[$€£]?\d)"), " minus "),
    (re.compile(rf"\bnegative (?=[$€£]?\d|(?:{'|'.join(_DIGIT_WORDS)})\b)"), "minus "),
    (re.compile(r"(?<!\w)\+(?=\d)"), "plus "),
    (re.compile(r"(?<!\w)(?:#|no\. ?)(?=\d)"), "number "),
    (re.compile(r"&"), " and "),
    (re.compile(r"(?<=\d) +%"), "%"),
    (re.compile(r"(?<!\d)%"), " percent "),
    (re.compile(r"(?<![\d,.])(\d[\d,.]{0,20}) ?([$€£])(?!\d)"), r"\2\1"),
    (re.compile(r"\b(?:us|usd)(?=\$\d)"), "us "),
    (re.compile(r"\$(?!\d)"), " dollars "),
    (re.compile(r"€(?!\d)"), " euros "),
    (re.compile(r"£(?!\d)"), " pounds "),
    (re.compile(r"¢(?!\d)"), " cents "),
    (re.compile(rf"({_OTHER_SIGN}) ?(\d[\d,.]*\d|\d)"), lambda match: f"{match[2]} {MONEY[match[1]]} "),
    (re.compile(_OTHER_SIGN), lambda match: f" {MONEY[match[0]]} "),
    (re.compile(r"° ?c\b"), " degrees celsius "),
    (re.compile(r"° ?f\b"), " degrees fahrenheit "),
    (re.compile(r"°"), " degrees "),
    (re.compile(r"‰"), " per mille "),
)  # fmt: skip

_DATE = re.compile(r"(?<![\d/.-])(?:(\d{4})-(\d{1,2})-(\d{1,2})|(\d{1,2})([/.-])(\d{1,2})\5(\d{4}))(?![\d/-]|\.\d)")
_PHONE = re.compile(r"(?<![\w-])(?:\+?1[ -])?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])|(?<![\w-])\d{3}-\d{4}(?![\w-])")
_CLOCK = re.compile(r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?![:\d])(?=( ?[ap]\.? ?m\b)?)")
_WHOLE_DECIMAL = re.compile(r"(?<![\w.$€£¢])(\d{1,15})\.(0{1,9})(?![\d.])(?! ?(?:hundred|thousand|[mbt]r?illion))")
# 1030 am, 10 30 am and the British 10.30 am are times too.
_CLOCK_OF_HALF = re.compile(r"(?<![\w.,:$€£¢/-])(1[0-2]|[1-9])[ .]?([0-5]\d)(?= ?[ap]\.? ?m\b)")
_MIXED = re.compile(r"(?<![\d./])(\d{1,4}) ([1-9]/(?:[2-9]|10))(?![\d/])")
_SLASH = re.compile(r"(?<![\d./])(\d{1,4})/(\d{1,4})(?![\d/])")
_LONE_DIGIT = re.compile(rf"(?<![\w.$€£¢{_INSIDE}-])\d(?![\w.%{_INSIDE}])")
_APART = re.compile(r"(?<=\d)([^\w$€£¢%]{0,3}\s[^\w$€£¢%]{0,3})(?=[$€£¢]?\d)")
_SAID_TOGETHER = {"24/7": "247", "9/11": "911"}


def _one_by_one(digits: str) -> str:
    return " " + " ".join(_DIGIT_WORDS[int(digit)] for digit in digits if digit.isdigit()) + " "


def _date(match: re.Match[str]) -> str:
    """The month by its name where the numbers leave no doubt which it is; else as a fraction's parts, never one number."""
    if match[1]:
        year, month, day = match[1], int(match[2]), int(match[3])
    else:
        first, second, year = int(match[4]), int(match[6]), match[7]
        month, day = (second, first) if first > 12 else (first, second)
        if first <= 12 and second <= 12 and first != second:
            return f"{first}{_FRACTION_SLASH}{second}{_FRACTION_SLASH}{year}"
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    return f"{_MONTHS[month - 1]} {day} {year}"


def _clock(match: re.Match[str]) -> str:
    """10:30 stays one word, and is not the number 1030; a full hour without am or pm is read with o'clock."""
    hour, minute, half = int(match[1]), match[2], match[3]
    if minute == "00":
        return f"{hour}" if half else f"{hour} oclock"
    return f"{hour}{_CLOCK_COLON}{minute}"


def _apart(match: re.Match[str]) -> str:
    """A mark between two written numbers, so that 20 5 is not 25; not between lone digits, which are read one by one: 9 1 1."""
    before, after = match.string[: match.start()][-2:], match.string[match.end() : match.end() + 2]
    is_one_by_one = not before[:-1].isalnum() and before[:1] not in tuple("$€£¢.") and after[0].isdigit()
    return match[1] if is_one_by_one and not after[1:].isalnum() else f" {_GAP} "


def _mixed(match: re.Match[str]) -> str:
    return f"{match[1]}.5" if match[2] == "1/2" else f"{match[1]} and {match[2].replace('/', _FRACTION_SLASH)}"


def _slash(match: re.Match[str]) -> str:
    """3/4 stays a fraction, 120/80 is read `over`."""
    if match[0] in _SAID_TOGETHER:
        return _SAID_TOGETHER[match[0]]
    above, below = int(match[1]), int(match[2])
    return f"{above}{_FRACTION_SLASH}{below}" if 0 < above < below <= 10 else f"{match[1]} over {match[2]}"


# ---------------------------------------------------------------- what is written in words

_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_BELOW_TWENTY = _DIGIT_WORDS + _TEENS
_HOUR = "|".join([*_BELOW_TWENTY[1:], "twenty(?: (?:one|two|three))?"])
_FROM_ONE = "|".join(_DIGIT_WORDS[1:])
_MINUTE = rf"zero (?:{_FROM_ONE})|{'|'.join(_TEENS)}|(?:twenty|thirty|forty|fifty)(?: (?:{_FROM_ONE}))?"
_NOT_OF_TIMES = (
    "over|hundred|thousand|million|billion|point|percent|and a half|dollars?|euros?|pounds?|cents?|miles|degrees|feet|meters|"
    "kilometers|people"
)
# Ten thirty is a time where the words beside it say so; elsewhere it is the number 1030, as Whisper has it (in ten sixty six).
_SPOKEN_CLOCK = re.compile(
    rf"\b(?P<at>(?:at|until|till|before|after) )?(?P<hour>{_HOUR}) (?P<minute>{_MINUTE})\b"
    rf"(?! (?:{_NOT_OF_TIMES}|{'|'.join(_BELOW_TWENTY)}|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)\b)"
    r"(?P<half> (?:am|pm|in the (?:morning|afternoon|evening)|at night|train|bus|flight|meeting|appointment)\b)?"
)


def _spoken_clock(match: re.Match[str]) -> str:
    if not (match["at"] or match["half"]) or _LARGER_BEFORE.search(
        match.string[max(0, match.start() - 12) : match.start()]
    ):
        return match[0]
    hour = _number_below_sixty(match["hour"])
    minute = _number_below_sixty(match["minute"].removeprefix("zero "))
    return f"{match['at'] or ''}{hour}{_CLOCK_COLON}{minute:02d}{match['half'] or ''}"


def _number_below_sixty(words: str) -> int:
    first, _, second = words.partition(" ")
    if first in _BELOW_TWENTY:
        return _BELOW_TWENTY.index(first)
    return 10 * (2 + "twenty thirty forty fifty".split().index(first)) + (_DIGIT_WORDS.index(second) if second else 0)


def _spoken_fraction(match: re.Match[str]) -> str:
    """Three quarters -> 3/4; `one second` is no fraction, and `twenty one third` is left to the ordinals."""
    if (
        _LARGER_BEFORE.search(match.string[max(0, match.start() - 12) : match.start()])
        and "and" not in match.string[max(0, match.start() - 4) : match.start()]
    ):
        return match[0]
    above = _DIGIT_WORDS.index(match[1]) if match[1] in _DIGIT_WORDS else int(match[1])
    is_plural = match[2].endswith("s")
    if is_plural != (above > 1):
        return match[0]
    return f"{above}{_FRACTION_SLASH}{_DENOMINATORS[match[2]]}"


def _spoken_zero(words: list[str]) -> list[str]:
    """`oh` and `o` are a zero among digits only: nine oh nine, double oh seven; `oh no` and `oh two people` keep their word."""
    number_words = _numbers().words - {"and", "point", "per", "percent"} | {"zero"}

    def is_number(place: int) -> bool:
        return 0 <= place < len(words) and (words[place] in number_words or words[place].isdigit())

    said: list[str] = []
    for place, word in enumerate(words):
        is_letter = word in ("o", "oh")
        is_after = is_number(place - 1) or (place > 0 and said[-1] in ("double", "triple", "zero"))
        is_last = place + 2 == len(words)
        is_before = is_number(place + 1) and (is_last or is_number(place + 2) or words[place + 2] in ("o", "oh"))
        said.append("zero" if is_letter and (is_after or is_before) else word)
    return said


# Behind these a number is a name, whose digits are read one by one: runway two seven is 27.
_NUMBERED = frozenset(
    "runway heading flight route channel number code room highway interstate exit gate unit squawk covid section level".split()
)


def _pairs_apart(words: list[str]) -> list[str]:
    """Two lone digits are no tens: three four years, 3 4 years come to 3-4 years, not to 34. More are read one by one: 911."""
    if not any(word in _DIGIT_WORDS for word in words):
        return words
    numbers = _numbers().words - {"and", "per", "percent"} | {"double", "triple", "point"}
    is_number = [word in numbers or word[0].isdigit() for word in words] + [False]
    kept: list[str] = []
    for place, word in enumerate(words):
        is_pair = is_number[place] and is_number[place - 1] and not is_number[place + 1] and not is_number[place - 2]
        is_name = place > 1 and words[place - 2] in _NUMBERED
        if place and is_pair and not is_name and word in _DIGIT_WORDS and words[place - 1] in _DIGIT_WORDS[1:]:
            kept[-1] = f"{_DIGIT_WORDS.index(words[place - 1])}{_PAIR_HYPHEN}{_DIGIT_WORDS.index(word)}"
        else:
            kept.append(word)
    return kept


@functools.cache
def _numbers() -> EnglishNumberNormalizer:
    """Whisper's, but for zeros (see _spoken_zero) and signs, which stay words: it lost the minus of `minus five dollars`."""
    numbers = EnglishNumberNormalizer()
    numbers.words -= {*numbers.preceding_prefixers, "o", "oh"}
    numbers.preceding_prefixers = {}
    numbers.zeros = {"zero"}
    return numbers


_HALF = re.compile(r"\b(\w+) and a half\b")


def _digits(text: str) -> list[str]:
    """Number words to digits by Whisper's rules; `and a half` is a point five behind a number, and stays elsewhere."""
    numbers = _numbers()
    is_counted = {*numbers.decimals, *numbers.multipliers}
    text = _HALF.sub(
        lambda match: f"{match[1]} point five" if match[1] in is_counted or match[1].isdigit() else match[0], text
    )
    text = re.sub(r"([a-z])([0-9])", r"\1 \2", text)
    text = re.sub(r"([0-9])([a-z])", r"\1 \2", text)
    text = re.sub(r"([0-9])\s+(st|nd|rd|th|s)\b", r"\1\2", text)
    words = text.split()
    try:
        said = " ".join(str(word) for word in numbers.process_words(words) if word is not None)
    except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError):
        return words  # Whisper's code asserts and converts without looking (a run of more than 4300 digits)
    said = re.sub(r"([€$])([0-9]+) (?:and )?¢([0-9]{1,2})\b", lambda m: f"{m[1]}{m[2]}.{int(m[3]):02d}", said)
    said = re.sub(r"[€$]0\.([0-9]{1,2})\b", lambda m: f"¢{int(m[1])}", said)
    said = re.sub(rf"\b({_MONTH}) ([12]?\d|3[01])(?![\w.%{_INSIDE}])", lambda m: f"{m[1]} {_ordinal(m[2])}", said)
    said = re.sub(rf"(?<![\w.$€£¢{_INSIDE}])([12]?\d|3[01])(?= (?:{_MONTH})\b)", lambda m: _ordinal(m[1]), said)
    return re.sub(rf"(?<![\w.$€£¢{_INSIDE}])1(s?)(?![\w.%{_INSIDE}])", r"one\1", said).split()


def _ordinal(day: str) -> str:
    """A day beside its month is read as an ordinal; the digits take its form, so an ordinal is one word wherever it stands."""
    ending = {"1": "st", "2": "nd", "3": "rd"}.get(day[-1], "th") if day not in ("11", "12", "13") else "th"
    return day + ending


def _in_full(words: list[str]) -> list[str]:
    """Units by their names, whatever stands before them: a wrong number must not make the right unit behind it wrong too."""
    return [UNITS.get(word, word) for word in words]


def _finish(text: str) -> str:
    """A point without a digit behind it goes; signs stay, a time has its colon again and 2.0 its point."""
    text = (
        re.sub(r"\.(?!\d)", " ", text).replace(_CLOCK_COLON, ":").replace(_POINT_ZERO, ".").replace(_PAIR_HYPHEN, "-")
    )
    return " ".join(word for word in text.split() if word != _GAP)
