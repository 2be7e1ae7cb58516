"""Owns how a learning curve is shown: the table for a terminal, and a page with the plot.

Input: points of the curve, what the last amount changed. Output: text; HTML without scripts or network.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from qasr_train.evaluation.comparing.amounts import CurvePoint, Growth
from qasr_train.evaluation.report.plots import AmountLine, amount_plot
from qasr_train.evaluation.scoring.significance import interval_text
from qasr_train.pages.html import html_page, wide_figure
from qasr_train.pages.table import ABSENT, Table, html_table, text_table

# What an interval over utterances of the tests cannot hold.
ONE_DRAW = (
    "Intervals say how the test speakers (or clips) were drawn, not how the training clips were: one draw was trained on, once. "
    "Another: seed=1."
)


@dataclass(frozen=True)
class Curve:
    """Points by rising amount. source: what was cut. suite: its name. growth: between the last two, by role."""

    source: str
    suite: str
    points: Sequence[CurvePoint]
    growth: Sequence[Growth]

    def sentences(self) -> list[str]:
        """Whether more recordings still help."""
        if not self.growth:
            return ["one amount alone does not say whether more recordings help; give others, or include_base=true"]
        return [one.sentence() for one in self.growth]


def curve_table(curve: Curve) -> Table:
    """A row an amount: what was trained on, and the error rate of each role with its interval."""
    roles = list(curve.points[0].rates)
    metrics = {role: curve.points[0].rates[role].metric.upper() for role in roles}
    headers = ["clips", "hours", "speakers", "steps"]
    headers += [text for role in roles for text in (f"{role}, {metrics[role]} %", "95 % interval")]
    rows = []
    for point in curve.points:
        amount = point.amount
        speakers = ABSENT if amount.num_speakers is None else str(amount.num_speakers)
        figures = [(f"{rate.percent:.2f}", interval_text(rate.interval)) for rate in point.rates.values()]
        rows.append(
            [
                str(amount.num_clips),
                f"{amount.hours:.3g}",
                speakers,
                str(amount.num_steps),
                *(text for pair in figures for text in pair),
            ]
        )
    return Table(f"{curve.source}, by number of clips", headers, rows)


def curve_summary(curve: Curve, directory: str) -> str:
    """The table and the verdict for the terminal."""
    return "\n".join(
        [text_table(curve_table(curve)), "", *curve.sentences(), ONE_DRAW, f"picture: {directory}/curve.html"]
    )


def curve_page(curve: Curve) -> str:
    """curve.html."""
    roles = list(curve.points[0].rates)
    lines = [
        AmountLine(
            role, [(one.amount.num_clips, one.rates[role].percent, one.rates[role].interval) for one in curve.points]
        )
        for role in roles
    ]
    table = curve_table(curve)
    verdicts = "".join(f"<li>{html.escape(text)}</li>" for text in curve.sentences())
    body = f"""<h1>How many recordings?</h1>
<p>One fine-tune for each number of clips of {html.escape(curve.source)}, on suite {html.escape(curve.suite)}. Smaller draws lie
within larger ones; 0 clips is the model before training.</p>
{wide_figure(amount_plot(lines, "error rate %"))}
<ul>{verdicts}</ul>
<p>{html.escape(ONE_DRAW)}</p>
{html_table(table.headers, table.rows)}"""
    return html_page("Learning curve", body)
