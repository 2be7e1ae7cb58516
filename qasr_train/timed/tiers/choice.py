"""Owns which tiers of a file hold what was said, by whom, and how they become segments: layers or speakers, turns or words.

Input: tiers, and the names a user gave for them. Output: segments with the words that lie in them; one sentence where tiers lie
over one another, so that they are layers (sentence, gloss, translation) of which nobody said which is meant.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from qasr_train.config.patterns import matches_any
from qasr_train.errors import DataError
from qasr_train.timed.base import TimedSegment, TimedWord, segments_of_words

KEY = "tiers"  # the setting of a source
JOINED = " - "  # between speaker and kind, as the Montreal Forced Aligner names tiers
SEGMENTS, WORDS, UNPLACED = "segments", "words", "unplaced"  # as we name our own
_OF_WORDS = {WORDS, "word", "ort", "ort-mau"}  # MFA, praatio; WebMAUS
_OF_SOUNDS = {"phones", "phone", "phonemes", "phoneme", "mau", "kan-mau", UNPLACED}
# Names that say what a tier is, and not who speaks in it.
_LAYERS = {
    SEGMENTS,
    "",
    "ort",
    "text",
    "trn",
    "transcript",
    "transcription",
    "sentence",
    "sentences",
    "utterance",
    "utterances",
    "phrase",
    "phrases",
}
_SILENCES = {"", "sil", "sp", "<eps>", "<sil>", "<p:>"}  # in tiers of words, by Kaldi, MFA and WebMAUS
_TOUCHING_S, _LONG_WORD_S = 0.05, 1.0
_ALIKE = 0.8  # share of the letters of a tier that its words must have


@dataclass(frozen=True, slots=True)
class Tier:
    """One tier. spans: (start, end, text) of what is annotated, by time, seconds; those without text too.

    speaker: whom the file names; "" where it names nobody, and then a tier's own name may be one.
    is_dependent: whether it annotates another tier (ELAN's translations, glosses, words).
    """

    name: str
    spans: Sequence[tuple[float, float, str]]
    speaker: str = ""
    is_dependent: bool = False


@dataclass(frozen=True, slots=True)
class _Role:
    """A tier and what it is taken for: turns of a speaker, or words. spans: those with text."""

    tier: Tier
    speaker: str
    is_of_words: bool
    spans: list[tuple[float, float, str]] = field(default_factory=list)

    @property
    def is_called_words(self) -> bool:
        """Whether it is of words, and its name says so."""
        return self.is_of_words and _kind(self.tier.name) in _OF_WORDS


def segments_of_tiers(tiers: Sequence[Tier], wanted: Sequence[str], where: str) -> list[TimedSegment]:
    """What was said, by time: turns with the words whose middle lies in them; of words alone, parted at pauses.

    Args:
        wanted: names or patterns of tiers; (): those that can be told. Independent tiers are speakers, but for tiers of sounds; a
            tier of words goes before all that do not say the same.

    Raises:
        DataError: no tier of such a name; tiers lie over one another; all are of sounds. Begins with `where`.
    """
    roles = _named(tiers, wanted, where) if wanted else _told(tiers, where)
    words: dict[str, list[TimedWord]] = {}
    for role in roles:
        if role.is_of_words:
            words.setdefault(role.speaker, []).extend(_words(role))
    turns = [role for role in roles if not role.is_of_words]
    found = list[TimedSegment]()
    for role in turns:
        own = words.get(role.speaker, words.get("", []))
        found += [_with_words(TimedSegment(*span, speaker=role.speaker), own) for span in role.spans]
    taken = {role.speaker if role.speaker in words else "" for role in turns}
    for speaker in words.keys() - taken:
        found += segments_of_words(sorted(words[speaker], key=lambda one: one.start_s or 0.0), speaker)
    return sorted(found, key=lambda one: one.start_s)


def _named(tiers: Sequence[Tier], wanted: Sequence[str], where: str) -> list[_Role]:
    found = [one for one in tiers if one.name in wanted or matches_any(f"source.{KEY}", wanted, one.name)]
    if not found:
        raise DataError(f"{where}: has no tier {' or '.join(wanted)}; it has {_listed(tiers)}: correct {KEY}")
    return _roles(found, is_layer=len(wanted) == 1 and wanted[0] == found[0].name)


def _told(tiers: Sequence[Tier], where: str) -> list[_Role]:
    """The tiers that hold what was said, as far as names, texts and times tell it."""
    filled = [one for one in tiers if not one.is_dependent and any(text for _, _, text in one.spans)]
    spoken = [one for one in filled if _kind(one.name) not in _OF_SOUNDS]
    if filled and not spoken:
        raise DataError(f"{where}: has tiers of sounds alone ({_listed(filled)}); name one of words as {KEY}")
    roles = _roles(spoken)
    common = [word for role in roles if role.is_called_words and not role.speaker for word in _words(role)]
    with_own = {role.speaker for role in roles if role.is_called_words and role.speaker}
    if common:
        roles = [
            role
            for role in roles
            if role.is_called_words or role.speaker in with_own or (not role.is_of_words and _says(role, common))
        ]
    over = _over_one_another([role for role in roles if not role.is_called_words])
    if over:
        raise DataError(
            f"{where}: has tiers that lie over one another ({_listed(over)}); name the one that holds what was said: "
            f"{KEY}=[NAME], or several speakers' tiers: {KEY}=[NAME,NAME]"
        )
    return roles


def _roles(tiers: Sequence[Tier], *, is_layer: bool = False) -> list[_Role]:
    """is_layer: a tier's own name is nobody's."""
    names = {one.name for one in tiers}
    roles = []
    for one in tiers:
        head, joined, _ = one.name.rpartition(JOINED)
        spans = [span for span in one.spans if span[2]]
        has_words_beside = any(f"{one.name}{JOINED}{kind}" in names for kind in _OF_WORDS)
        is_of_words = _is_of_words(one.name, spans) and not has_words_beside
        named = head if joined and _kind(one.name) in _OF_WORDS else one.name.strip()
        is_nobodys = is_layer or named.lower() in _LAYERS | _OF_WORDS
        roles.append(_Role(one, one.speaker or ("" if is_nobodys else named), is_of_words, spans))
    return roles


def _kind(name: str) -> str:
    """What a tier is by its name: "words" of "anna - words"."""
    return name.rpartition(JOINED)[2].strip().lower()


def _is_of_words(name: str, spans: Sequence[tuple[float, float, str]]) -> bool:
    """By its name, where its texts are mostly single words; or as single short words that mostly follow without a pause."""
    num_single = sum(" " not in text for _, _, text in spans)
    if _kind(name) in _OF_WORDS:
        return 2 * num_single > len(spans)
    if num_single < len(spans) or len(spans) < 2:
        return False
    num_touching = sum(b[0] - a[1] < _TOUCHING_S for a, b in pairwise(spans))
    is_short = sum(end - start for start, end, _ in spans) < _LONG_WORD_S * len(spans)
    return is_short and 2 * num_touching >= len(spans) - 1


def _words(role: _Role) -> list[TimedWord]:
    return [TimedWord(text, start, end) for start, end, text in role.spans if text.lower() not in _SILENCES]


def _says(role: _Role, words: Sequence[TimedWord]) -> bool:
    """Whether turns have the letters of the words that lie in them; those in which none lies do not count. Our own have them."""
    if _kind(role.tier.name) == SEGMENTS:
        return True
    num_letters, num_alike = 0, 0
    for span in role.spans:
        inside = _with_words(TimedSegment(*span), words).words
        if inside:
            own, theirs = _letters(span[2]), _letters(" ".join(word.text for word in inside))
            num_letters += max(own.total(), theirs.total())
            num_alike += (own & theirs).total()
    return num_letters > 0 and num_alike >= _ALIKE * num_letters


def _letters(text: str) -> Counter[str]:
    return Counter(filter(str.isalnum, text.casefold()))


def _over_one_another(roles: Sequence[_Role]) -> list[Tier]:
    """Tiers of which at least half the turns begin and end where turns of another do, as those of two speakers do not."""
    over = dict[str, Tier]()
    for number, one in enumerate(roles):
        for other in roles[number + 1 :]:
            few, many = sorted((one.spans, other.spans), key=len)
            starts, ends = {round(span[0], 2) for span in many}, {round(span[1], 2) for span in many}
            num_over = sum(round(start, 2) in starts and round(end, 2) in ends for start, end, _ in few)
            if 2 * num_over >= len(few):
                over |= {role.tier.name: role.tier for role in (one, other)}
    return list(over.values())


def _with_words(segment: TimedSegment, words: Sequence[TimedWord]) -> TimedSegment:
    """The segment with the words whose middle lies in it."""
    inside = tuple(
        word for word in words if segment.start_s <= ((word.start_s or 0.0) + (word.end_s or 0.0)) / 2 < segment.end_s
    )
    return replace(segment, words=inside)


def _listed(tiers: Sequence[Tier]) -> str:
    return ", ".join(one.name or '""' for one in tiers) or "none"
