"""Owns what is written in digits, as it is said: quantities, decimals, times, dates, fractions, doses, phone numbers, signs.

Input: a text in NFKC and the ISO code of its language. Output: the text with words for digits and signs. How a language says its
signs and marks stands in assets/qasr_2/signs.tsv and words.tsv, which a speaker can edit. What no table knows stays as written:
digits stay digits, and a sign of money or per cent stays that sign; neither vanishes.
"""

import functools
import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.resources import files

from qasr_train.text.number_context import APART, beside_words, korean_native
from qasr_train.text.respelling import are_one_when_said
from qasr_train.text.spoken_numbers import WITHOUT_SPACES, by_num2words, say, say_digits

DECIMAL_COMMA = frozenset("de fr es pt id it ru vi tr nl sv da fi pl cs el ro hu mk".split())
_SPACE_THOUSANDS = frozenset("fr es pt ru sv fi pl cs hu mk".split())
_SIGNS = "%‰$€£¥¢₹₽₺₩฿₫₱₪₴₿°№§"
# A decimal point, a fraction's slash, a plus where no words are known: private characters, not to be taken for punctuation.
KEPT_POINT, KEPT_SLASH, KEPT_PLUS = "\ue004", "\ue005", "\ue007"
_COINS = frozenset("de fr nl sv da".split())  # 5,50 € is said with the coins behind: fünf Euro fünfzig

# One pattern for all that digits can be. Every repetition is bounded or begins at a digit and takes it, so it is linear.
_GROUPS = {
    "comma": r"\d{1,3}(?:,\d{3}){1,5}(?![,\d])|\d{1,2}(?:,\d{2}){1,5},\d{3}(?![,\d])",  # the second: lakh and crore
    "point": r"\d{1,3}(?:\.\d{3}){1,5}(?![.\d])",
    "space": r"[1-9]\d{0,2}(?:[. ]\d{3}){1,5}(?![.\d])",
    "quote": r"\d{1,3}(?:['’]\d{3}){1,5}(?![\d])",
}
_DATE = r"(?P<date>\d{1,2}(?P<dot>[./-])\d{1,2}(?P=dot)\d{4}|\d{4}(?P<dash>[./-])\d{1,2}(?P=dash)\d{1,2})(?!\d)"
_PHONE = r"(?P<phone>\+\d{1,3}(?:[ -]\d{1,4}){2,6}|\+\d{7,15}|\d{2,4}(?:-\d{2,4}){2,4})(?![\d])"
_CLOCK = r"(?P<clock>(?:[01]?\d|2[0-4]):[0-5]\d)(?![\d:])"
_SLASH = r"(?P<slash>\d{1,4}/\d{1,4})(?![\d/])"
_SIGN = r"(?P<sign>(?<![\w.,)%])(?<!\d )(?:[-–]|\+(?!\d{1,3}(?:[ -]\d{1,4}){2}|\d{7}))(?=[\d$€£¥₹₽₺₩]))?"
_BEFORE = r"(?P<before>(?:US|A|C|R)?[$€£¥₹₽₺₩฿₫₱₪₴₿¢№§] ?)?"
_AFTER = r"(?P<after> ?(?:°[CF]|R\$|[" + re.escape(_SIGNS) + r"])(?!\d))?"


def speak_numbers(text: str, code: str | None) -> str:
    """The text with its digits and signs as words.

    Args:
        text: NFKC, without invisible characters.
        code: ISO code of the language; None, or one without a table, keeps digits and signs.
    """
    text = "".join(str(unicodedata.digit(c)) if c.isdecimal() else c for c in text)
    if code in ("ar", "fa"):
        text = text.replace("٬", ",").replace("٫", ".")
    if any(character.isdigit() for character in text):
        text = beside_words(text, code)
        text = _speak_all(text, code)
    return _STRAY.sub(lambda match: f" {_stray(match[0], code)} ", text)


# ---------------------------------------------------------------- tables


@functools.cache
def _table(name: str) -> Mapping[str, dict[str, list[str]]]:
    """code -> first field -> the rest of the line."""
    table: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for line in files("qasr_train").joinpath(f"assets/qasr_2/{name}.tsv").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            code, key, *rest = line.split("\t")
            table[code][key] = rest
    return table


