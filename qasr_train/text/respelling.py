"""Owns which spellings outside English are one word: tone marks, ligatures, optional dots, number words joined or apart.

Input: a text in lower case without punctuation, and the ISO code of its language. Output: the same text in the spelling kept.
Tables stand in assets/qasr_2 (respelled.tsv, inflected.tsv, hindi_nukta.txt), where a speaker can edit them. Folding too much
is the worse fault: two words that are said or meant differently stay apart.
"""

import functools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from qasr_train.text.spoken_numbers import WITHOUT_SPACES, say

_MAX_WORDS = 3  # in one line of respelled.tsv


def respell(text: str, code: str | None) -> str:
    """The text with each word in the spelling kept.

    Args:
        text: lower case, NFC, words apart by single spaces.
        code: ISO code of the language; None knows none of the spellings but œ.
    """
    if code not in ("da", "sv", "fi"):  # in these æ is a letter, or œ a foreign one that is not said oe
        text = text.replace("œ", "oe").replace("æ", "ae")
    if code in _BY_RULE:
        text = _BY_RULE[code](text)
    if code is not None and code in _inflected():
        text = _uninflected(text, code)
    table = _table().get(code or "")
    return _by_table(text, table) if table else text


@functools.cache
def _table() -> Mapping[str, Mapping[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for line in _lines("respelled.tsv"):
        code, written, kept = line.split("\t")
        table.setdefault(code, {})[unicodedata.normalize("NFC", written)] = unicodedata.normalize("NFC", kept)
    return table


def _lines(name: str) -> list[str]:
    lines = files("qasr_train").joinpath(f"assets/qasr_2/{name}").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _by_table(text: str, table: Mapping[str, str]) -> str:
    """Longest first, from left to right; Arabic words also behind a joined wa."""
    words = text.split(" ")
    kept: list[str] = []
    place = 0
    while place < len(words):
        for length in range(_MAX_WORDS, 0, -1):
            phrase = " ".join(words[place : place + length])
            if phrase in table or (phrase[:1] == "و" and phrase[1:] in table):
                kept.append(table[phrase] if phrase in table else "و" + table[phrase[1:]])
                break
            if length == 1:
                kept.append(phrase)
        place += length
    return " ".join(kept)


# ---------------------------------------------------------------- gender and linkers of number words


@dataclass(frozen=True)
class _Inflected:
    """A line of inflected.tsv: what a word becomes; behind a head of a number only; before these words or endings only."""

    kept: str
    is_compound: bool = False
    before: frozenset[str] = frozenset()
    before_endings: tuple[str, ...] = ()

    def holds(self, behind: Sequence[str], following: str, heads: frozenset[tuple[str, ...]]) -> bool:
        if self.is_compound:
            return tuple(behind[-1:]) in heads or tuple(behind[-2:]) in heads
        if not self.before and not self.before_endings:
            return True
        is_ending = len(following) > 3 and following.endswith(self.before_endings) and following[:2] != "ال"
        return following in self.before or is_ending


@functools.cache
def _inflected() -> Mapping[str, Mapping[str, Sequence[_Inflected]]]:
    """code -> word -> the conditions under which it is the number that digits become."""
    table: dict[str, dict[str, list[_Inflected]]] = {}
    for line in _lines("inflected.tsv"):
        code, written, kept, where = unicodedata.normalize("NFC", line).split("\t")
        words = where.removeprefix("before ").split("|") if where.startswith("before ") else []
        endings = tuple(word[1:] for word in words if word.startswith("*"))
        before = frozenset(word for word in words if not word.startswith("*"))
        rule = _Inflected(kept, where == "compound", before, endings)
        table.setdefault(code, {}).setdefault(written.casefold(), []).append(rule)
    return table


def _uninflected(text: str, code: str) -> str:
    """двадцать одна -> двадцать один, две -> два; one alone stays as it was said."""
    table, heads = _inflected()[code], _heads(code)
    words = text.split(" ")
    kept: list[str] = []
    for place, word in enumerate(words):
        joint = "و" if word[:1] == "و" and word not in table else ""  # the Arabic wa, joined to its word
        following = words[place + 1] if place + 1 < len(words) else ""
        rules = table.get(word[len(joint) :], ())
        kept.append(next((joint + rule.kept for rule in rules if rule.holds(kept[-2:], following, heads)), word))
    return " ".join(kept)


@functools.cache
def _heads(code: str) -> frozenset[tuple[str, ...]]:
    """What stands before the one of 21, 31 ... 101 ... 1001: a number word, or one and the joint (vinte, e)."""
    tens, hundreds = range(20, 100, 10), range(100, 1001, 100)
    numbers = {word for value in (*tens, *hundreds) for word in _said_words(value, code)}
    heads: set[tuple[str, ...]] = set()
    for value in (*tens, *hundreds):
        *front, _ = _said_words(value + 1, code)
        head = front[-1:] if front and front[-1] in numbers else front[-2:]
        if head:
            heads |= {tuple(head), tuple(_table().get(code, {}).get(word, word) for word in head)}
    return frozenset(heads)


def _said_words(value: int, code: str) -> list[str]:
    """The words of a number as a text has them, in the gender kept."""
    table = _inflected()[code]
    words = re.sub("[-'’]", " ", (say(value, code) or "").casefold()).split()
    always = {word: rules[0].kept for word, rules in table.items() if rules[0] == _Inflected(rules[0].kept)}
    return [always.get(word, word) for word in words]


# ---------------------------------------------------------------- two numbers as one

_HUNDREDS = (1, 10, 100)
_THOUSANDS = (1000, 10**6, 10**9, 10**12)
_POWERS = dict.fromkeys(("zh", "yue", "ja", "ko"), (1000, 10**4, 10**8, 10**12)) | {"hi": (1000, 10**5, 10**7)}


@functools.lru_cache(maxsize=65536)
def are_one_when_said(first: int, second: int, code: str | None) -> bool:
    """Whether two whole numbers, one said after the other, are the words of others: 20 5 of 25 in Turkish, 10 500 of 15 100."""
    if say(first, code) is None or say(second, code) is None:
        return False
    spelt = _spelt((first, second), code)
    others = [(value,) for value in _sums(first, second, _POWERS.get(code or "", _THOUSANDS))]
    return any(_spelt(numbers, code) == spelt for numbers in [*others, *_moved(first, second)])


def _sums(first: int, second: int, powers: Sequence[int]) -> set[int]:
    """Numbers that may be said as the first and then the second: 20 5 -> 25; 5 100 -> 500; 10 2025 -> 12025."""
    found: set[int] = set()
    for power in (*_HUNDREDS, *powers):
        count, rest = divmod(second, power)
        if not count:
            break
        # What of the first is multiplied or added to; the rest, in larger powers, stays before it.
        for part in {first, *(first % larger for larger in powers if power < larger <= first)}:
            kept = first - part
            is_counted = power not in (10, 100)  # twenty three hundred: no language here says so
            if is_counted and part and part % 10 == 0 and count < 10 ** _trailing_zeros(part):
                found.add(kept + (part + count) * power + rest)
            if count == 1 and 0 < part < (power if is_counted else 10):
                found.add(kept + part * power + rest)
    return found


def _trailing_zeros(value: int) -> int:
    digits = str(value)
    return len(digits) - len(digits.rstrip("0"))


def _moved(first: int, second: int) -> set[tuple[int, int]]:
    """Pairs in which the count of the second was moved to the first: 10 500 -> 15 100."""
    found: set[tuple[int, int]] = set()
    for power in (10, 100, 1000, 10**4, 10**5, 10**6):
        count, rest = divmod(second, power)
        if first and first % 10 == 0 and 0 < count < 10 ** _trailing_zeros(first):
            found.add((first + count, power + rest))
    return found


def _spelt(numbers: Sequence[int], code: str | None) -> str:
    """The words of numbers side by side, as a text without digits would be left."""
    spelt = respell(" ".join(say(number, code) or "?" for number in numbers).casefold().replace("-", " "), code)
    return spelt.replace(" ", "") if code in WITHOUT_SPACES else spelt


# ---------------------------------------------------------------- Vietnamese

_TONES = "\u0300\u0301\u0303\u0309\u0323"
_OLD_PLACE = re.compile(
    rf"(?<![^\W\d_])([^\W\d_aeiouy]*)([ou])([{_TONES}])([aey])(?![^\W\d_{_TONES}\u0302\u0306\u031b])"
)


def _vietnamese(text: str) -> str:
    """hòa -> hoà, thúy -> thuý: the older place of the tone mark becomes the newer; only in oa, oe, uy at the end."""
    decomposed = unicodedata.normalize("NFD", text)
    moved = _OLD_PLACE.sub(
        lambda m: m[0] if (m[2] == "u") != (m[4] == "y") else f"{m[1]}{m[2]}{m[4]}{m[3]}", decomposed
    )
    return unicodedata.normalize("NFC", moved)


# ---------------------------------------------------------------- Hindi

_NUKTA = "\u093c"
# A nasal letter without vowel before a consonant of its own class is what the dot above (anusvara) stands for: हिन्दी, हिंदी.
_NASALS = re.compile("ङ्(?=[कखगघ])|ञ्(?=[चछजझ])|ण्(?=[टठडढ])|न्(?=[तथदध])|म्(?=[पफबभ])")
_OPTIONAL_NUKTA = re.compile(f"([कखगजफ]){_NUKTA}")
# Above a vowel sign that leaves no room for the moon, the dot is its usual spelling: में, मैं, नहीं, कहीँ; elsewhere हँस and हंस differ.
_MOON = re.compile("(?<=[िीेैोौ])ँ")


def _hindi(text: str) -> str:
    text = unicodedata.normalize("NFC", text)  # leaves the dot apart: letters with it are excluded from composition
    text = _MOON.sub("ं", _NASALS.sub("ं", text))
    if _NUKTA not in text:
        return text
    kept = _kept_nukta()
    return " ".join(word if word in kept else _OPTIONAL_NUKTA.sub(r"\1", word) for word in text.split(" "))


@functools.cache
def _kept_nukta() -> frozenset[str]:
    return frozenset(unicodedata.normalize("NFC", word) for word in _lines("hindi_nukta.txt"))


# ---------------------------------------------------------------- Thai

_SARA_AM = re.compile("\u0e4d([\u0e48-\u0e4b]?)\u0e32|([\u0e48-\u0e4b])\u0e4d\u0e32")


def thai(text: str) -> str:
    """Nikhahit and sara aa in any order with a tone mark become tone mark and sara am; two sara e become sara ae."""
    return _SARA_AM.sub(lambda m: f"{m[1] or m[2] or ''}\u0e33", text).replace("\u0e40\u0e40", "\u0e41")


# ---------------------------------------------------------------- Arabic, Persian

_LONE_WA = re.compile(r"(?<!\S)و (?=\S)")


def _arabic(text: str) -> str:
    """The conjunction wa is one letter and written with the word behind it; a space there is a slip, or num2words."""
    return _LONE_WA.sub("و", text)


def _persian(text: str) -> str:
    """بیست وپنج -> بیست و پنج, between number words alone."""
    numbers = _number_words("fa")
    words = text.split(" ")
    return " ".join(
        f"و {word[1:]}" if place and word[:1] == "و" and word[1:] in numbers and words[place - 1] in numbers else word
        for place, word in enumerate(words)
    )


@functools.cache
def _number_words(code: str) -> frozenset[str]:
    """Single words of the numbers to 1000, and of the powers of 1000."""
    values = [*range(1001), 10**6, 10**9]
    return frozenset(word for value in values for word in (say(value, code) or "").split())


# ---------------------------------------------------------------- number words joined or apart

# Words of hundreds and thousands, before or behind which a space may stand or not.
_BIG = {
    "de": "hundert|tausend", "nl": "honderd|duizend", "sv": "hundra|tusen", "da": "hundrede|tusinde?",
    "fi": "sata|sataa|tuhat|tuhatta", "hu": "száz|ezer", "it": "cento|mille|mila",
}  # fmt: skip
_JOINTS = {"de": "und", "nl": "en", "da": "og"}  # said or not between hundreds and the rest: hundert(und)eins
_LONE_ONE = {"de": "ein", "sv": "ett", "da": "et", "hu": "egy"}  # said or not before a hundred or thousand
_SMALL_EXTRA = {
    "de": ("ein", "zwo"),
    "hu": ("két",),
    "it": ("ventitré", "tré"),
    "nl": ("een",),
    "da": ("ét",),
}


@functools.cache
def _joinable(code: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """(a number word, one that ends with a big one, one that begins with a big one)."""
    small = {word for value in range(100) for word in (say(value, code) or "").split() if len(word) > 1}
    small |= set(_SMALL_EXTRA.get(code, ()))
    longest_first = sorted({word.casefold() for word in small}, key=len, reverse=True)
    joint = f"(?:{_JOINTS[code]})?" if code in _JOINTS else ""
    one = "|".join(map(re.escape, longest_first))
    big = _BIG[code]
    # One optional small number before each big one and one behind: no nested repetition, so no backtracking to speak of.
    number = rf"(?:(?:{one})?(?:{big}){joint}){{0,4}}(?:{one})?"
    return (
        re.compile(number),
        re.compile(rf"(?:(?:{one})?(?:{big}){joint}){{0,3}}(?:{one})?(?:{big})"),
        re.compile(rf"(?:{big}){number}"),
    )


def _joined(text: str, code: str) -> str:
    """Spaces inside a number beside hundreds and thousands go: zwei tausend fünfundzwanzig -> zweitausendfünfundzwanzig."""
    number, ends_big, begins_big = _joinable(code)
    kept: list[str] = []
    words = text.split(" ")
    for place, word in enumerate(words):
        before = kept[-1] if kept else ""
        is_number = len(word) < 60 and _is_number(word, code)
        following = words[place + 1] if place + 1 < len(words) else ""
        if word == _JOINTS.get(code) and ends_big.fullmatch(before) and number.fullmatch(following[:60]):
            continue
        if is_number and before and len(before) < 60 and _meets(before, word, number, ends_big, begins_big):
            kept[-1] = before + word
        else:
            kept.append(word)
    return " ".join(_one_way(word, code) if len(word) < 120 and _is_number(word, code) else word for word in kept)


@functools.lru_cache(maxsize=65536)
def _is_number(word: str, code: str) -> bool:
    return bool(_joinable(code)[0].fullmatch(word))


def _meets(
    before: str, word: str, number: re.Pattern[str], ends_big: re.Pattern[str], begins_big: re.Pattern[str]
) -> bool:
    return bool(ends_big.fullmatch(before)) or (bool(begins_big.fullmatch(word)) and bool(number.fullmatch(before)))


@functools.lru_cache(maxsize=65536)
def _one_way(word: str, code: str) -> str:
    """Of a number word: without the one of one hundred, the joint behind hundreds, and Danish, Dutch, Italian doublets."""
    if code in _LONE_ONE:
        word = re.sub(
            rf"(?:^|(?<=tausend)|(?<=tusen)|(?<=tusind)|(?<=tusinde)){_LONE_ONE[code]}(?={_BIG[code]})", "", word
        )
    if code in _JOINTS:
        word = re.sub(rf"({_BIG[code]}){_JOINTS[code]}", r"\1", word)
    if code == "da":
        word = word.replace("tusinde", "tusind").replace("ét", "et")
    return word.replace("één", "een") if code == "nl" else re.sub("tré$", "tre", word) if code == "it" else word


# ---------------------------------------------------------------- Turkish

_TURKISH_UNITS = "bir|iki|üç|dört|beş|altı|yedi|sekiz|dokuz"
_TURKISH_TENS = "on|yirmi|otuz|kırk|elli|altmış|yetmiş|seksen|doksan"
_TURKISH_BELOW = rf"(?:(?:{_TURKISH_UNITS})?yüz)?(?:{_TURKISH_TENS})?(?:{_TURKISH_UNITS})?"
_TURKISH_NUMBER = re.compile(
    rf"(?:{_TURKISH_BELOW}(?:milyar|milyon|bin)){{0,3}}{_TURKISH_BELOW}"
    r"(?P<suffix>[ıiuü]?nc[ıiuü]|[dt][ae](?:n|ki)?|y?[ıiuü]|n[ıiuü]n|y?[ae]|[sş]?[ae]r|l[ıiuü]k)?"
)
_TURKISH_PARTS = re.compile(
    rf"{_TURKISH_TENS}|yüz|bin(?!c)|milyon|milyar|altmış|{_TURKISH_UNITS}".replace("altı", "altı(?!mış)")
)


def _turkish(text: str) -> str:
    """Number words run together go apart, a suffix stays on the last: yirmibeş -> yirmi beş, onuncu stays."""
    return " ".join(_turkish_word(word) for word in text.split(" "))


def _turkish_word(word: str) -> str:
    if not 4 < len(word) < 80:
        return word
    match = _TURKISH_NUMBER.fullmatch(word)
    if match is None:
        return word
    suffix = match["suffix"] or ""
    stem = word[: len(word) - len(suffix)]
    parts = _TURKISH_PARTS.findall(stem)
    return " ".join(parts) + suffix if len(parts) > 1 and "".join(parts) == stem else word


# ---------------------------------------------------------------- Chinese, Cantonese

_HAN_BEFORE = "[零一二三四五六七八九十百千万两兩]"
_TWO_BEFORE_UNIT = re.compile("[两兩](?=[百千万萬亿億])")


def _chinese(text: str) -> str:
    """〇 is 零; 两 before hundreds and more is 二, as 200 is read both ways (两个 stays); 萬 and 億 of a number are 万 and 亿."""
    text = _TWO_BEFORE_UNIT.sub("二", text.replace("〇", "零"))
    return re.sub(f"(?<={_HAN_BEFORE})億", "亿", re.sub(f"(?<={_HAN_BEFORE})萬", "万", text))


_BY_RULE: dict[str, Callable[[str], str]] = {
    "vi": _vietnamese, "hi": _hindi, "ar": _arabic, "fa": _persian, "tr": _turkish, "zh": _chinese, "yue": _chinese,
    **{code: functools.partial(_joined, code=code) for code in _BIG},
}  # fmt: skip
