"""Owns charts of lines as SVG text made here, without matplotlib: some milliseconds a chart, for pages made while a model trains.

Input: lines of points. Output: a `<figure>` for an HTML page that needs no script; names are untrusted and escaped.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#8a8f98")
CHART_STYLE = """
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem 1.5rem }
.charts figure { margin: 0; min-width: 0 } .charts h3 { font-size: 1rem; margin: .5rem 0 0 }
.charts svg { width: 100%; height: auto; display: block } .charts text { font: 12px system-ui, sans-serif; fill: #5b6270 }
.charts figcaption { font-size: 13px; color: #5b6270; overflow-wrap: anywhere }
.charts figcaption span { display: inline-block; margin-right: .9rem }
.charts i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .3em }
"""
# A line of more points is drawn by means: nobody sees more on so many pixels, and the page stays small.
MAX_POINTS = 300
_MAX_DOTS = 40  # a line of more points has no dots
# With fewer values none but a first one, before training, is called wild.
_MIN_FOR_WILD, _WILD = 20, 3.0
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 460, 230, 54, 14, 14, 26

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A name and its points, x rising: whole numbers, such as steps; a y that is no finite number is a gap."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where values lie in the picture, and the ticks of both axes. top: what is above is drawn at the edge, as an arrow."""

    left: float
    right: float
    bottom: float
    top: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.left) / (self.right - self.left) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - self.bottom) / (self.top - self.bottom) * (_HEIGHT - _TOP - _BOTTOM)


def line_chart(title: str, lines: Sequence[Line], *, unit: str = "", marked: tuple[float, str] | None = None) -> str:
    """Lines over one axis, from zero; "" where there is nothing to draw.

    One wild value does not press all others flat: what lies far above nearly all is an arrow at the upper edge, and told below.

    Args:
        title: of the chart. unit: what the values are, behind the title. marked: an x with a line down, and what it is.
    """
    drawn = [Line(one.name, _thinned(one.points)) for one in lines if any(math.isfinite(y) for _, y in one.points)]
    if not drawn:
        return ""
    scale = _scale_of(drawn)
    parts = [*_grid(scale), *_mark(scale, marked)]
    for number, one in enumerate(drawn):
        parts += _drawn(one, scale, COLOURS[number % len(COLOURS)], is_dashed=number >= len(COLOURS))
    heading = html.escape(f"{title}, {unit}" if unit else title)
    picture = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{heading}">{"".join(parts)}</svg>'
    return f"<figure><h3>{heading}</h3>{picture}<figcaption>{_caption(drawn, lines, scale)}</figcaption></figure>"


def nice_ticks(low: float, high: float, number: int = 4) -> list[float]:
    """Round values from `low` up to the first one at or above `high`, some `number` steps of 1, 2 or 5 times a power of ten."""
    rough = max(high - low, 1e-12) / number
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil(high / step - 1e-9))
    return [round(number * step, 12) for number in range(first, last + 1)]


