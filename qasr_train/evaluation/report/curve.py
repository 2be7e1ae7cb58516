"""Owns how a learning curve is shown: the table for a terminal, and a page with the plot.

Input: a `Curve`. Output: text; HTML without scripts or network.
"""

import html
from collections.abc import Mapping

from qasr_train.evaluation.learning.amounts import CurvePoint, RoleRate
from qasr_train.evaluation.learning.curve import Curve
from qasr_train.evaluation.report.plots import AmountLine, amount_plot
from qasr_train.evaluation.scoring.significance import Interval, interval_text
from qasr_train.pages.html import html_page, wide_figure
from qasr_train.pages.table import ABSENT, Table, html_table, text_table

# What an interval over utterances of the tests cannot hold.
ONE_DRAW = (
    "Intervals say how the test speakers (or clips) were drawn, not how the training clips were: one draw was trained on, once. "
    "Others too: seeds=[0,1,2]."
)
SEVERAL_DRAWS = "Intervals hold how the test speakers (or clips) were drawn, and how the trainings of an amount differ."
TAUGHT = "trained on"


def curve_table(curve: Curve) -> Table:
    """A row an amount: what was trained on, and the error rates with intervals: of each role, and of clips trained on."""
    roles = list(curve.points[0].rates)
    metrics = {role: curve.points[0].rates[role].metric.upper() for role in roles}
    has_taught = any(point.taught for point in curve.points)
    has_seeds = any(len(rate.by_seed) > 1 for point in curve.points for rate in point.rates.values())
    headers = ["clips", "hours", "speakers", "steps"]
    headers += [text for role in roles for text in _heads(f"{role}, {metrics[role]} %", has_seeds=has_seeds)]
    headers += [f"{TAUGHT}, %", "95 % interval"] if has_taught else []
    rows = []
    for point in curve.points:
        amount = point.amount
        speakers = ABSENT if amount.num_speakers is None else str(amount.num_speakers)
        row = [str(amount.num_clips), f"{amount.hours:.3g}", speakers, str(amount.num_steps)]
        for rate in point.rates.values():
            row += _cells(rate) + ([", ".join(f"{one:.2f}" for one in rate.by_seed)] if has_seeds else [])
        rows.append(row + (_cells(point.taught) if has_taught else []))
    return Table(f"{curve.source}, by number of clips", headers, rows)


def curve_summary(curve: Curve, directory: str) -> str:
    """The table and the verdict for the terminal."""
    return "\n".join(
        [text_table(curve_table(curve)), "", *curve.sentences(), _draws(curve), f"picture: {directory}/curve.html"]
    )


def curve_page(curve: Curve, reports: Mapping[str, str]) -> str:
    """curve.html. reports: of the evaluations, name -> path from where the page lies."""
    table = curve_table(curve)
    verdicts = "".join(f"<li>{html.escape(text)}</li>" for text in curve.sentences())
    links = " · ".join(f'<a href="{html.escape(path)}">{html.escape(name)}</a>' for name, path in reports.items())
    body = f"""<h1>How many recordings?</h1>
<p>One fine-tune for each number of clips of {html.escape(curve.source)}, on suite {html.escape(curve.suite)}. Smaller draws lie
within larger ones; 0 clips is the model before training. "{TAUGHT}" is the error rate on a sample of the very clips an amount was
trained on; a forecast is a power law through the amounts, with its band.</p>
{wide_figure(amount_plot(_lines(curve), "error rate %"))}
<ul>{verdicts}</ul>
<p>{html.escape(_draws(curve))}</p>
{html_table(table.headers, table.rows)}
<p>Reports (groups, words to check, style, utterances): {links}</p>"""
    return html_page("Learning curve", body)


def _heads(name: str, *, has_seeds: bool) -> list[str]:
    return [name, "95 % interval", *(["each training"] if has_seeds else [])]


def _cells(rate: RoleRate | None) -> list[str]:
    return [ABSENT, ABSENT] if rate is None else [f"{rate.percent:.2f}", interval_text(rate.interval)]


def _draws(curve: Curve) -> str:
    return SEVERAL_DRAWS if any(_num_seeds(point) > 1 for point in curve.points) else ONE_DRAW


def _num_seeds(point: CurvePoint) -> int:
    return max(len(rate.by_seed) for rate in point.rates.values())


def _lines(curve: Curve) -> list[AmountLine]:
    """Each role, what was trained on, and what is foretold."""
    roles = list(curve.points[0].rates)
    lines = [AmountLine(role, [_place(point, point.rates[role]) for point in curve.points]) for role in roles]
    taught = [_place(point, point.taught) for point in curve.points if point.taught]
    lines += [AmountLine(TAUGHT, taught)] if taught else []
    foretold: list[tuple[int, float, Interval | None]] = [
        (one.num_clips, one.percent, Interval(one.low_percent, one.high_percent, 0.95, "draw", 0, "bootstrap"))
        for one in (curve.extrapolation.forecasts if curve.extrapolation else [])
    ]
    return lines + ([AmountLine("forecast", foretold, is_forecast=True)] if foretold else [])


def _place(point: CurvePoint, rate: RoleRate) -> tuple[int, float, Interval | None]:
    return point.amount.num_clips, rate.percent, rate.interval
