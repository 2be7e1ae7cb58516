"""Owns what a stream showed and when: the updates of one recording beside the times of its reference words. Imports no torch.

Input: updates of a session; or `streamed` of a row of predictions.jsonl. Output: the other of the two. A row holds of each update
what is new: seconds heard, how many characters of the text before it stay, what stands behind them, how many are certain to stay.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from qasr_train.errors import DataError
from qasr_train.files import without_lone_surrogates
from qasr_train.timed.base import TimedWord
from qasr_train.timed.jsonl import row_of_word, word_of


class Shown(NamedTuple):
    """One update: after heard_s seconds of audio this text stood there, of which num_stable characters will not change."""

    heard_s: float
    text: str
    num_stable: int


@dataclass(frozen=True, slots=True)
class Streamed:
    """updates: in order, the last with the whole text. words: of the reference, in seconds of the clip; () where not known."""

    updates: tuple[Shown, ...]
    words: tuple[TimedWord, ...] = ()

    def row(self) -> dict[str, Any]:
        """As predictions.jsonl has it."""
        rows, before = [], ""
        for one in self.updates:
            num_kept = _num_common(before, one.text)
            rows.append([round(one.heard_s, 3), num_kept, one.text[num_kept:], one.num_stable])
            before = one.text
        return {"updates": rows} | ({"words": [row_of_word(word) for word in self.words]} if self.words else {})

    @classmethod
    def parse(cls, field: Any, where: str) -> "Streamed | None":
        """What `row` wrote; None for None.

        Raises:
            DataError: it is something else; begins with `where`.
        """
        if field is None:
            return None
        if not isinstance(field, dict) or not isinstance(field.get("updates"), list):
            raise DataError(
                f"{where}: `streamed` is {field!r:.80}; expected an object with `updates`, as evaluate writes it"
            )
        words = field.get("words") or []
        if not isinstance(words, list):
            raise DataError(f"{where}: `words` is {words!r:.80}; expected a list, as evaluate writes it")
        updates: list[Shown] = []
        for one in field["updates"]:
            before = updates[-1] if updates else Shown(0.0, "", 0)
            if not _is_update(one, before):
                raise DataError(
                    f"{where}: an update is {one!r:.80}; expected [seconds heard, characters kept, text, characters that stay]"
                )
            heard_s, num_kept, new, num_stable = one
            updates.append(Shown(float(heard_s), before.text[:num_kept] + without_lone_surrogates(new), num_stable))
        return cls(tuple(updates), tuple(word_of(one, where) for one in words))


def _num_common(before: str, text: str) -> int:
    """Characters with which both begin; by halves, since the texts of an hour are long."""
    low, high = 0, min(len(before), len(text))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text.startswith(before[:middle]) else (low, middle - 1)
    return low


def _is_update(one: Any, before: Shown) -> bool:
    if not isinstance(one, list) or len(one) != 4 or any(isinstance(value, bool) for value in one):
        return False
    heard_s, num_kept, new, num_stable = one
    return (
        isinstance(heard_s, int | float)
        and heard_s >= before.heard_s
        and isinstance(num_kept, int)
        and 0 <= num_kept <= len(before.text)
        and isinstance(new, str)
        and isinstance(num_stable, int)
        and 0 <= num_stable <= num_kept + len(new)
    )