def sign_words(code: str | None) -> frozenset[str]:
    """Signs beside numbers that a language has words for, and those words where a sign is one word; lower case."""
    known = _table("signs").get(code or "", {})
    words = {form.lower() for _, forms in known.values() for form in forms.split("|") if " " not in form}
    return frozenset(words | {sign.lower() for sign in known})


def _word(code: str | None, what: str) -> str | None:
    """What words.tsv says, or None."""
    return _table("words").get(code or "", {}).get(what, [None])[0]


def _sign(sign: str, code: str | None, number: int | None, is_decimal: bool) -> tuple[str, str]:
    """("before" or "after", words) of a sign beside a number (None: alone); the sign itself where no line has it."""
    place, forms = "after", sign
    known = _table("signs").get(code or "", {})
    for spelling in (sign, sign[-1]):
        if spelling in known:
            place, forms = known[spelling]
            break
    choices = forms.split("|")
    return place, choices[_form(len(choices), code, number, is_decimal)]


def _form(num_forms: int, code: str | None, number: int | None, is_decimal: bool) -> int:
    if num_forms == 1:
        return 0
    if num_forms == 2:
        return 0 if number == 1 and not is_decimal else 1
    if is_decimal or number is None:
        return num_forms - 1 if num_forms == 4 else 1 if is_decimal else 2
    few = 2 <= number % 10 <= 4 and not 12 <= number % 100 <= 14
    if code == "cs":
        return 0 if number == 1 else 1 if 2 <= number <= 4 else 2
    if code == "pl":
        return 0 if number == 1 else 1 if few else 2
    return 0 if number % 10 == 1 and number % 100 != 11 else 1 if few else 2


# ---------------------------------------------------------------- the pattern


_STRAY = re.compile("[" + re.escape("%‰$€£¥¢₹₽₺₩฿₫₱₪₴₿") + "]")


def _stray(sign: str, code: str | None) -> str:
    """A sign with no number beside it; a place before the number makes no difference then."""
    return _sign(sign, code, None, False)[1]


@functools.cache
def _pattern(code: str | None) -> re.Pattern[str]:
    style = "comma"
    if code in DECIMAL_COMMA:
        style = "space" if code in _SPACE_THOUSANDS else "point"
    groups = _GROUPS[style]
    if code in ("de", "it", "fr"):
        groups += "|" + _GROUPS["quote"]
    # "1,234" groups thousands where the comma does so; elsewhere, and with other lengths, a mark between digits is decimal.
    decimal = r"(?:,\d+(?![,.]?\d))?" if style != "comma" else r"(?:\.\d+(?!\.?\d))?"
    number = rf"(?P<number>(?:{groups}){decimal}|\d+(?:[.,]\d+(?![.,]?\d))?)"
    return re.compile(
        rf"{_SIGN}{_BEFORE}(?:{_DATE}|{_PHONE}|{_CLOCK}|{_SLASH}|{number}){_AFTER}{_TAIL.get(code or '', '')}"
    )


# What hangs on a number: a Turkish or Hungarian suffix, which is part of its last word.
_TAIL = {
    "tr": r"(?:['’](?P<tail>[a-zçğıöşüA-ZÇĞİÖŞÜ]{1,12})\b)?",
    "hu": r"(?:-(?P<tail>[a-záéíóöőúüű]{1,8})\b)?",
}


def _said(match: re.Match[str], code: str | None) -> str:
    """The words of one match, with spaces around where the language has them."""
    before, after = (match["before"] or "").strip(), (match["after"] or "").strip()
    kind = match.lastgroup if match.lastgroup in _KINDS else next(name for name in _KINDS if match[name])
    tail = match["tail"] if code in _TAIL else None
    return _words(kind, match[kind], match["sign"] or "", before, after, tail, code)


_KINDS = ("number", "date", "phone", "clock", "slash")
_GAP = re.compile(r"[^\w$€£¥¢₹₽₺₩%‰°+]{1,4}")


