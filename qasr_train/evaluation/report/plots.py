"""Owns the pictures of a report: error rates with their intervals, error rate against speed, drawn by matplotlib as SVG text.

Input: labels, figures and intervals. Output: an `<svg>` element to stand inside HTML; labels are untrusted and escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from qasr_train.evaluation.scoring.significance import Interval
from qasr_train.pages.svg import svg_drawing

_COLOURS = ("#8a8f98", "#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280")
_MAX_BARS = 30
_MAX_LINES = 10


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure to draw: the label of its group, the system, percent, and its interval if there is one."""

    label: str
    series: str
    percent: float
    interval: Interval | None = None


def error_rate_plot(bars: Sequence[Bar], axis_label: str) -> str:
    """Horizontal bars, one group per label, one colour per series (at most six); "" where there is nothing to draw.

    At most 30 groups are drawn, the first ones.
    """
    labels = list(dict.fromkeys(bar.label for bar in bars))[:_MAX_BARS]
    series = list(dict.fromkeys(bar.series for bar in bars))[: len(_COLOURS)]
    if not labels:
        return ""
    with svg_drawing(8, 0.9 + 0.32 * len(labels) * len(series)) as drawing:
        axes = drawing.axes
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
        if len(series) > 1:
            drawing.figure.legend(loc="outside upper right", ncols=len(series), frameon=False)
    return drawing.text


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


@dataclass(frozen=True, slots=True)
class SpeedPoint:
    """One system to draw: percent of errors, seconds of audio per second of inference (None: not known). is_named: labelled."""

    name: str
    percent: float
    rtfx: float | None
    is_named: bool = False
    is_run: bool = False


def speed_plot(points: Sequence[SpeedPoint], axis_label: str) -> str:
    """Error rate against speed on a logarithmic axis; a run whose speed is not known is a line. "" without two known speeds."""
    known = [point for point in points if point.rtfx]
    if len(known) < 2:
        return ""
    with svg_drawing(9, 4.5) as drawing:
        axes = drawing.axes
        others = [point for point in known if not (point.is_named or point.is_run)]
        axes.scatter(
            [one.rtfx or 0.0 for one in others], [one.percent for one in others], s=20, color="#c4c8ce", label="others"
        )
        for number, point in enumerate(one for one in points if one.is_named or one.is_run):
            colour, marker = ("#000000", "*") if point.is_run else (f"C{number % 10}", "osD^vP"[number % 6])
            if point.rtfx:
                size = 220 if point.is_run else 45
                axes.scatter(
                    point.rtfx, point.percent, s=size, color=colour, marker=marker, label=_short(point.name), zorder=3
                )
            elif point.is_run:
                axes.axhline(point.percent, color=colour, linestyle="--", label=f"{point.name} (speed not known)")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        # A few of the published systems err so often that the others would lie on one line.
        top = 1.3 * max([1.0, *(one.percent for one in points if one.is_named or one.is_run)])
        num_above = sum(one.percent > top for one in others)
        axes.set_ylim(0, top)
        drawing.figure.legend(
            loc="outside right upper", frameon=False, title=f"{num_above} others lie above" if num_above else None
        )
        axes.set_xlabel("RTFx: seconds of audio per second of inference, each on its own hardware; higher is faster")
        axes.set_ylabel(axis_label)
    return drawing.text


@dataclass(frozen=True, slots=True)
class NoiseLine:
    """One set under several ratios. points: (decibels or None for no noise, percent, its interval)."""

    name: str
    points: Sequence[tuple[float | None, float | None, Interval | None]]