def wild_limit(lines: Sequence[Sequence[float]]) -> float | None:
    """The most that an axis should show where a few values lie far above nearly all others; None where none does.

    lines: finite values of each. Those that come first, before training, may be few and are judged by what came after.
    """
    later = [value for values in lines for value in values[1:]]
    first = max((values[0] for values in lines if values), default=0.0)
    if len(later) >= 2 and max(later) > 0 and first > _WILD * max(later):
        return wild_limit([later]) or 1.5 * max(later)
    ordered = sorted(value for values in lines for value in values)
    if len(ordered) < _MIN_FOR_WILD:
        return None
    usual = ordered[math.floor(0.95 * (len(ordered) - 1))]
    return 1.5 * usual if usual > 0 and ordered[-1] > _WILD * usual else None


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most MAX_POINTS, each the mean of as many neighbours; what is no finite number does not count in a mean."""
    if len(points) <= MAX_POINTS:
        return list(points)
    width = math.ceil(len(points) / MAX_POINTS)
    means = []
    for begin in range(0, len(points), width):
        group = points[begin : begin + width]
        finite = [y for _, y in group if math.isfinite(y)]
        means.append((group[-1][0], sum(finite) / len(finite) if finite else math.nan))
    return means


def _scale_of(lines: Sequence[Line]) -> _Scale:
    xs = [x for one in lines for x, _ in one.points]
    values = [[y for _, y in one.points if math.isfinite(y)] for one in lines]
    ys = [y for of_line in values for y in of_line]
    ticks = nice_ticks(min(0.0, *ys), wild_limit(values) or max(0.0, *ys))
    left, right = min(xs), max(xs)
    return _Scale(left, right if right > left else left + 1, ticks[0], ticks[-1])


def _grid(scale: _Scale) -> list[str]:
    parts = []
    for tick in nice_ticks(scale.bottom, scale.top):
        y = scale.y(tick)
        if _TOP - 1 <= y <= _HEIGHT - _BOTTOM + 1:
            parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#e3e6ea"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in nice_ticks(scale.left, scale.right):
        if scale.left <= tick <= scale.right and tick.is_integer():  # they are steps
            parts.append(f'<text x="{scale.x(tick):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{tick:,.0f}</text>')
    return parts


def _mark(scale: _Scale, marked: tuple[float, str] | None) -> list[str]:
    if marked is None or not scale.left <= marked[0] <= scale.right:
        return []
    x = scale.x(marked[0])
    is_right = x > _WIDTH / 2
    anchor, beside = ("end", x - 5) if is_right else ("start", x + 5)
    return [
        f'<path d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#2f9e55" stroke-dasharray="4 3"/>',
        f'<text x="{beside:.1f}" y="{_TOP + 9}" text-anchor="{anchor}">{html.escape(marked[1])}</text>',
    ]


def _drawn(line: Line, scale: _Scale, colour: str, *, is_dashed: bool) -> list[str]:
    path, is_open, dots = [], False, []
    for x, y in line.points:
        if not math.isfinite(y):
            is_open = False
            continue
        is_above = y > scale.top
        place = f"{scale.x(x):.1f} {scale.y(min(y, scale.top)):.1f}"
        path.append(f"{'L' if is_open else 'M'}{place}")
        is_open = True
        told = f"<title>{html.escape(line.name)}, step {x:g}: {y:.4g}</title>"
        if is_above:
            dots.append(f'<path d="M{place}l-5 8h10z" fill="{colour}">{told}</path>')
        elif len(line.points) <= _MAX_DOTS:
            across, down = place.split()
            dots.append(f'<circle cx="{across}" cy="{down}" r="3" fill="{colour}">{told}</circle>')
    dashes = ' stroke-dasharray="6 3"' if is_dashed else ""
    return [
        f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"{dashes}/>',
        *dots,
    ]


def _caption(drawn: Sequence[Line], given: Sequence[Line], scale: _Scale) -> str:
    """Which colour is which with its last value; what is no finite number, lies above the axis, or is a mean."""
    parts = []
    for number, one in enumerate(drawn):
        last = next(y for _, y in reversed(one.points) if math.isfinite(y))
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<span><i style="background:{colour}"></i>{html.escape(one.name)}: {last:.4g}</span>')
    above = [y for one in drawn for _, y in one.points if y > scale.top and math.isfinite(y)]
    if above:
        parts.append(f"<span>▲ {len(above)} above the axis, up to {max(above):.4g}</span>")
    num_gaps = sum(not math.isfinite(y) for one in given for _, y in one.points)
    if num_gaps:
        parts.append(f"<span>{num_gaps} not finite, left out</span>")
    most = max(len(one.points) for one in given)
    if most > MAX_POINTS:
        parts.append(f"<span>each point the mean of {math.ceil(most / MAX_POINTS)} lines of the log</span>")
    return "".join(parts)
