"""Owns how whole numbers are said in the thirty languages: num2words where it is right, tables and rules of ours elsewhere.

Input: a number and the ISO code of a language. Output: its words as the language writes them, or None where nobody here knows.
Words of Hindi stand in assets/qasr_2/hindi_numbers.txt, so that a speaker can mend them.
"""

import functools
import re
from collections.abc import Callable, Sequence
from importlib.resources import files

from num2words import num2words

MAX_VALUE = 10**15  # longer runs of digits are identifiers and read digit by digit
_NUM2WORDS = frozenset("ar de fr es pt id it ko ru th ja nl sv da fi pl cs fa ro hu".split())
WITHOUT_SPACES = frozenset({"zh", "yue", "ja", "th", "ko"})  # a counter follows the number without one


@functools.lru_cache(maxsize=65536)
def say(value: int, code: str | None) -> str | None:
    """The words of a whole number from 0 on in a language, in lower case; None where the language or the number is not known."""
    if value >= MAX_VALUE or code is None:
        return None
    if code in _OURS:
        return _OURS[code](value)
    if code not in _NUM2WORDS:
        return None
    words = by_num2words(value, code)
    if words is None:
        return None
    words = words.lower()
    for pattern, replacement in _MENDED.get(code, ()):
        words = pattern.sub(replacement, words)
    return words


def say_digits(digits: str, code: str | None) -> str | None:
    """A number read digit by digit, as phone numbers and what begins with a zero are; None where the language is not known."""
    words = [say(int(digit), code) for digit in digits]
    known = [word for word in words if word is not None]
    if len(known) < len(words):
        return None
    return ("" if code in WITHOUT_SPACES else " ").join(known)


def say_ordinal(value: int, code: str) -> str | None:
    """The ordinal of num2words in the form it gives (masculine, singular); None where it has none."""
    if value >= MAX_VALUE:
        return None
    if code == "tr":
        return _turkish_ordinal(value)
    words = by_num2words(value, code, to="ordinal")
    return None if words is None else words.lower()


def by_num2words(value: float, code: str, **form: str) -> str | None:
    """What num2words says, in the form asked for (`to`, `case`, `gender`); None where it knows no such thing."""
    try:
        return str(num2words(value, lang=code, **form))
    except (
        Exception
    ):  # NotImplementedError, OverflowError, IndexError, ... by language and size: it names no kind of its own
        return None


# What num2words 0.5.14 writes otherwise than the language does.
_MENDED: dict[str, Sequence[tuple[re.Pattern[str], str]]] = {
    "ar": [
        (re.compile(r"\bو "), "و"),  # the conjunction is one letter and joined to what follows
        (re.compile(r"(ألف|مئت|مليون|مليار)ا$"), r"\1ان"),  # two thousand, and not the thousand of "three thousand and"
    ],
    "da": [(re.compile(r"^en millioner"), "en million")],
    "pt": [
        (re.compile("dezass"), "dezess"),
        (re.compile("dezanove"), "dezenove"),
    ],  # Brazil; folded from Portugal's too
}


def _grouped(
    value: int, below: Callable[[int], str], steps: Sequence[tuple[int, str, str]], joint: Callable[[int], str]
) -> str:
    """A number by its powers.

    Args:
        below: words of what is smaller than the last step.
        steps: (size, words of exactly one, word after any other count), the largest first.
        joint: what stands before a rest of that size.
    """
    for size, one, many in steps:
        count, rest = divmod(value, size)
        if count:
            head = one if count == 1 else f"{_grouped(count, below, steps, joint)} {many}"
            return head + (joint(rest) + _grouped(rest, below, steps, joint) if rest else "")
    return below(value)


def _space(rest: int) -> str:
    return " "


# ---------------------------------------------------------------- Chinese, Cantonese

_HAN = "零一二三四五六七八九"


def _chinese_section(value: int) -> str:
    """1 to 9999."""
    written, is_gap = "", False
    for power, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // power % 10
        if digit:
            written += ("零" if is_gap and written else "") + _HAN[digit] + unit
        is_gap = not digit
    return written


def _chinese(value: int) -> str:
    """一千零二十五; twelve is 十二 and not 一十二; 二 before 百 千 万 (两 is folded to it there, see qasr_2.py)."""
    if value == 0:
        return _HAN[0]
    written, needs_zero = "", False
    for power, unit in ((10**12, "万亿"), (10**8, "亿"), (10**4, "万"), (1, "")):
        section = value // power % 10**4
        if not section:
            needs_zero = bool(written)
            continue
        written += ("零" if written and (needs_zero or section < 1000) else "") + _chinese_section(section) + unit
        needs_zero = False
    return written[1:] if written.startswith("一十") else written


# ---------------------------------------------------------------- languages that compose regularly

_TURKISH = "sıfır bir iki üç dört beş altı yedi sekiz dokuz".split()
_TURKISH_TENS = " on yirmi otuz kırk elli altmış yetmiş seksen doksan".split(" ")


