"""Owns the pictures of a report: error rates with their intervals, error rate against speed, drawn by matplotlib as SVG text.

Input: labels, figures and intervals. Output: an `<svg>` element to stand inside HTML; labels are untrusted and escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qasr_train.evaluation.scoring.significance import Interval
from qasr_train.pages.svg import svg_drawing

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.axes import Axes

_COLOURS = ("#8a8f98", "#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280")
_MAX_BARS = 30
_MAX_LINES = 10
# An interval of few utterances may reach far beyond every rate; past so many times the highest one the axis ends sooner.
_WILD, _ROOM = 3.0, 1.6
_MAX_NAMED = 3


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
        height, top = 0.8 / len(series), axis_top(bars)
        for number, name in enumerate(series):
            drawn = [bar for bar in bars if bar.series == name and bar.label in labels]
            places = [labels.index(bar.label) + (number - (len(series) - 1) / 2) * height for bar in drawn]
            axes.barh(
                places,
                [bar.percent for bar in drawn],
                height=0.9 * height,
                color=_COLOURS[number if len(series) > 1 else 1],
                xerr=_whiskers(drawn, top),
                error_kw={"ecolor": "#222", "capsize": 3, "elinewidth": 1},
                label=_short(name),
            )
            _arrows(axes, [(top, place) for place, bar in zip(places, drawn, strict=True) if _is_beyond(bar, top)], ">")
        axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.05 * top)
        axes.set_xlabel(_with_note(axis_label, bars, top))
        if len(series) > 1:
            drawing.figure.legend(loc="outside upper left", ncols=len(series), frameon=False)
    return drawing.text


def axis_top(bars: Sequence[Bar]) -> float:
    """How far an axis reaches: over all intervals, unless one is wild and would press the rates flat."""
    highest = max([1.0, *(bar.percent for bar in bars)])
    most = max([0.0, *(bar.interval.high_percent if bar.interval else bar.percent for bar in bars)])
    return _ROOM * highest if most > _WILD * highest else max(most, 1e-9)


def _is_beyond(bar: Bar, top: float) -> bool:
    return bar.interval is not None and bar.interval.high_percent > top


def _arrows(axes: "Axes", places: Sequence[tuple[float, float]], marker: str) -> None:
    """Where intervals leave the axis. places: (x, y)."""
    if places:
        axes.plot(*zip(*places, strict=True), marker, color="#222", markersize=7, clip_on=False, zorder=4)


def _with_note(label: str, bars: Sequence[Bar], top: float) -> str:
    """The label of an axis, and below it how far the intervals reach that leave it."""
    ends: dict[str, float] = {}
    for bar in bars:
        if bar.interval is not None and _is_beyond(bar, top):
            ends[bar.label] = max(bar.interval.high_percent, ends.get(bar.label, 0.0))
    if not ends:
        return label
    named = [f"{_short(name)} to {high:.3g} %" for name, high in list(ends.items())[:_MAX_NAMED]]
    more = f" and {len(ends) - _MAX_NAMED} more" if len(ends) > _MAX_NAMED else ""
    return f"{label}\narrows: intervals that reach further, {', '.join(named)}{more}"


def _whiskers(bars: Sequence[Bar], top: float) -> list[list[float]]:
    """Lengths to the left and right of each bar's end, no further than the axis; 0 where there is no interval."""
    ends = [
        (bar.interval.low_percent, min(top, bar.interval.high_percent)) if bar.interval else (bar.percent,) * 2
        for bar in bars
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
    drawn = {
        line.name: sorted(
            [
                (float(places[ratio]), percent, interval)
                for ratio, percent, interval in line.points
                if percent is not None
            ],
            key=lambda point: point[0],
        )
        for line in lines[:_MAX_LINES]
    }
    with svg_drawing(8, 4.2) as drawing:
        axes = drawing.axes
        _rate_lines(axes, drawn)
        axes.set_xticks(range(len(places)), ["no noise", *(f"{ratio:g} dB" for ratio in ratios)])
        axes.set_ylabel(axis_label.partition(" by ")[0])
        axes.legend(loc="best", frameon=False)
    return drawing.text


@dataclass(frozen=True, slots=True)
class AmountLine:
    """The sets of one role by the clips trained on. points: (clips, percent, its interval), rising; 0 clips: before training.

    is_forecast: nobody trained on so many; dashed.
    """

    name: str
    points: Sequence[tuple[int, float, Interval | None]]
    is_forecast: bool = False


def amount_plot(lines: Sequence[AmountLine], axis_label: str) -> str:
    """Error rate against the number of clips on a logarithmic axis; none at all stands apart, at its left end."""
    amounts = sorted({number for line in lines for number, _, _ in line.points})
    trained = [number for number in amounts if number] or [1]
    places = {number: float(number) for number in trained} | {0: _place_of_none(trained)}
    # Nudged, so that whiskers of two lines do not cover each other.
    drawn = {
        line.name: [(places[amount] * 1.04**number, percent, interval) for amount, percent, interval in line.points]
        for number, line in enumerate(lines)
    }
    with svg_drawing(8, 4.2) as drawing:
        axes = drawing.axes
        _rate_lines(
            axes, drawn, "clips trained on (0: before training)", [one.name for one in lines if one.is_forecast]
        )
        _bands(axes, drawn)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks([places[amount] for amount in amounts], [f"{amount:,}" for amount in amounts])
        axes.set_ylabel(axis_label)
        axes.legend(loc="best", frameon=False)
    return drawing.text


def _bands(axes: "Axes", lines: Mapping[str, Sequence[tuple[float, float, Interval | None]]]) -> None:
    """The intervals of each line as a band, where there are two or more."""
    for number, points in enumerate(lines.values()):
        known = [(place, interval) for place, _, interval in points if interval is not None]
        if len(known) > 1:
            low, high = [one.low_percent for _, one in known], [one.high_percent for _, one in known]
            axes.fill_between([place for place, _ in known], low, high, color=f"C{number}", alpha=0.1, linewidth=0)


def _rate_lines(
    axes: "Axes",
    lines: Mapping[str, Sequence[tuple[float, float, Interval | None]]],
    label: str = "",
    dashed: Sequence[str] = (),
) -> None:
    """A line a name. lines: (place, percent, its interval) of each. label: of the axis along; what arrows mean comes below it."""
    bars = {
        name: [Bar(name, "", percent, interval) for _, percent, interval in points] for name, points in lines.items()
    }
    every = [bar for drawn in bars.values() for bar in drawn]
    top = axis_top(every)
    for number, (name, points) in enumerate(lines.items()):
        places = [place for place, _, _ in points]
        axes.errorbar(
            places,
            [bar.percent for bar in bars[name]],
            yerr=_whiskers(bars[name], top),
            label=_short(name),
            color=f"C{number}",
            marker="o",
            capsize=3,
            linestyle="--" if name in dashed else "-",
        )
        _arrows(axes, [(at, top) for at, bar in zip(places, bars[name], strict=True) if _is_beyond(bar, top)], "^")
    axes.set_ylim(0, 1.05 * top)
    axes.set_xlabel(_with_note(label, every, top).strip())


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


@dataclass(frozen=True, slots=True)
class DelayPoint:
    """One stream to draw: the mean delay of its words in seconds (None: not known), its error rate, whether it passed."""

    name: str
    delay_s: float | None
    error_percent: float
    is_passed: bool


def delay_plot(points: Sequence[DelayPoint], *, whole_percent: float, limit_percent: float) -> str | None:
    """Error rate of streams against the delay of their words, beside that of whole recordings; None without a delay."""
    known = [(one, one.delay_s) for one in points if one.delay_s is not None]
    if not known:
        return None
    with svg_drawing(7, 4.5) as drawing:
        axes = drawing.axes
        for is_passed, label in ((True, "surely loses no more"), (False, "does not pass")):
            places = [(delay_s, one.error_percent) for one, delay_s in known if one.is_passed is is_passed]
            if places:
                colour = _COLOURS[1] if is_passed else _COLOURS[0]
                across, up = zip(*places, strict=True)
                axes.scatter(across, up, s=70, color=colour, zorder=2, label=label, clip_on=False)
        for one, delay_s in known:
            axes.annotate(one.name, (delay_s, one.error_percent), xytext=(7, 5), textcoords="offset points")
        axes.axhline(whole_percent, color="#5b6470", label="whole recordings")
        axes.axhline(limit_percent, color="#b23b3b", linestyle="--", label="most that may be lost")
        axes.set_xlabel("mean delay of a word's final form, s (further left: sooner)")
        axes.set_ylabel("error rate % (lower: better)")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.2)
        axes.legend(loc="best", frameon=False)
    return drawing.text
