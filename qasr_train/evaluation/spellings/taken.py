"""Owns what is told of a run's references with several right spellings: by which lexicon, and how often which was taken.

Input: scored rows, a lexicon or its record. Output: `UsedLexicon`; `spellings` of scores.json; the counts of a table.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qasr_train.errors import ConfigError
from qasr_train.evaluation.scoring.utterance import TakenSpelling, UtteranceScore
from qasr_train.text.alternatives.lexicon import SpellingLexicon, read_spellings


@dataclass(frozen=True, slots=True)
class UsedLexicon:
    """The lexicon of equal spellings that a run was scored with. digest: of the file."""

    path: str
    digest: str
    num_groups: int


def used_lexicon(lexicon: SpellingLexicon | None) -> UsedLexicon | None:
    """What is recorded of a lexicon; None of none."""
    return UsedLexicon(lexicon.path, lexicon.digest, lexicon.num_groups) if lexicon else None


def read_again(used: UsedLexicon | None, where: str) -> SpellingLexicon | None:
    """The lexicon that a run was scored with; None where it was scored without.

    Args:
        where: what names the run, for the message.

    Raises:
        UserError: the file cannot be read, or has changed since.
    """
    if used is None:
        return None
    lexicon = read_spellings(used.path)
    if lexicon.digest != used.digest:
        raise ConfigError(
            f"{where}: was scored with spellings={used.path}, which has changed since; give spellings= to score anew"
        )
    return lexicon


def spellings_json(rows: Sequence[UtteranceScore], used: UsedLexicon | None) -> dict[str, Any] | None:
    """`spellings` of scores.json; None where no reference has more than one and no lexicon was given."""
    places = _places(rows)
    if not places and used is None:
        return None
    lexicon = {"file": used.path, "digest": used.digest, "num_groups": used.num_groups} if used else {}
    num_others = sum(one.taken != one.spellings[0] for one in places)
    return {**lexicon, "num_places": len(places), "num_other_than_first": num_others}


def used_lexicon_of_json(content: dict[str, Any] | None) -> UsedLexicon | None:
    """The lexicon that `spellings` of a scores.json names; raises KeyError where it is not whole."""
    if not content or "file" not in content:
        return None
    return UsedLexicon(content["file"], content["digest"], content["num_groups"])


def spelling_counts(rows: Sequence[UtteranceScore]) -> list[tuple[TakenSpelling, int]]:
    """(place, how often it stood with that spelling taken) over the scored rows, the most frequent first."""
    return Counter(_places(rows)).most_common()


def _places(rows: Sequence[UtteranceScore]) -> list[TakenSpelling]:
    return [one for row in rows if row.is_scored for one in row.spellings]