def noise_plot(lines: Sequence[NoiseLine], axis_label: str) -> str:
    """Error rate against signal-to-noise ratio, quieter noise to the left; without noise stands at the left end."""
    ratios = sorted({ratio for line in lines for ratio, _, _ in line.points if ratio is not None}, reverse=True)
    places: dict[float | None, int] = {ratio: place for place, ratio in enumerate((None, *ratios))}
    with svg_drawing(8, 4.2) as drawing:
        axes = drawing.axes
        for number, line in enumerate(lines[:_MAX_LINES]):
            drawn = sorted(
                ((places[ratio], percent, interval) for ratio, percent, interval in line.points if percent is not None),
                key=lambda point: point[0],
            )
            bars = [Bar("", "", percent, interval) for _, percent, interval in drawn]
            axes.errorbar(
                [place for place, _, _ in drawn],
                [bar.percent for bar in bars],
                yerr=_whiskers(bars),
                label=_short(line.name),
                color=f"C{number}",
                marker="o",
                capsize=3,
            )
        axes.set_xticks(range(len(places)), ["no noise", *(f"{ratio:g} dB" for ratio in ratios)])
        axes.set_ylim(bottom=0)
        axes.set_ylabel(axis_label.partition(" by ")[0])
        axes.legend(loc="best", frameon=False)
    return drawing.text


@dataclass(frozen=True, slots=True)
class AmountLine:
    """The sets of one role by the clips trained on. points: (clips, percent, its interval), rising; 0 clips: before training."""

    name: str
    points: Sequence[tuple[int, float, Interval | None]]


def amount_plot(lines: Sequence[AmountLine], axis_label: str) -> str:
    """Error rate against the number of clips on a logarithmic axis; none at all stands apart, at its left end."""
    amounts = sorted({number for line in lines for number, _, _ in line.points})
    trained = [number for number in amounts if number] or [1]
    places = {number: float(number) for number in trained} | {0: _place_of_none(trained)}
    bars = [Bar(line.name, "", percent, interval) for line in lines for _, percent, interval in line.points]
    highest = max(bar.percent for bar in bars)
    with svg_drawing(8, 4.2) as drawing:
        axes = drawing.axes
        for number, line in enumerate(lines):
            nudge = 1.04**number  # so that whiskers of two lines do not cover each other
            axes.errorbar(
                [places[amount] * nudge for amount, _, _ in line.points],
                [percent for _, percent, _ in line.points],
                yerr=_whiskers([bar for bar in bars if bar.label == line.name]),
                label=_short(line.name),
                color=f"C{number}",
                marker="o",
                capsize=3,
            )
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks([places[amount] for amount in amounts], [f"{amount:,}" for amount in amounts])
        # An interval of few speakers may reach far above every rate, and would press the lines together.
        most = max(bar.interval.high_percent if bar.interval else bar.percent for bar in bars)
        axes.set_ylim(0, 1.05 * min(most, max(1.0, 1.6 * highest)))
        axes.set_xlabel("clips trained on (0: before training)")
        axes.set_ylabel(axis_label)
        axes.legend(loc="best", frameon=False)
    return drawing.text


def _place_of_none(trained: Sequence[int]) -> float:
    """Left of the smallest amount, as far as the others are apart."""
    apart = (trained[-1] / trained[0]) ** (1 / max(1, len(trained) - 1))
    return trained[0] / max(2.0, apart)


@dataclass(frozen=True, slots=True)
class TradePoint:
    """One setting of a sweep to draw: errors in percent on the guard and on the target sets. is_best: the one chosen."""

    name: str
    guard_percent: float
    target_percent: float
    is_best: bool = False


def trade_plot(points: Sequence[TradePoint], *, limit_percent: float) -> str:
    """Errors on the target sets against errors on the guard sets, joined in order; right of the limit too much is lost."""
    with svg_drawing(7, 4.5) as drawing:
        axes = drawing.axes
        guards, targets = [one.guard_percent for one in points], [one.target_percent for one in points]
        axes.plot(guards, targets, color="#c4c8ce", zorder=1)
        for point in points:
            size, colour = (140, _COLOURS[1]) if point.is_best else (45, _COLOURS[0])
            axes.scatter(point.guard_percent, point.target_percent, s=size, color=colour, zorder=2)
            place = (point.guard_percent, point.target_percent)
            axes.annotate(point.name, place, xytext=(7, 5), textcoords="offset points")
        axes.axvline(limit_percent, color="#b23b3b", linestyle="--", label="most the guard sets may lose")
        axes.set_xlabel("guard sets, error rate % (further left: less forgotten)")
        axes.set_ylabel("target sets, error rate % (lower: more gained)")
        axes.set_ylim(bottom=0)
        axes.legend(loc="best", frameon=False)
    return drawing.text