def _tens_and_ones(tens: Sequence[str], ones: Sequence[str], joint: str = " ") -> Callable[[int], str]:
    def words(value: int) -> str:
        if value < len(ones):
            return ones[value]
        ten, one = divmod(value, 10)
        return tens[ten] + (joint + ones[one] if one else "")

    return words


def _turkish(value: int) -> str:
    """Apart, as Türk Dil Kurumu writes numbers: iki bin yirmi beş."""
    steps = [(10**12, "bir trilyon", "trilyon"), (10**9, "bir milyar", "milyar"), (10**6, "bir milyon", "milyon"),
             (1000, "bin", "bin"), (100, "yüz", "yüz")]  # fmt: skip
    return _grouped(value, _tens_and_ones(_TURKISH_TENS, _TURKISH), steps, _space)


_TURKISH_ORDINALS = {"bir": "birinci", "iki": "ikinci", "üç": "üçüncü", "dört": "dördüncü", "beş": "beşinci", "altı": "altıncı",
                     "yedi": "yedinci", "sekiz": "sekizinci", "dokuz": "dokuzuncu", "on": "onuncu", "yirmi": "yirminci",
                     "otuz": "otuzuncu", "kırk": "kırkıncı", "elli": "ellinci", "altmış": "altmışıncı", "yetmiş": "yetmişinci",
                     "seksen": "sekseninci", "doksan": "doksanıncı", "yüz": "yüzüncü", "bin": "bininci"}  # fmt: skip


def _turkish_ordinal(value: int) -> str | None:
    *front, last = _turkish(value).split()
    return " ".join([*front, _TURKISH_ORDINALS[last]]) if last in _TURKISH_ORDINALS else None


_VIETNAMESE = "không một hai ba bốn năm sáu bảy tám chín mười".split()


def _vietnamese_tens(value: int) -> str:
    ten, one = divmod(value, 10)
    if value <= 10:
        return _VIETNAMESE[value]
    head = "mười" if ten == 1 else f"{_VIETNAMESE[ten]} mươi"
    tail = {0: "", 1: " một" if ten == 1 else " mốt", 5: " lăm"}
    return head + tail.get(one, f" {_VIETNAMESE[one]}")


def _vietnamese(value: int) -> str:
    """Hai mươi mốt, mười lăm; a gap below the hundreds is `lẻ` (`linh` in the north), below the thousands `không trăm`."""
    for size, word in ((10**9, "tỷ"), (10**6, "triệu"), (1000, "nghìn")):
        count, rest = divmod(value, size)
        if count:
            gap = " không trăm" if 0 < rest < 100 else ""
            tail = (" lẻ" if rest < 10 and gap else "") + f" {_vietnamese(rest)}" if rest else ""
            return f"{_vietnamese(count)} {word}{gap}{tail}"
    hundred, rest = divmod(value, 100)
    if not hundred:
        return _vietnamese_tens(rest)
    return f"{_VIETNAMESE[hundred]} trăm" + (f"{' lẻ' if rest < 10 else ''} {_vietnamese_tens(rest)}" if rest else "")


_MALAY = ["kosong", *"satu dua tiga empat lima enam tujuh lapan sembilan sepuluh sebelas".split()]


def _malay(value: int) -> str:
    def below(rest: int) -> str:
        if rest < 12:
            return _MALAY[rest]
        ten, one = divmod(rest, 10)
        return f"{_MALAY[one]} belas" if ten == 1 else f"{_MALAY[ten]} puluh" + (f" {_MALAY[one]}" if one else "")

    steps = [(10**12, "satu trilion", "trilion"), (10**9, "satu bilion", "bilion"), (10**6, "satu juta", "juta"),
             (1000, "seribu", "ribu"), (100, "seratus", "ratus")]  # fmt: skip
    return _grouped(value, below, steps, _space)


_FILIPINO = "sero isa dalawa tatlo apat lima anim pito walo siyam".split()
_FILIPINO_TENS = " sampu dalawampu tatlumpu apatnapu limampu animnapu pitumpu walumpu siyamnapu".split(" ")
_FILIPINO_TEENS = (
    "labing-isa labindalawa labintatlo labing-apat labinlima labing-anim labimpito labingwalo labinsiyam".split()
)
_FILIPINO_HUNDREDS = (" isandaan dalawandaan tatlongdaan apatnaraan limandaan animnaraan pitongdaan walongdaan "
                      "siyamnaraan").split(" ")  # fmt: skip


