"""Owns clips: utterances whose recordings were decoded; which of them can be used, and which are the same sound.

Input: clips and limits. Output: the clips to go on with, and a `Reject` with its reason for each other one.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from qasr_train.corpus.debris import Debris, mended
from qasr_train.corpus.summary import OTHER_TEXT, Reject
from qasr_train.corpus.worker import Measured
from qasr_train.errors import DataError
from qasr_train.manifest import Utterance
from qasr_train.text.alternatives.notation import first_spelling

_MODEL_TOKENS = re.compile(r"<\|[A-Za-z_]+\|>|<asr_text>|<timestamp>")


@dataclass(frozen=True, slots=True)
class Clip:
    """An utterance whose recording was decoded, and what was found."""

    utterance: Utterance
    measured: Measured

    @property
    def digest(self) -> str:
        """The digest of the sound; of digital silence a different one for each clip, as silence is no recording."""
        return self.measured.digest if self.measured.peak > 0 else f"silence of {self.utterance.id}"


def reject_unusable(
    clips: Sequence[Clip], *, min_duration_s: float, max_duration_s: float
) -> tuple[list[Clip], list[Reject]]:
    """(clips that can be used, rejects) by length, silence and transcript."""
    good, rejects = [], []
    for clip in clips:
        reason = _fault(clip, min_duration_s, max_duration_s)
        if reason is None:
            good.append(clip)
        else:
            rejects.append(Reject.of(clip.utterance, reason))
    return good, rejects


def _fault(clip: Clip, min_duration_s: float, max_duration_s: float) -> str | None:
    duration_s, text = clip.measured.duration_s, clip.utterance.text
    if duration_s < min_duration_s:
        return f"lasts {duration_s:g} s, less than min_duration_s={min_duration_s:g}"
    if duration_s > max_duration_s:
        return f"lasts {duration_s:g} s, more than max_duration_s={max_duration_s:g}"
    if text is None:
        return 'has no transcript (text is null); set it to "" where nobody speaks'
    if text and clip.measured.peak == 0.0:
        return "is digital silence, yet has a transcript"
    try:
        first_spelling(text)
    except DataError as error:
        return f"its alternatives cannot be read: {error}"
    token = _MODEL_TOKENS.search(text)
    return f"its transcript holds {token[0]!r}, a token of the model" if token else None


def mend_transcripts(
    clips: Sequence[Clip], kinds: Collection[Debris]
) -> tuple[list[Clip], list[Reject], dict[Debris, int]]:
    """(clips whose transcripts hold no debris of these kinds, rejects, kind -> transcripts it was taken out of).

    A transcript of remarks alone is rejected: whether somebody speaks there, it does not say.
    """
    good, rejects, counts = [], [], Counter[Debris]()
    for clip in clips:
        text = clip.utterance.text
        found = [kind for kind in kinds if text and kind.is_in(text)]
        if text is None or not found:
            good.append(clip)
            continue
        rest = mended(text, frozenset(found))
        if not rest:
            reason = f"its transcript is nothing but {found[0].value} ({text[:40]!r}); whether anybody speaks it does not say"
            rejects.append(Reject.of(clip.utterance, reason))
            continue
        counts.update(found)
        good.append(replace(clip, utterance=replace(clip.utterance, text=rest)))
    return good, rejects, dict(counts)


def find_duplicates(clips: Sequence[Clip]) -> tuple[list[Clip], list[Reject]]:
    """(the first clip of each sound, the others as rejects)."""
    first: dict[str, Clip] = {}
    repeated = []
    for clip in clips:
        original = first.setdefault(clip.digest, clip)
        if original is clip:
            continue
        has_same_text = original.utterance.text == clip.utterance.text
        what = "same sound and text" if has_same_text else OTHER_TEXT
        where = f" ({original.utterance.origin})" if original.utterance.origin else ""
        repeated.append(Reject.of(clip.utterance, f"{what} as {original.utterance.id}{where}"))
    return list(first.values()), repeated
