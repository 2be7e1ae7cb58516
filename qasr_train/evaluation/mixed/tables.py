"""Owns the tables of sets in which languages meet: MER and errors at switches by set, and the share of each script.

Input: a `ScoredRun`. Output: `Table`s; none where MER was not asked for.
"""

from qasr_train.evaluation.mixed.counts import ScriptShare, script_shares
from qasr_train.evaluation.scoring.metrics import MIXED, columns
from qasr_train.evaluation.scoring.rates import percent
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.pages.table import Table, number
from qasr_train.text.tokens import NO_SCRIPT

_NOTE = (
    "MER: errors over tokens, which are characters of scripts written without spaces (Hangul too), words of others. Errors "
    "at switches: of tokens beside a place where one script gives way to another, and inserted there."
)
_NAMES = {"CJK": "Chinese characters, kana", NO_SCRIPT: "numbers, signs"}


def mixed_tables(run: ScoredRun) -> list[Table]:
    """By set, and by script; [] where no row has errors by script."""
    shares = script_shares(run.rows)
    if not shares:
        return []
    counted = {row.prediction.set for row in run.rows if row.mixed}
    groups = {name: group for name, group in run.sets.items() if name in counted}
    groups |= {"all sets, pooled": run.overall} if len(groups) > 1 else {}
    figures = columns(MIXED)
    rows = [[name, *(figure.cell(group) for figure in figures)] for name, group in groups.items()]
    num_errors, num_tokens = (sum(one) for one in zip(*((s.num_errors, s.num_tokens) for s in shares), strict=True))
    return [
        Table("Mixed languages", ["", *(figure.title for figure in figures)], rows, _NOTE),
        Table(
            "Errors by script",
            ["script", "tokens", "of all %", "errors", "of all %", "error rate %"],
            [_row(share, num_tokens, num_errors) for share in shares],
            "An inserted token counts for its own script. Languages of one script are not told apart.",
        ),
    ]


def _row(share: ScriptShare, num_tokens: int, num_errors: int) -> list[str]:
    name = _NAMES.get(share.script, share.script.capitalize())
    of_tokens, of_errors = percent(share.num_tokens, num_tokens), percent(share.num_errors, num_errors)
    rate = percent(share.num_errors, share.num_tokens)
    return [name, str(share.num_tokens), number(of_tokens), str(share.num_errors), number(of_errors), number(rate)]