def _filipino(value: int) -> str:
    """Dalawampu't lima; isang libo; sandaan and isang daan fold to isandaan, linkers go (assets/qasr_2)."""
    if value < 10:
        return _FILIPINO[value]
    if 10 < value < 20:
        return _FILIPINO_TEENS[value - 11]
    if value < 100:
        return _FILIPINO_TENS[value // 10] + (f"'t {_FILIPINO[value % 10]}" if value % 10 else "")
    for size, word in ((10**9, "bilyon"), (10**6, "milyon"), (1000, "libo")):
        count, rest = divmod(value, size)
        if count:
            linked = _filipino(count)
            linked = linked + ("ng" if linked[-1] in "aeiou" else " na")
            return f"{linked} {word}" + (f" {_filipino_and(rest)}" if rest else "")
    return _FILIPINO_HUNDREDS[value // 100] + (f" {_filipino_and(value % 100)}" if value % 100 else "")


def _filipino_and(rest: int) -> str:
    return f"at {_filipino(rest)}" if rest < 20 or rest % 10 == 0 else _filipino(rest)


_GREEK = ("μηδέν ένα δύο τρία τέσσερα πέντε έξι επτά οκτώ εννέα δέκα έντεκα δώδεκα δεκατρία δεκατέσσερα δεκαπέντε δεκαέξι "
          "δεκαεπτά δεκαοκτώ δεκαεννέα").split()  # fmt: skip
_GREEK_TENS = "  είκοσι τριάντα σαράντα πενήντα εξήντα εβδομήντα ογδόντα ενενήντα".split(" ")
_GREEK_HUNDREDS = " εκατό διακόσια τριακόσια τετρακόσια πεντακόσια εξακόσια επτακόσια οκτακόσια εννιακόσια".split(" ")


def _greek(value: int) -> str:
    """Neuter, as counted; thousands are feminine: δύο χιλιάδες, τρεις χιλιάδες, διακόσιες χιλιάδες."""
    for size, one, many in (
        (10**9, "ένα δισεκατομμύριο", "δισεκατομμύρια"),
        (10**6, "ένα εκατομμύριο", "εκατομμύρια"),
        (1000, "χίλια", "χιλιάδες"),
    ):
        count, rest = divmod(value, size)
        if count:
            head = one if count == 1 else f"{_greek_feminine(count) if size == 1000 else _greek(count)} {many}"
            return head + (f" {_greek(rest)}" if rest else "")
    if value >= 100:
        hundred = "εκατόν" if 100 < value < 200 else _GREEK_HUNDREDS[value // 100]
        return hundred + (f" {_greek(value % 100)}" if value % 100 else "")
    return _tens_and_ones(_GREEK_TENS, _GREEK)(value)


def _greek_feminine(count: int) -> str:
    words = [re.sub("όσια$", "όσιες", word) for word in _greek(count).split()]
    words[-1] = {"ένα": "μία", "τρία": "τρεις", "τέσσερα": "τέσσερις"}.get(words[-1], words[-1])
    words[-1] = re.sub("τρία$", "τρείς", re.sub("τέσσερα$", "τέσσερις", words[-1]))
    return " ".join(words)


_MACEDONIAN = ("нула еден два три четири пет шест седум осум девет десет единаесет дванаесет тринаесет четиринаесет петнаесет "
               "шеснаесет седумнаесет осумнаесет деветнаесет").split()  # fmt: skip
_MACEDONIAN_TENS = "  дваесет триесет четириесет педесет шеесет седумдесет осумдесет деведесет".split(" ")
_MACEDONIAN_HUNDREDS = (
    " сто двесте триста четиристотини петстотини шестстотини седумстотини осумстотини деветстотини".split(" ")
)


def _macedonian(value: int) -> str:
    """`и` stands before the last part: сто дваесет и пет, сто и дваесет; илјада деветстотини и пет."""
    parts: list[str] = []
    for size, one, many in (
        (10**9, "милијарда", "милијарди"),
        (10**6, "милион", "милиони"),
        (1000, "илјада", "илјади"),
    ):
        count, value = divmod(value, size)
        if count:
            said = _macedonian(count)
            said = re.sub("еден$", "една", re.sub("два$", "две", said)) if size != 10**6 else said
            parts.append(one if count == 1 and size == 1000 else f"{said} {one if count == 1 else many}")
    if value >= 100:
        parts.append(_MACEDONIAN_HUNDREDS[value // 100])
        value %= 100
    if value >= 20:
        parts.append(_MACEDONIAN_TENS[value // 10])
        value %= 10
    if value or not parts:
        parts.append(_MACEDONIAN[value])
    return " ".join(parts) if len(parts) == 1 else f"{' '.join(parts[:-1])} и {parts[-1]}"


@functools.cache
def _hindi_words() -> tuple[str, ...]:
    """0 to 99, of which none can be derived from another."""
    lines = files("qasr_train").joinpath("assets/qasr_2/hindi_numbers.txt").read_text(encoding="utf-8").splitlines()
    return tuple(" ".join(line for line in lines if not line.startswith("#")).split())


def _hindi(value: int) -> str:
    """By lakh (10**5) and crore (10**7); 100 is एक सौ, and सौ alone stays a word of its own."""
    steps = [(10**7, "एक करोड़", "करोड़"), (10**5, "एक लाख", "लाख"), (1000, "एक हज़ार", "हज़ार"), (100, "एक सौ", "सौ")]
    return _grouped(value, lambda rest: _hindi_words()[rest], steps, _space)


_OURS: dict[str, Callable[[int], str]] = {
    "zh": _chinese, "yue": _chinese, "tr": _turkish, "vi": _vietnamese, "ms": _malay, "fil": _filipino, "el": _greek,
    "mk": _macedonian, "hi": _hindi,
}  # fmt: skip
