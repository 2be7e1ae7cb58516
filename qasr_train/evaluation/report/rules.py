"""Owns how a change of rules looks: a table of rates, and the words that moved.

Input: `RulesChange`. Output: `Table`s for terminal and report; rows for rules.json.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from qasr_train.evaluation.comparing.rules import ErrorPair, RulesChange, SetByRules
from qasr_train.pages.table import ABSENT, Table, number, text_table

RULES_FILE = "rules.json"
_NUM_SHOWN = 12


def rules_tables(changes: Sequence[RulesChange]) -> list[Table]:
    """For each further normaliser its rates beside those of the first, then the words that moved."""
    return [table for change in changes for table in (_rates(change), *_words(change))]


def rules_summary(changes: Sequence[RulesChange]) -> list[str]:
    """The tables as a terminal shows them, each under its title."""
    return [f"{table.title}\n{text_table(table)}" for table in rules_tables(changes)]


def rules_content(changes: Sequence[RulesChange]) -> dict[str, Any]:
    """What rules.json holds: every figure, every word that moved."""
    return {"changes": [_content(change) for change in changes]}


def _content(change: RulesChange) -> dict[str, Any]:
    content = asdict(change)
    for one, row in zip(change.sets, content["sets"], strict=True):
        row["delta_percent"] = one.delta_percent
        row |= {"only_first": _listed(one.only_first), "only_second": _listed(one.only_second)}
    return content


def _listed(errors: Sequence[tuple[ErrorPair, int]]) -> list[dict[str, Any]]:
    return [{"reference": said, "heard": heard, "count": count} for (said, heard), count in errors]


def _rates(change: RulesChange) -> Table:
    headers = [
        "set",
        "metric",
        f"{change.first} %",
        f"{change.second} %",
        "change",
        "utterances that moved",
        "left out",
    ]
    rows = [
        [
            one.name,
            one.metric.upper(),
            number(one.first_percent),
            number(one.second_percent),
            _signed(one.delta_percent),
            f"{one.num_moved} of {max(one.num_scored)}",
            _left_out(one),
        ]
        for one in change.sets
    ]
    first, second = change.macro_percent
    if len(rows) > 1 and first is not None and second is not None:
        mean = ["mean over sets (macro)", "WER", number(first), number(second), _signed(round(second - first, 2))]
        rows.append([*mean, "", ""])
    note = (
        "The same predictions: what changes here is the rules alone. Left out: utterances that only one of them scores."
    )
    return Table(f"What rules alone change: {change.second} beside {change.first}", headers, rows, note)


def _words(change: RulesChange) -> list[Table]:
    rows = [
        [one.name, name, f"{said or '∅'} → {heard or '∅'}", str(count)]
        for one in change.sets
        for name, errors in ((change.first, one.only_first), (change.second, one.only_second))
        for (said, heard), count in errors[:_NUM_SHOWN]
    ]
    left = sum(max(len(errors) - _NUM_SHOWN, 0) for one in change.sets for errors in (one.only_first, one.only_second))
    more = f" {left} more kinds stand in {RULES_FILE}." if left else ""
    note = f"Errors that an utterance has under one of the rules alone; ∅: nothing said, or nothing heard.{more}"
    headers = ["set", "an error only by", "reference → heard", "times"]
    return [Table(f"Words that moved: {change.second} beside {change.first}", headers, rows, note)] if rows else []


def _left_out(one: SetByRules) -> str:
    first, second = one.num_scored
    return ABSENT if first == second else f"{abs(first - second)} by the {'second' if second < first else 'first'}"


def _signed(value: float | None) -> str:
    return ABSENT if value is None else f"{value:+.2f}"
