"""Owns what a person should look at in a corpus, and how bad it is if it is left as it is.

Input: what summary and audit found. Output: `Finding`s, to be told one a line in the order found, or the worst first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """What becomes of a corpus that is used as it is; the worse the higher."""

    FACT = 0  # nothing: it is told so that it is known
    LOOK = 1  # perhaps worse training: somebody should look
    FAULT = 2  # wrong transcripts or recordings are trained on, or clips are missing
    LEAK = 3  # figures of dev or test sets are too good to be true

    @property
    def meaning(self) -> str:
        """As a heading."""
        return _MEANINGS[self]


_MEANINGS = {
    Severity.LEAK: "Leaks: figures of dev or test will be too good",
    Severity.FAULT: "Faults: wrong or missing clips",
    Severity.LOOK: "To look at",
    Severity.FACT: "For the record",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence, and the ids of the clips it is about, the first few; [] where it is about none alone. num_clips: of all."""

    severity: Severity
    text: str
    ids: Sequence[str] = ()
    num_clips: int = 0


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """By severity, then by the number of clips; of equals in the order found."""
    return sorted(findings, key=lambda one: (-one.severity, -one.num_clips))
