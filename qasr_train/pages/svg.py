"""Owns drawing with matplotlib into an `<svg>` element that stands inside HTML: same figures, same bytes; labels are escaped.

Input: a size, and what is drawn between entering and leaving. Output: `Drawing.text`.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# parse_math: a set may be called "$x$". svg.hashsalt: the same run draws the same bytes.
_STYLE: dict[Any, Any] = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "qasr", "font.size": 10}


@dataclass
class Drawing:
    """A figure with one pair of axes. text: the `<svg>` element, once the block is left."""

    figure: "Figure"
    axes: "Axes"
    text: str = ""


@contextmanager
def svg_drawing(width_in: float, height_in: float) -> Iterator[Drawing]:
    """A `Drawing` of so many inches to draw on; its text is made on leaving the block."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        canvas = FigureCanvasSVG(figure)
        drawing = Drawing(figure, figure.add_subplot())
        drawing.axes.spines[["top", "right"]].set_visible(False)
        yield drawing
        out = io.StringIO()
        canvas.print_svg(out, metadata={"Date": None})  # savefig lays the figure out twice, for the same bytes
        drawing.text = re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.DOTALL)
