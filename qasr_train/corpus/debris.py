"""Owns what stands in transcripts though nobody says it: markup, remarks in brackets, runs of spaces.

Input: transcripts. Output: which kinds each holds; the text without those that are to be mended.
"""

import html
import re
from enum import Enum

from qasr_train.text.alternatives.notation import is_lattice


class Debris(str, Enum):
    """A kind of what a model would learn to write, though nobody says it."""

    markup = "markup"
    remarks = "remarks"
    spaces = "spaces"

    @property
    def note(self) -> str:
        """What `prepare` calls it."""
        return _NOTES[self]

    def is_in(self, text: str) -> bool:
        """Whether a transcript holds any of it; the brackets of a lattice of spellings are no remarks."""
        if self is Debris.remarks and is_lattice(text):
            return False
        return bool(_PATTERNS[self].search(text))


_NOTES = {
    Debris.markup: "markup in the transcript (<b>, &amp;)",
    Debris.remarks: "remarks in brackets in the transcript ([inaudible])",
    Debris.spaces: "runs of spaces, tabs or line breaks in the transcript",
}
# Not `<b>` and the like alone: any tag; but tokens of the model, for which a clip is rejected.
_TAG = r"</?(?!asr_text>|timestamp>)[A-Za-z][^<>]*>"
_CHARACTER = r"&(?:[A-Za-z]{2,8}\d{0,2}|#\d{1,7}|#[xX][0-9A-Fa-f]{1,6});"
_PATTERNS = {
    Debris.markup: re.compile(f"{_TAG}|{_CHARACTER}"),
    Debris.remarks: re.compile(r"\[[^\[\]]+\]"),
    Debris.spaces: re.compile(r"\s{2,}|[\t\r\n]"),
}
# Tags that part words, as a line break does; what the others enclose belongs to the word around it (`H<sub>2</sub>O`).
_PARTING_TAG = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|td|th|hr|h[1-6])\b[^<>]*>", re.IGNORECASE)


def mended(text: str, kinds: frozenset[Debris]) -> str:
    """The transcript without debris of these kinds; that of others stays, to the letter.

    Tags go, and `&amp;` becomes `&`, once; a remark goes with its brackets, with one of the spaces around it; a run of spaces or
    a line break becomes one space.
    """
    if Debris.markup in kinds:
        text = re.sub(_TAG, "", _PARTING_TAG.sub(" ", text))
        text = re.sub(_CHARACTER, lambda found: html.unescape(found[0]).replace("\xa0", " "), text)
    if Debris.remarks in kinds:
        text = re.sub(rf" ?{_PATTERNS[Debris.remarks].pattern}", "", text)
    if Debris.spaces in kinds:
        text = re.sub(r"\s+", " ", text)
    return text.strip()
