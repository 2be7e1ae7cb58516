"""Owns lexicons of equal spellings: words that are right however a house writes them ("email" and "e mail").

Input: `spellings=FILE`: equal spellings in a line, apart by tabs; lines below `[Hindi]` hold for that language alone, those above
any heading for all; `#` begins a comment line. Output: `SpellingLexicon`.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from qasr_train.errors import DataError
from qasr_train.text.languages import resolve_language
from qasr_train.text.terms import read_text_file

_HEADING = re.compile(r"\[(.+)\]")


@dataclass(frozen=True, slots=True)
class SpellingLexicon:
    """Equal spellings. groups: language (None: every one) -> groups of them; digest: of the file's bytes."""

    path: str
    digest: str
    groups: dict[str | None, list[tuple[str, ...]]]

    def of_language(self, language: str | None) -> list[tuple[str, ...]]:
        """The groups that hold in a language."""
        own = self.groups.get(language, []) if language is not None else []
        return [*self.groups.get(None, []), *own]

    @property
    def num_groups(self) -> int:
        """How many groups there are, over all languages."""
        return sum(map(len, self.groups.values()))


def read_spellings(path: str | Path, key: str = "spellings") -> SpellingLexicon:
    """Read a lexicon, UTF-8.

    Args:
        key: the setting that names the file, for messages.

    Raises:
        ConfigError: no such file. DataError: not text, no group in it, a line with one spelling, a spelling in two groups, a
            heading that is no language (file:line).
    """
    content, lines = read_text_file(path, key, "name a file with equal spellings in a line, apart by tabs")
    groups: dict[str | None, list[tuple[str, ...]]] = {}
    language, seen = None, dict[tuple[str | None, str], int]()
    for number, line in enumerate(lines, start=1):
        where, stripped = f"{path}:{number}", line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if heading := _HEADING.fullmatch(stripped):
            language = resolve_language(heading[1], where=where)
            continue
        group = tuple(dict.fromkeys(part.strip() for part in line.split("\t") if part.strip()))
        if len(group) < 2:
            raise DataError(
                f"{where}: {stripped[:60]!r} stands alone; write equal spellings in one line, apart by tabs"
            )
        for spelling in group:
            first = seen.setdefault((language, spelling), number)
            if first != number:
                raise DataError(f"{where}: {spelling!r} stands in line {first} too; write equal spellings in one line")
        groups.setdefault(language, []).append(group)
    if not groups:
        raise DataError(f"{path}: holds no spellings; write those that are equal in one line, apart by tabs")
    return SpellingLexicon(str(path), hashlib.sha256(content).hexdigest()[:16], groups)
