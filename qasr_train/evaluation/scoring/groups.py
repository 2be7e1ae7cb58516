"""Owns the parting of a run into sets, languages ...: each part is measured once, however many names it has.

Input: utterances, or pairs of them, and how a part is measured. Output: what it was measured to, by name.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Measured = TypeVar("Measured")


class Groups(Generic[Item, Measured]):
    """Parts of a run; those of the same items (the only set, in the only language) are measured once."""

    def __init__(self, items: Sequence[Item], measure: Callable[[list[Item]], Measured]) -> None:
        self._items = items
        self._measure = measure
        self._known: dict[tuple[int, ...], Measured] = {}

    def by(self, key: Callable[[Item], Any]) -> dict[Any, Measured]:
        """What the parts measure, per value of `key`, sorted by it."""
        parts: dict[Any, list[int]] = defaultdict(list)
        for index, item in enumerate(self._items):
            parts[key(item)].append(index)
        return {name: self._measured(tuple(parts[name])) for name in sorted(parts)}

    def _measured(self, indices: tuple[int, ...]) -> Measured:
        if indices not in self._known:
            self._known[indices] = self._measure([self._items[index] for index in indices])
        return self._known[indices]