def _speak_all(text: str, code: str | None) -> str:
    """Every number of the text in words, and a mark between two that were written apart but would be said as one."""
    pieces: list[str] = []
    before, end = None, 0
    for match in _pattern(code).finditer(text):
        gap = text[end : match.start()]
        if before is not None and _GAP.fullmatch(gap) and _are_one(before, match, code):
            gap = f" {APART} "
        pieces += [gap, _said(match, code)]
        before, end = match, match.end()
    return "".join([*pieces, text[end:]])


def _are_one(first: re.Match[str], second: re.Match[str], code: str | None) -> bool:
    """Whether the last number of one match and the first of the next would be said as a third number."""
    is_named = first["slash"] and _word(code, first["slash"])  # 1/2 ends with a word of its own
    if not first[0][-1].isdigit() or is_named or first["phone"] or second["phone"] or second["before"]:
        return False
    value, other = _last_value(first["number"], first[0], code), _first_value(second["number"], second[0], code)
    return value is not None and other is not None and are_one_when_said(value, other, code)


@functools.lru_cache(maxsize=65536)
def _last_value(number: str | None, written: str, code: str | None) -> int | None:
    """The whole number that the words of a match end with; None where they end otherwise (decimals, digits one by one)."""
    if number:
        plain, mark = _plain(number, code)
        return None if mark or plain[0] == "0" or len(plain) > 15 else int(plain)
    return int(re.split(r"\D", written)[-1])


@functools.lru_cache(maxsize=65536)
def _first_value(number: str | None, written: str, code: str | None) -> int | None:
    """The whole number that the words of a match begin with; None where they begin with a zero that is read."""
    if number:
        whole = _plain(number, code)[0].partition(".")[0]
        return None if whole[0] == "0" or len(whole) > 15 else int(whole)
    return int(re.split(r"\D", written.lstrip("-– "))[0] or 0)


@functools.lru_cache(maxsize=65536)
def _words(kind: str, written: str, sign: str, before: str, after: str, tail: str | None, code: str | None) -> str:
    gap = "" if code in WITHOUT_SPACES else " "
    value, is_decimal, signs = None, False, [unit for unit in (before, after) if unit]
    if kind == "number":
        plain, mark = _plain(written, code)
        value, is_decimal = int(plain.split(".")[0][:20]), bool(mark)
        with_coins = _with_coins(plain, before or after, code)
        said, signs = (with_coins, []) if with_coins else (_quantity(plain, mark, code), signs)
    else:
        said = _SAID_BY_KIND[kind](written, code)
    if sign:
        word = _word(code, "plus") or KEPT_PLUS if sign == "+" else _word(code, "minus") or "minus"
        said = f"{word}{gap}{said}"
    for unit in signs:
        place, words = _sign(unit, code, value, is_decimal)
        said = words + gap + said if place == "before" else said + gap + words
    return f" {_with_tail(said, tail, code)} " if tail else f"{gap}{said}{gap}"


def _plain(written: str, code: str | None) -> tuple[str, str]:
    """("1234.5", the decimal mark as written) of a number in the language's marks; the mark is "" for a whole number."""
    grouped = "[.  ]" if code in DECIMAL_COMMA else ","
    if re.fullmatch(r"\d{1,3}(?:['’]\d{3})+(?:[.,]\d+)?", written):
        written = re.sub("['’]", "", written)
    elif _IS_GROUPED[code in DECIMAL_COMMA].match(written):
        written = re.sub(grouped, "", written)
    mark = next((character for character in written if character in ".,"), "")
    return written.replace(",", "."), mark


_IS_GROUPED = {
    False: re.compile(r"\d{1,3}(?:,\d{3})+(?![,\d])|\d{1,2}(?:,\d{2})+,\d{3}(?![,\d])"),
    True: re.compile(r"\d{1,3}(?:[. ]\d{3})+(?![.\d])"),
}

# ---------------------------------------------------------------- each kind


