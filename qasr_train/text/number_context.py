"""Owns digits whose reading depends on the word beside them: ordinals, hours in letters, Korean counters, Chinese years and twos.

Input: a text in NFKC and the ISO code of its language. Output: the text with those digits in words, all others as they were.
Ordinals that num2words lacks or gets wrong stand in assets/qasr_2/ordinals.tsv, where a speaker can edit them.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files

from qasr_train.text.spoken_numbers import by_num2words, say, say_ordinal

_Speak = Callable[[re.Match[str]], str]
# Between two numbers that were written apart and would be said as one: 20 5 in Turkish, as 25. A comma in the end.
APART = "\ue006"
_BESIDE = re.compile(r"\d-?[^\W\d_]{0,5}\W{1,4}$")  # 20-go, 3-go are two days and no 23rd


def beside_words(text: str, code: str | None) -> str:
    """Rewrites digits whose reading depends on the word beside them: ordinals, hours in letters, counters, years in Chinese."""
    for pattern, speak in _CONTEXT.get(code or "", ()):
        text = pattern.sub(speak, text)
    return text


def _ordinal(code: str, endings: Mapping[str, str] | None = None) -> _Speak:
    """A replacement that says group 1 as an ordinal; endings: replaces the end of the word by what was written behind it."""

    def replace(match: re.Match[str]) -> str:
        said = say_ordinal(int(match[1]), code)
        if said is None:
            return match[0]
        for end, other in (endings or {}).items():
            if said.endswith(end):
                said = said[: -len(end)] + other
                break
        return f" {said} "

    return replace


@functools.cache
def _ordinals() -> Mapping[tuple[str, str], Sequence[str]]:
    """(code, form) -> words of the first, the second, ...; "-" for one that the form lacks."""
    lines = files("qasr_train").joinpath("assets/qasr_2/ordinals.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return {(code, form): words.split("|") for code, form, words in rows}


def _listed(code: str, form: str) -> _Speak:
    """A replacement from group `n` on by ordinals.tsv; what no line has stays as written, and so does one with a group `not`."""

    def replace(match: re.Match[str]) -> str:
        words, value = _ordinals()[code, form], int(match["n"])
        if match.groupdict().get("not") or not 0 < value <= len(words) or words[value - 1] == "-":
            return match[0]
        front = match[0][: match.start("n") - match.start()]
        is_beside = _BESIDE.search(match.string[max(0, match.start() - 12) : match.start()])
        return f"{front}{f'{APART} ' if is_beside else ''}{words[value - 1]}"

    return replace


def _russian(case: str, gender: str) -> _Speak:
    def replace(match: re.Match[str]) -> str:
        return by_num2words(int(match[1]), "ru", to="ordinal", case=case, gender=gender) or match[0]

    return replace


_KOREAN_ONES = " 한 두 세 네 다섯 여섯 일곱 여덟 아홉".split(" ")
_KOREAN_TENS = " 열 스물 서른 마흔 쉰 예순 일흔 여든 아흔".split(" ")


def korean_native(value: int) -> str:
    """Before a counter: 한, 두 ... 스무, 스물한; beyond 99 the Chinese numbers."""
    if not 0 < value < 100:
        return say(value, "ko") or str(value)
    return "스무" if value == 20 else _KOREAN_TENS[value // 10] + _KOREAN_ONES[value % 10]


def _fixed(*pairs: tuple[str, str]) -> _Speak:
    table = dict(pairs)
    return lambda match: table[match[1]]


_MONTHS = {
    "de": "januar|jänner|februar|märz|april|mai|juni|juli|august|september|oktober|november|dezember",
    "da": "januar|februar|marts|april|maj|juni|juli|august|september|oktober|november|december",
    "sv": "januari|februari|mars|april|maj|juni|juli|augusti|september|oktober|november|december",
    "cs": "ledna|února|března|dubna|května|června|července|srpna|září|října|listopadu|prosince",
    "el": "ιανουαρίου|φεβρουαρίου|μαρτίου|απριλίου|μαΐου|ιουνίου|ιουλίου|αυγούστου|σεπτεμβρίου|οκτωβρίου|νοεμβρίου|δεκεμβρίου",
    "hu": "január|február|március|április|május|június|július|augusztus|szeptember|október|november|december",
    "mk": "јануари|февруари|март|април|мај|јуни|јули|август|септември|октомври|ноември|декември",
    "pl": "stycznia|lutego|marca|kwietnia|maja|czerwca|lipca|sierpnia|września|października|listopada|grudnia",
    "ru": "января|февраля|марта|апреля|мая|июня|июля|августа|сентября|октября|ноября|декабря",
}
_ALONE = r"(?<![\w.,:/+%-])(?<!\d )"  # no part of a larger number, a range or a date in digits
_N = r"(?P<n>\d{1,2})"


def _day(code: str) -> re.Pattern[str]:
    """A day before the name of its month."""
    return re.compile(rf"(?i){_ALONE}{_N}\.?(?= (?:{_MONTHS[code]})\b)")


_HAN_DIGITS = "零一二三四五六七八九"
_LONE_TWO = r"(?<![\d.,:/第-])2(?= ?[个個只隻本张張位条條件次年天岁歲块塊斤杯台辆輛家种種名点點])(?!年[0-9前后代])"

_CONTEXT: dict[str, list[tuple[re.Pattern[str], _Speak]]] = {
    "fr": [
        (re.compile(r"\b1er\b"), lambda match: "premier"),
        (re.compile(r"\b1(?:re|ère)\b"), lambda match: "première"),
        (re.compile(r"\b(\d{1,4})(?:e|è|ème|ième)\b"), _ordinal("fr")),
        (re.compile(r"\b([01]?\d|2[0-4]) ?h ?([0-5]\d)\b"), lambda match: f"{match[1]}:{match[2]}"),
        (re.compile(r"\b([01]?\d|2[0-4]) ?h\b"), lambda match: f"{match[1]} {'heure' if match[1] in '01' else 'heures'}"),
    ],
    "es": [
        (re.compile(r"\b(\d{1,3})\.?º"), _ordinal("es")),
        (re.compile(r"\b(\d{1,3})\.?ª"), _ordinal("es", {"o": "a"})),
    ],
    "pt": [
        (re.compile(r"\b(\d{1,3})\.?º"), _ordinal("pt")),
        (re.compile(r"\b(\d{1,3})\.?ª"), _ordinal("pt", {"o": "a"})),
    ],
    "it": [
        (re.compile(r"\b(\d{1,3})[º°](?=\s+[a-z])"), _ordinal("it")),
        (re.compile(r"\b(\d{1,3})ª"), _ordinal("it", {"o": "a"})),
    ],
    "de": [
        (re.compile(rf"(?i)\b(?<=der )(\d{{1,2}})\. ?(?={_MONTHS['de']}\b)"), _ordinal("de")),
        (re.compile(rf"(?i)\b(\d{{1,2}})\. ?(?={_MONTHS['de']}\b)"), _ordinal("de", {"e": "en"})),
        (re.compile(r"(?i)((?:[01]?\d|2[0-4]):[0-5]\d) ?uhr\b"), lambda match: match[1]),
        (re.compile(r"(?i)\b1 uhr\b"), lambda match: "ein uhr"),
    ],
    "da": [(re.compile(rf"(?i)\b(\d{{1,2}})\. ?(?={_MONTHS['da']}\b)"), _ordinal("da"))],
    "sv": [
        (re.compile(r"\b(\d{1,3}):[ae]\b"), _ordinal("sv")),
        (re.compile(rf"(?i)(?<=den )(\d{{1,2}}) (?={_MONTHS['sv']}\b)"), _ordinal("sv")),
    ],
    "nl": [
        (re.compile(r"\b(\d{1,3})(?:e|de|ste)\b"), _ordinal("nl")),
        (re.compile(r"(?i)((?:[01]?\d|2[0-4])[:.][0-5]\d) ?uur\b"), lambda match: match[1].replace(".", ":")),
    ],
    "fi": [(re.compile(r"\b(\d{1,2})\. (?=[a-zäö]+kuu(?:ta|n)?\b)"), _ordinal("fi"))],
    "tr": [
        (re.compile(r"\b(\d{1,4})['’](?:[ıiuü]nc[ıiuü]|nc[ıiuü])\b"), _ordinal("tr")),
        (re.compile(r"(?<![\d.,])\b(\d{1,3})\.(?= [a-zçğıöşü])"), _ordinal("tr")),
    ],
    "pl": [
        (_day("pl"), _listed("pl", "genitive")),
        (re.compile(rf"{_ALONE}{_N}-(?:szego|giego|ciego|tego|mego|ego|go)\b"), _listed("pl", "genitive")),
        (re.compile(rf"{_ALONE}{_N}-(?:szy|gi|ci|ty|my)\b"), _listed("pl", "masculine")),
        (re.compile(rf"{_ALONE}{_N}-(?:sza|ga|cia|ta|ma)\b"), _listed("pl", "feminine")),
    ],
    "cs": [(_day("cs"), _listed("cs", "genitive"))],
    "hu": [
        (re.compile(rf"{_ALONE}{_N}-j?[áé]n\b"), _listed("hu", "on")),
        (re.compile(rf"(?i)\b(?:{_MONTHS['hu']}) {_N}-j?[ae]\b"), _listed("hu", "day")),
        (re.compile(rf"{_ALONE}{_N}-(?:[aeoö]?dik|ik|ső)\b"), _listed("hu", "nominative")),
        (re.compile(rf"(?i:\b(?P<not>{_MONTHS['hu']}) )?{_ALONE}{_N}\.(?= [a-záéíóöőúüű])"), _listed("hu", "nominative")),
    ],
    "el": [
        (re.compile(rf"(?i){_ALONE}{_N}(?:ος|ός)\b"), _listed("el", "masculine")),
        (re.compile(rf"(?i){_ALONE}{_N}[ηή]\b"), _listed("el", "feminine")),
        (re.compile(rf"(?i){_ALONE}{_N}[οό]\b"), _listed("el", "neuter")),
        (re.compile(rf"(?i){_ALONE}(?P<n>1)(?= (?:{_MONTHS['el']})\b)"), _listed("el", "feminine")),
    ],
    "mk": [
        (_day("mk"), _listed("mk", "masculine")),
        (re.compile(rf"{_ALONE}{_N}-(?:ви|ри|ти|ми)\b"), _listed("mk", "masculine")),
        (re.compile(rf"{_ALONE}{_N}-(?:ва|ра|та|ма)\b"), _listed("mk", "feminine")),
        (re.compile(rf"{_ALONE}{_N}-(?:во|ро|то|мо)\b"), _listed("mk", "neuter")),
    ],
    "ro": [
        (re.compile(rf"(?i)(?<=\bal ){_N}-lea\b"), _listed("ro", "masculine")),
        (re.compile(rf"(?i)(?<=\ba ){_N}-a\b"), _listed("ro", "feminine")),
    ],
    "ar": [
        (re.compile(r"(?<=القرن )ال ?(?=\d)"), lambda match: ""),
        (re.compile(rf"(?<=القرن ){_N}(?!\d|[-.,:/]\d|%)"), _listed("ar", "definite")),
    ],
    "fa": [
        (re.compile(rf"{_ALONE}{_N}-?ا\u064f?مین\b"), _listed("fa", "counting")),
        (re.compile(rf"{_ALONE}{_N}-?ا\u064f?م\b"), _listed("fa", "ordinal")),
    ],
    "ru": [
        (re.compile(rf"(?i){_ALONE}([1-9]|[12]\d|3[01])(?= (?:{_MONTHS['ru']})\b)"), _russian("g", "m")),
        (re.compile(r"\b(\d{1,4})-й\b"), _russian("n", "m")),
        (re.compile(r"\b(\d{1,4})-я\b"), _russian("n", "f")),
        (re.compile(r"\b(\d{1,4})-е\b"), _russian("n", "n")),
        (re.compile(r"\b(\d{1,4})-го\b"), _russian("g", "m")),
        (re.compile(r"\b(\d{1,4})-м\b"), _russian("p", "m")),
    ],
    "id": [(re.compile(r"\bke-(\d{1,3})\b"), lambda match: "pertama" if match[1] == "1" else f"ke{say(int(match[1]), 'id')}")],
    "ms": [(re.compile(r"\bke-(\d{1,3})\b"), lambda match: "pertama" if match[1] == "1" else f"ke{say(int(match[1]), 'ms')}")],
    "fil": [
        (
            re.compile(r"\bika-([1-9])\b"),
            _fixed(*zip("123456789", "una ikalawa ikatlo ikaapat ikalima ikaanim ikapito ikawalo ikasiyam".split(), strict=True)),
        )
    ],
    "vi": [(re.compile(r"(?<=thứ )([14])\b"), _fixed(("1", "nhất"), ("4", "tư")))],
    "ko": [
        (re.compile(r"(?<![\d.,:/])(\d{1,2})(?= ?(?:시(?!간?\w*즌)|살|개(?!월)|명|마리|잔|병|번째|권|송이|그루|벌|켤레))"),
         lambda match: korean_native(int(match[1]))),
    ],
    "zh": [
        (re.compile(r"(?<!\d)(\d{4})(?=年)"), lambda match: "".join(_HAN_DIGITS[int(digit)] for digit in match[1])),
        (re.compile(_LONE_TWO), lambda match: "两"),
    ],
    "yue": [
        (re.compile(r"(?<!\d)(\d{4})(?=年)"), lambda match: "".join(_HAN_DIGITS[int(digit)] for digit in match[1])),
        (re.compile(_LONE_TWO), lambda match: "兩"),
    ],
}  # fmt: skip
