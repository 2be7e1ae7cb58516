"""Owns what became of the rows of a source while it was read: rows in, utterances out, and the difference by reason.

Input: each row as a reader meets it. Output: `Intake`, the same noun for every format, as a line and as plain values.
"""

from dataclasses import dataclass, field
from typing import Any

from qasr_train.manifest import Utterance

NO_SPLIT = "no split named"
NOT_USABLE = "refused as they stand"


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that is no utterance as it stands: the utterance without what is wrong with it, and why."""

    utterance: Utterance
    reason: str


@dataclass
class Intake:
    """Rows of one source, counted as they are read; of a stream, those that this process has read so far, in all passes.

    splits: what the rows read name as their split ("" where they name none) -> how many. left_out: reason -> rows.
    refused: rows that are no utterances, where the caller takes them instead of an error.
    end: why reading ended before the source did; None: it did not.
    """

    splits: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    refused: list[RefusedRow] = field(default_factory=list)
    end: str | None = None

    @property
    def num_rows(self) -> int:
        """Rows read."""
        return sum(self.splits.values())

    @property
    def num_taken(self) -> int:
        """Rows that became utterances."""
        return self.num_rows - sum(self.left_out.values()) - len(self.refused)

    def see(self, split: str | None, number: int = 1) -> None:
        """Count rows read, by what they name as their split."""
        self.splits[split or ""] = self.splits.get(split or "", 0) + number

    def leave_out(self, reason: str, number: int = 1) -> None:
        """Count rows that are not taken."""
        if number:
            self.left_out[reason] = self.left_out.get(reason, 0) + number

    def differences(self) -> dict[str, int]:
        """Reason -> rows that did not become utterances."""
        return self.left_out | ({NOT_USABLE: len(self.refused)} if self.refused else {})

    def describe(self) -> str:
        """One line: rows in, utterances out, and why they are not as many."""
        parts = [f"{number} {reason}" for reason, number in self.differences().items()]
        left_out = f"; left out: {', '.join(parts)}" if parts else ""
        return f"{self.num_rows} rows read, {self.num_taken} taken{left_out}{f'; {self.end}' if self.end else ''}"

    def record(self) -> dict[str, Any]:
        """As a run's record has it."""
        ended = {"ended": self.end} if self.end else {}
        return {"num_rows": self.num_rows, "num_taken": self.num_taken, "left_out": self.differences(), **ended}


def of_split(split: str | None) -> str:
    """The reason why a row of a split is not taken."""
    return f"of split {split}" if split else f"with {NO_SPLIT}"