def _quantity(plain: str, mark: str, code: str | None) -> str:
    """Words of 25 or 2.5; leading zeros are read out; what the language cannot say stays in digits, its decimal mark kept."""
    whole, _, decimals = plain.partition(".")
    said = say_digits(whole, code) if (whole[0] == "0" and len(whole) > 1) or len(whole) > 15 else say(int(whole), code)
    if said is None:
        return plain.replace(".", KEPT_POINT)
    if not decimals:
        return said
    if code in ("ru", "hu") and mark == "," and len(plain) < 12 and decimals[-1] != "0":  # else 6,0 would be said as 6
        return _by_num2words(plain, code)
    point = _word(code, "comma" if mark == "," else "point")
    if point is None:
        return plain.replace(".", KEPT_POINT)
    is_number = _word(code, "fraction") == "number" and decimals[0] != "0" and len(decimals) <= 2
    tail = say(int(decimals), code) if is_number else say_digits(decimals, code)
    return (said + point + (tail or decimals)) if code in WITHOUT_SPACES else f"{said} {point} {tail or decimals}"


def _by_num2words(plain: str, code: str) -> str:
    """Two whole, five tenths: how Russian and Hungarian say a decimal."""
    return by_num2words(float(plain), code) or plain


def _with_coins(plain: str, sign: str, code: str | None) -> str | None:
    """5,50 € -> five, the sign, fifty; None where it is no such amount."""
    whole, _, coins = plain.partition(".")
    if code not in _COINS or len(coins) != 2 or sign not in ("€", "$", "£"):
        return None
    head, tail = say(int(whole), code), say(int(coins), code)
    euros = f"{head} {_sign(sign, code, int(whole), False)[1]}"
    return f"{euros} {tail}" if int(coins) else euros


def _phone(written: str, code: str | None) -> str:
    return say_digits(re.sub(r"\D", "", written), code) or written


def _date(written: str, code: str | None) -> str:
    """The three numbers of a date, each by itself and without its zero; never one decimal number."""
    return _side_by_side([int(part) for part in re.split(r"[./-]", written)], code)


def _side_by_side(numbers: Sequence[int], code: str | None) -> str:
    """Their words, with the mark between two that would be said as one."""
    said = [say(numbers[0], code) or str(numbers[0])]
    for before, number in itertools.pairwise(numbers):
        said += [APART] if are_one_when_said(before, number, code) else []
        said.append(say(number, code) or str(number))
    return " ".join(said)


def _clock(written: str, code: str | None) -> str:
    hour, minute = (int(part) for part in written.split(":"))
    said_hour = korean_native(hour) if code == "ko" else "两" if code == "zh" and hour == 2 else say(hour, code)
    if code == "yue" and hour == 2:
        said_hour = "兩"
    said_minute = say(minute, code)
    if said_hour is None or said_minute is None:
        return written.replace(":", " ")
    template = _word(code, "clock")
    if template is None:
        template = "{h} {m}"
        said_minute = f"{say(0, code)} {said_minute}" if 0 < minute < 10 else said_minute  # 3:08 is no three, eight
    if hour == 1:
        template, said_hour = (
            _word(code, "clock_one") or template,
            {"de": "ein", "fr": "une"}.get(code or "", said_hour),
        )
    if minute == 0:
        default = template.partition("{m}")[0].strip()
        return (_word(code, "clock_full") or default).format(h=said_hour)
    return template.format(h=said_hour, m=said_minute)


def _slash(written: str, code: str | None) -> str:
    """1/2 as the language names it, else one number over the other, as a blood pressure is read."""
    fraction = _word(code, written)
    if fraction is not None:
        return fraction
    first, second = written.split("/")
    if code in ("zh", "yue", "ja") and int(first) < int(second):
        return f"{say(int(second), code)}{'分の' if code == 'ja' else '分之'}{say(int(first), code)}"
    over = _word(code, "over") or KEPT_SLASH
    gap = "" if code in WITHOUT_SPACES else " "
    return f"{_quantity(first, '', code)}{gap}{over}{gap}{_quantity(second, '', code)}"


_SAID_BY_KIND = {"date": _date, "phone": _phone, "clock": _clock, "slash": _slash}


def _with_tail(said: str, tail: str, code: str | None) -> str:
    """A suffix joined to the last word; Turkish dört softens before a vowel, and 3'üncü is an ordinal."""
    tail = tail.lower()
    if code == "tr" and said.endswith("dört") and tail[0] in "aeıioöuü":
        said = said[:-1] + "d"
    return said + tail
