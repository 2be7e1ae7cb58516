"""Owns which language rows count as that state none: by their script where it decides, by a name, else by their file's form.

Input: references and the names of their sets, of one file. Output: a language or None for each, and why; a sentence on it for
every report. Latin letters alone never decide. Which letters are whose: the Unicode blocks of each script.
"""

import re
from collections import Counter
from collections.abc import Sequence

from qasr_train.errors import DataError
from qasr_train.text.languages import LANGUAGE_CODES, LANGUAGES, resolve_language

BY_SCRIPT, BY_NAME, BY_FORM = "their script", "the name of file or set", "as the leaderboard's manifests are"
UNSTATED = "name no language"  # in every sentence on such rows
LATIN, HAN, KANA = "Latin", "Han", "kana"
_LETTERS = {
    LATIN: "A-Za-z\u00c0-\u024f\u1e00-\u1eff",
    HAN: "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f",
    KANA: "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f",
    "Hangul": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "Thai": "\u0e00-\u0e7f",
    "Greek": "\u0370-\u03ff\u1f00-\u1fff",
    "Cyrillic": "\u0400-\u052f",
    "Arabic": "\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc",
    "Devanagari": "\u0900-\u097f",
}
_PATTERNS = {script: re.compile(f"[{letters}]") for script, letters in _LETTERS.items()}
_ANY_LETTER = re.compile(r"[^\W\d_]")
# Scripts with which other languages than Latin ones are written. Where there is one, the script decides; Devanagari does not, nor
# Cyrillic and Arabic: more languages than the model's are written with them.
_OF_SCRIPT = {
    HAN: {"Chinese", "Cantonese", "Japanese"},
    KANA: {"Japanese"},
    "Hangul": {"Korean"},
    "Thai": {"Thai"},
    "Greek": {"Greek"},
    "Cyrillic": {"Russian", "Macedonian"},
    "Arabic": {"Arabic", "Persian"},
    "Devanagari": {"Hindi"},
}
_OF_SCRIPT[LATIN] = set(LANGUAGES) - set().union(*_OF_SCRIPT.values())
_DECIDES = {KANA: "Japanese", "Hangul": "Korean", "Thai": "Thai", "Greek": "Greek"}
_WEIGHTS = {HAN: 3, KANA: 3, "Hangul": 3}  # a syllable or more each: "저는 Microsoft Office 사용해요" is Korean
_MIN_KANA = 0.1  # of kana and Han: Chinese texts hold a の now and then, Japanese ones over a third
_WITH_NAMES = re.compile("[" + "".join(_LETTERS.values()) + "]")
# What names of files and sets end in, besides a language.
_SPLIT_WORDS = frozenset(
    "test dev train val valid validation eval clean other predictions manifest results v1 v2".split()
)
_SCRIPT_TAGS = frozenset("hans hant latn cyrl arab".split())
_WORDS = frozenset("it id hi ms fa el th da fi".split())  # codes that are words or units of their own, as in speaker_id


Reason = tuple[str | None, str]  # (language, why)


def languages_of_unstated(
    texts: Sequence[str | None], set_names: Sequence[str], *, is_leaderboards: bool
) -> list[Reason]:
    """The language of each row that states none, and why; (None, "") where nothing decides.

    Args:
        texts: references; None where there is none.
        set_names: of the set of each row.
        is_leaderboards: the rows have the leaderboard's form, where Latin letters without other evidence count as English.
    """
    scripts = [None if text is None else script_of(text) for text in texts]
    if scripts.count(KANA) >= scripts.count(HAN):  # a Japanese row may hold kanji alone
        scripts = [KANA if script == HAN else script for script in scripts]
    return [
        _language(name, script, is_leaderboards=is_leaderboards)
        for name, script in zip(set_names, scripts, strict=True)
    ]


def describe_reasons(reasons: Counter[Reason], num_rows: int) -> list[str]:
    """What to say of rows whose language was taken from elsewhere; nothing where all state it. num_rows: in all."""
    if not reasons:
        return []
    parts = [f"{language} {number} ({why})" for (language, why), number in reasons.most_common()]
    return [
        f"{sum(reasons.values())} of {num_rows} rows {UNSTATED}; they are scored by the rules for {', '.join(parts)}: state it "
        "with language=NAME, or as the language of the source"
    ]


def _language(set_name: str, script: str | None, *, is_leaderboards: bool) -> Reason:
    decided = _DECIDES.get(script or "")
    if decided is not None:
        return decided, BY_SCRIPT
    named = language_of_name(set_name, takes_words=is_leaderboards)
    if named is not None and (script is None or is_written_with(named, script)):
        return named, BY_NAME
    if script == HAN:
        return "Chinese", BY_SCRIPT
    return ("English", BY_FORM) if is_leaderboards and script in (LATIN, None) else (None, "")


def script_of(text: str) -> str | None:
    """The script of most letters of a text, "other" for one without a name here; None where it holds no letter.

    A letter that is a syllable or a word counts three times. Japanese is `kana` with kanji in between; Han without any kana to
    speak of is `Han`.
    """
    if text.isascii():
        return LATIN if _ANY_LETTER.search(text) else None
    counts = {name: len(found.findall(text)) * _WEIGHTS.get(name, 1) for name, found in _PATTERNS.items()}
    counts["other"] = len(_ANY_LETTER.findall(_WITH_NAMES.sub("", text)))
    num_kana, num_han = counts.pop(KANA), counts.pop(HAN)
    is_japanese = num_kana >= _MIN_KANA * (num_kana + num_han)
    counts[KANA if is_japanese else HAN] = num_kana + num_han
    script, number = max(counts.items(), key=lambda one: one[1])
    return script if number else None


def is_written_with(language: str, script: str | None) -> bool:
    """Whether a language of the model is written with a script."""
    return language in _OF_SCRIPT.get(script or "", ())


def language_of_name(name: str, *, takes_words: bool = False) -> str | None:
    """The language that the name of a file or a set ends in: a name or code, split words behind it left aside.

    takes_words: codes that are words too ("it", "id") count, as in names that somebody made by a rule.
    """
    parts = [part for part in re.split(r"[\s_.\-]+", name.lower()) if part]
    while parts and parts[-1] in _SPLIT_WORDS:
        parts.pop()
    for number in (3, 2, 1):
        spelling = "-".join(parts[-number:])
        is_known = number > 1 or spelling in LANGUAGE_CODES.values() or spelling.capitalize() in LANGUAGES
        if len(parts) < number or not is_known or (spelling in _WORDS and not takes_words):
            continue
        found = _resolved(spelling)
        if found is not None and (number == 1 or _is_locale(parts[-number:])):
            return found
    return None


def _is_locale(parts: list[str]) -> bool:
    """Whether these are a language and its script or region: `pt br`, `cmn hans cn`."""
    return 2 <= len(parts[0]) <= 3 and all(len(part) == 2 or part in _SCRIPT_TAGS for part in parts[1:])


def _resolved(spelling: str) -> str | None:
    try:
        return resolve_language(spelling, where="")
    except DataError:
        return None
