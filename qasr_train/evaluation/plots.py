"""Owns the pictures of a report: error rates with their intervals, drawn by matplotlib as SVG text.

Input: labels, figures and intervals. Output: an `<svg>` element to stand inside HTML; labels are untrusted and escaped.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from qasr_train.evaluation.significance import Interval

_COLOURS = ("#8a8f98", "#2b6cb0")
_MAX_BARS = 30


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure to draw: the label of its group, the system, percent, and its interval if there is one."""

    label: str
    series: str
    percent: float
    interval: Interval | None = None


def error_rate_plot(bars: Sequence[Bar], axis_label: str) -> str:
    """Horizontal bars, one group per label, one colour per series (at most two); "" where there is nothing to draw.

    At most 30 groups are drawn, the first ones.
    """
    labels = list(dict.fromkeys(bar.label for bar in bars))[:_MAX_BARS]
    series = list(dict.fromkeys(bar.series for bar in bars))[-len(_COLOURS) :]
    if not labels:
        return ""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # parse_math: a set may be called "$x$". svg.hashsalt: the same run draws the same bytes.
    with rc_context({"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "qasr", "font.size": 10}):
        figure = Figure(figsize=(8, 0.9 + 0.32 * len(labels) * len(series)), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        height = 0.8 / len(series)
        for number, name in enumerate(series):
            drawn = [bar for bar in bars if bar.series == name and bar.label in labels]
            places = [labels.index(bar.label) + (number - (len(series) - 1) / 2) * height for bar in drawn]
            axes.barh(
                places,
                [bar.percent for bar in drawn],
                height=0.9 * height,
                color=_COLOURS[number if len(series) > 1 else 1],
                xerr=_whiskers(drawn),
                error_kw={"ecolor": "#222", "capsize": 3, "elinewidth": 1},
                label=_short(name),
            )
        axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel(axis_label)
        axes.spines[["top", "right"]].set_visible(False)
        if len(series) > 1:
            axes.legend(loc="best", frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.DOTALL)


def _whiskers(bars: Sequence[Bar]) -> list[list[float]]:
    """Lengths to the left and right of each bar's end; 0 where there is no interval."""
    ends = [
        (bar.interval.low_percent, bar.interval.high_percent) if bar.interval else (bar.percent,) * 2 for bar in bars
    ]
    left = [max(0.0, bar.percent - low) for bar, (low, _) in zip(bars, ends, strict=True)]
    right = [max(0.0, high - bar.percent) for bar, (_, high) in zip(bars, ends, strict=True)]
    return [left, right]


def _short(label: str) -> str:
    return label if len(label) <= 48 else f"{label[:22]}…{label[-25:]}"
