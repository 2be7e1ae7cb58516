"""Owns the errors of utterances in which two languages meet: by script, and where one gives way to the other.

Input: scored rows. Output: the rows with their `MixedErrors`; counts of a group. MER (mixed error rate) counts characters of
scripts written without spaces and words of the others, as code-switched sets are scored (SEAME; the ASRU 2019 challenge).
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qasr_train.errors import DataError
from qasr_train.evaluation.scoring.significance import Counts
from qasr_train.evaluation.scoring.utterance import MixedErrors, UtteranceScore
from qasr_train.evaluation.scoring.word_pairs import MAX_CELLS, WordPair, word_pairs
from qasr_train.text.alternatives.notation import first_spelling
from qasr_train.text.tokens import NO_SCRIPT, mixed_tokens, script_of_token


@dataclass(frozen=True, slots=True)
class ScriptShare:
    """The part of a script in a group: tokens of the references, and errors (an inserted token is of its own script)."""

    script: str
    num_tokens: int
    num_errors: int


def require_two_scripts(texts: Iterable[str | None]) -> None:
    """Refuse references in none of which two languages can be told apart.

    Raises:
        DataError: none holds letters of two scripts.
    """
    if not any(
        _switches([script_of_token(token) for token in mixed_tokens(first_spelling(text or ""))]) for text in texts
    ):
        raise DataError(
            "mixed=true: no reference holds letters of two scripts (Chinese characters and Latin letters, say), by which alone "
            "languages are told apart here; leave mixed out"
        )


def count_mixed(rows: Sequence[UtteranceScore]) -> list[UtteranceScore]:
    """The scored rows with their errors by script and at switches; texts too long to align have none.

    Raises:
        DataError: no reference holds letters of two scripts.
    """
    require_two_scripts(row.prediction.text for row in rows if row.is_scored)
    return [replace(row, mixed=_mixed_errors(row)) if row.is_scored else row for row in rows]


def mixed_counts(rows: Sequence[UtteranceScore]) -> tuple[Counts, Counts]:
    """(errors, reference tokens) of the rows with MER: two (rows,) int arrays."""
    return _arrays([(one.num_errors, one.num_tokens) for row in rows if (one := row.mixed)])


def switch_counts(rows: Sequence[UtteranceScore]) -> tuple[Counts, Counts]:
    """(errors at switches, reference tokens beside them), likewise."""
    return _arrays([(one.num_errors_at, one.num_tokens_at) for row in rows if (one := row.mixed)])


def elsewhere_counts(rows: Sequence[UtteranceScore]) -> tuple[Counts, Counts]:
    """(errors, reference tokens) that are at no switch, likewise."""
    of_all, at = mixed_counts(rows), switch_counts(rows)
    return of_all[0] - at[0], of_all[1] - at[1]


def num_switches(rows: Sequence[UtteranceScore]) -> int:
    """Places where one script gives way to another."""
    return sum(row.mixed.num_switches for row in rows if row.mixed)


def script_shares(rows: Sequence[UtteranceScore]) -> list[ScriptShare]:
    """By script, the one with the most tokens first."""
    tokens: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for row in rows:
        for script, (num_tokens, num_errors) in (row.mixed.scripts if row.mixed else {}).items():
            tokens[script] += num_tokens
            errors[script] += num_errors
    return [ScriptShare(one, tokens[one], errors[one]) for one in sorted(tokens, key=lambda one: (-tokens[one], one))]


def _arrays(pairs: Sequence[tuple[int, int]]) -> tuple[Counts, Counts]:
    errors, tokens = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    return errors, tokens


def _mixed_errors(row: UtteranceScore) -> MixedErrors | None:
    reference, hypothesis = map(mixed_tokens, (row.counts.normalized_reference, row.counts.normalized_hypothesis))
    if len(reference) * len(hypothesis) > MAX_CELLS:
        return None
    switches = _switches([script_of_token(token) for token in reference])
    tokens, errors = Counter[str](), Counter[str]()
    num_errors_at = place = 0
    for pair in word_pairs(reference, hypothesis, merges_compounds=False):
        script = script_of_token(pair.expected or pair.heard)
        tokens[script] += bool(pair.expected)
        errors[script] += not pair.is_same
        num_errors_at += not pair.is_same and _is_at(pair, place, switches)
        place += bool(pair.expected)
    scripts = {script: (tokens[script], errors[script]) for script in sorted(tokens)}
    num_tokens_at = len({place for switch in switches for place in switch})
    return MixedErrors(scripts, len(switches), num_tokens_at, num_errors_at)


def _switches(scripts: Sequence[str]) -> list[tuple[int, int]]:
    """(place of the last token of one script, place of the first of the next); tokens without letters are of neither."""
    places = [place for place, script in enumerate(scripts) if script != NO_SCRIPT]
    return [(one, two) for one, two in itertools.pairwise(places) if scripts[one] != scripts[two]]


def _is_at(pair: WordPair, place: int, switches: Sequence[tuple[int, int]]) -> bool:
    """Whether an error is of a token beside a switch, or inserted between the two. place: reference tokens before it."""
    if pair.expected:
        return any(place in switch for switch in switches)
    return any(before < place <= after for before, after in switches)
