"""Owns what a careful person would check in a corpus before training on it: scripts, speaking rates, style, what splits share.

Input: the prepared utterances. Output: an `Audit`: figures, and lists of clips to look at. Nothing is changed or rejected.
"""

import math
import statistics
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from qasr_train.corpus.findings import Finding, Severity
from qasr_train.corpus.runs_of_words import NGRAM, ngram_hashes, plain_words
from qasr_train.manifest import Utterance
from qasr_train.text.alternatives.notation import first_spelling, has_alternatives
from qasr_train.text.style import SetStyle, set_style, style_remarks
from qasr_train.text.tokens import script_of

UNKNOWN = "unknown language"
COVERED_FRACTION = 0.5  # of a text's words inside shared n-grams, from which the text counts as known
OUTLIER_DEVIATIONS = 5.0  # robust standard deviations of the logarithm of the rate
MIN_CLIPS_FOR_OUTLIERS = 30
MIN_DURATION_S = 1.0  # the rate of a shorter clip is mostly the silence around it
MAX_LISTED = 50

_LATIN = frozenset({"LATIN"})
_HAN = frozenset({"CJK", "IDEOGRAPHIC"})
# First word of a letter's Unicode name. Languages not listed are written in Latin letters.
_SCRIPTS = {
    "Chinese": _HAN | _LATIN,  # Latin: names and abbreviations are common in it
    "Cantonese": _HAN | _LATIN,
    "Japanese": _HAN | {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"} | _LATIN,
    "Korean": frozenset({"HANGUL"}) | _LATIN,
    "Arabic": frozenset({"ARABIC"}),
    "Persian": frozenset({"ARABIC"}),
    "Russian": frozenset({"CYRILLIC"}),
    "Macedonian": frozenset({"CYRILLIC"}),
    "Greek": frozenset({"GREEK"}),
    "Hindi": frozenset({"DEVANAGARI"}),
    "Thai": frozenset({"THAI"}),
}


@dataclass(frozen=True)
class ForeignCharacter:
    """A character that the language is not written with: how often it stands there, in how many clips, the first of these."""

    language: str
    character: str
    name: str
    count: int
    num_clips: int
    ids: list[str]


@dataclass(frozen=True)
class RateOutlier:
    """A clip with far more or far fewer characters a second than others of its language. text: its transcript."""

    id: str
    language: str
    characters_per_s: float
    median_characters_per_s: float
    text: str


@dataclass(frozen=True)
class SharedText:
    """What the texts of split `of` share with those of `within`, beyond equal texts (see `splits.Overlap`).

    num_long: clips of `of` with at least NGRAM words. covered: (id, share of its words inside shared n-grams) of those that are
    known by more than COVERED_FRACTION, the most known first.
    """

    of: str
    within: str
    num_long: int
    covered: list[tuple[str, float]]


@dataclass(frozen=True)
class Audit:
    """Everything found. rates: characters a second of the clips of each language; repeats: texts the same speaker said again."""

    foreign: list[ForeignCharacter]
    rates: dict[str, list[float]]
    outliers: list[RateOutlier]
    styles: dict[str, SetStyle]
    style_remarks: list[str]
    shared_texts: list[SharedText]
    num_repeats: int

    def remarks(self) -> list[str]:
        """One line for everything a person should look at."""
        return [one.text for one in self.findings()]

    def findings(self) -> list[Finding]:
        """The same, with how bad each is and of which clips."""
        found = [
            Finding(
                Severity.FAULT,
                f"{one.count} times {one.character!r} ({one.name}) in {one.language} (e.g. {', '.join(one.ids[:3])})",
                one.ids,
                one.num_clips,
            )
            for one in self.foreign[:5]
        ]
        if len(self.foreign) > 5:
            text = f"{len(self.foreign) - 5} more characters outside the script of their language"
            found.append(Finding(Severity.FAULT, text))
        if self.outliers:
            ids = [one.id for one in self.outliers]
            text = f"{len(ids)} clips with far too much or too little text for their length (e.g. {', '.join(ids[:3])})"
            found.append(Finding(Severity.FAULT, text, ids[:MAX_LISTED], len(ids)))
        found += [_leak(shared) for shared in self.shared_texts if shared.covered]
        if self.num_repeats:
            text = f"{self.num_repeats} clips repeat a text that the same speaker said before"
            found.append(Finding(Severity.FACT, text, (), self.num_repeats))
        return found + [Finding(Severity.LOOK, remark) for remark in self.style_remarks]


def _as_taught(utterance: Utterance) -> Utterance:
    """Of several right spellings the first: the others would look like foreign signs and too much text."""
    text = utterance.text
    return replace(utterance, text=first_spelling(text)) if text and has_alternatives(text) else utterance


def _leak(shared: SharedText) -> Finding:
    ids = [utterance_id for utterance_id, _ in shared.covered]
    text = (
        f"LEAK: {len(ids)} of {shared.num_long} long texts of {shared.of} stand for the most part in {shared.within} (runs of "
        f"{NGRAM} words; e.g. {ids[0]})"
    )
    return Finding(Severity.LEAK, text, ids[:MAX_LISTED], len(ids))


def audit_corpus(utterances: Sequence[Utterance]) -> Audit:
    """Look at everything; durations must be known."""
    by_language: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in (utterances := [_as_taught(one) for one in utterances]):
        by_language[utterance.language or UNKNOWN].append(utterance)
    rates = {name: found for name, group in by_language.items() if (found := [r for _, r in _rates(group)])}
    # Per language: that German writes nouns large is no mixture with English.
    styles = {name: set_style((u.text or "", u.language) for u in group) for name, group in by_language.items()}
    return Audit(
        foreign=_foreign(by_language),
        rates=rates,
        outliers=[one for name, group in by_language.items() for one in _outliers(name, group)],
        styles=styles,
        style_remarks=[remark for name, style in styles.items() for remark in style_remarks({name: style})],
        shared_texts=find_shared_texts(utterances),
        num_repeats=_num_repeats(utterances),
    )


def find_shared_texts(utterances: Sequence[Utterance]) -> list[SharedText]:
    """What the long texts of each pair of splits share; the split with fewer clips is looked up in the other.

    Method: a word is known if it lies in a run of NGRAM words that stands in the other split as well, as language models are
    checked for contamination (Brown et al. 2020, appendix C, with 13 words; sentences are shorter in speech).
    """
    by_split: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        if utterance.split is not None:
            by_split[utterance.split].append(utterance)
    ordered = sorted(by_split, key=lambda split: (len(by_split[split]), split))
    ngrams = {split: _all_ngrams(by_split[split]) for split in ordered[1:]}
    return [
        _shared_text(small, large, by_split[small], ngrams[large])
        for position, small in enumerate(ordered)
        for large in ordered[position + 1 :]
    ]


def _shared_text(small: str, large: str, utterances: Sequence[Utterance], known: set[int]) -> SharedText:
    long = [(u.id, words) for u in utterances if len(words := plain_words(u)) >= NGRAM]
    shares = [(utterance_id, _covered(words, known)) for utterance_id, words in long]
    covered = sorted((one for one in shares if one[1] > COVERED_FRACTION), key=lambda one: (-one[1], one[0]))
    return SharedText(small, large, len(long), covered)


def _covered(words: list[str], known: set[int]) -> float:
    is_covered = [False] * len(words)
    for start, ngram in enumerate(ngram_hashes(words)):
        if ngram in known:
            is_covered[start : start + NGRAM] = [True] * NGRAM
    return sum(is_covered) / len(words)


def _all_ngrams(utterances: Iterable[Utterance]) -> set[int]:
    return {ngram for utterance in utterances for ngram in ngram_hashes(plain_words(utterance))}


def _foreign(by_language: dict[str, list[Utterance]]) -> list[ForeignCharacter]:
    found = []
    for language, utterances in by_language.items():
        if language == UNKNOWN:
            continue
        expected = _SCRIPTS.get(language, _LATIN)
        counts: Counter[str] = Counter()
        ids: dict[str, list[str]] = defaultdict(list)
        for utterance in utterances:
            for character, number in Counter(utterance.text or "").items():
                if script_of(character) not in expected:
                    counts[character] += number
                    ids[character].append(utterance.id)
        found += [
            ForeignCharacter(
                language, c, unicodedata.name(c, f"U+{ord(c):04X}").lower(), number, len(ids[c]), ids[c][:MAX_LISTED]
            )
            for c, number in counts.items()
            if _is_wrong(c)
        ]
    return sorted(found, key=lambda one: -one.count)


@cache
def _is_wrong(character: str) -> bool:
    """A letter, or what no transcript holds: control and private characters, the replacement character, invisible ones."""
    category = unicodedata.category(character)
    if character in "\n\t\u200c\u200d":  # the joiners belong to Persian and Hindi spelling
        return False
    return category[0] == "L" or category in ("Cc", "Cf", "Co", "Cn", "Cs") or character == "\ufffd"


def _rates(utterances: Iterable[Utterance]) -> list[tuple[Utterance, float]]:
    return [
        (u, len(u.text.strip()) / u.duration_s)
        for u in utterances
        if u.text and u.text.strip() and u.duration_s and u.duration_s >= MIN_DURATION_S
    ]


def _outliers(language: str, utterances: Sequence[Utterance]) -> list[RateOutlier]:
    """By the median and the median deviation of log rates (Iglewicz and Hoaglin 1993), which the outliers do not move."""
    rates = _rates(utterances)
    if len(rates) < MIN_CLIPS_FOR_OUTLIERS:
        return []
    logs = [math.log(rate) for _, rate in rates]
    median = statistics.median(logs)
    deviation = 1.4826 * statistics.median(abs(one - median) for one in logs)
    far = [
        (abs(one - median), u, rate)
        for one, (u, rate) in zip(logs, rates, strict=True)
        if abs(one - median) > OUTLIER_DEVIATIONS * max(deviation, 0.05)
    ]
    far.sort(key=lambda one: -one[0])
    return [RateOutlier(u.id, language, rate, math.exp(median), u.text or "") for _, u, rate in far]


def _num_repeats(utterances: Iterable[Utterance]) -> int:
    seen: Counter[tuple[str, str]] = Counter(
        (u.speaker, " ".join(words)) for u in utterances if u.speaker is not None and len(words := plain_words(u)) >= 4
    )
    return sum(number - 1 for number in seen.values())
