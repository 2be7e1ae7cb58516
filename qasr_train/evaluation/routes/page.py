"""Owns how routes are shown: the table for a terminal, routes.json, and a page with every text that differs.

Input: `RouteResult`s and `DifferentText`s. Output: text; JSON; HTML without scripts or network, which holds transcripts.
"""

import html
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from qasr_train.evaluation.routes.compare import PERCENTILES, DifferentText, RouteResult, Standing
from qasr_train.evaluation.scoring.significance import interval_text
from qasr_train.pages.html import html_page
from qasr_train.pages.table import ABSENT, Table, html_table, number, text_table

ROUTES_VERSION = 1
_MAX_TEXTS = 500
_GIB = 2**30
NOTES = (
    "Latency: seconds of one clip at a time, without loading; of a command what its rows state as `time`, which is its own "
    "affair. RTFx: of the whole set, ours in batches. Memory: resident, of the processes of a route at their peak, loading "
    "included; where a GPU is used, that of our own tensors beside it."
)


def routes_table(results: Sequence[RouteResult]) -> Table:
    """A row a route."""
    rate = f"{results[0].metric.upper()} %"
    percentiles = [f"p{one} s" for one in PERCENTILES]
    headers = [
        "route",
        "same text",
        "same words",
        "failed",
        rate,
        "change",
        "95 % interval",
        "",
        "RTFx",
        *percentiles,
        "GiB",
    ]
    return Table("Routes to one model", headers, [_row(one) for one in results])


def routes_summary(results: Sequence[RouteResult], num_different: int, margin_points: float, directory: str) -> str:
    """For the terminal."""
    told = [f"{one.name}: {one.what}" for one in results]
    lines = [text_table(routes_table(results)), "", *told, _rule(margin_points), NOTES]
    return "\n".join([*lines, f"{num_different} clips on which not all write the same: {directory}/routes.html"])


def routes_row(results: Sequence[RouteResult], texts: Sequence[DifferentText], margin_points: float) -> dict[str, Any]:
    """The content of routes.json."""
    return {
        "version": ROUTES_VERSION,
        "margin_points": margin_points,
        "percentiles": list(PERCENTILES),
        "routes": [{**asdict(one), "standing": one.standing.value} for one in results],
        "different": [asdict(one) for one in texts],
    }


def routes_page(results: Sequence[RouteResult], texts: Sequence[DifferentText], margin_points: float) -> str:
    """routes.html."""
    table = routes_table(results)
    place = table.headers.index("")
    whats = "".join(f"<li>{html.escape(one.name)}: {html.escape(one.what)}</li>" for one in results)
    shown = texts[:_MAX_TEXTS]
    names = [one.name for one in results]
    rows = [[one.id, one.reference, *(one.texts.get(name, ABSENT) for name in names)] for one in shown]
    listed = html_table(["clip", "reference", *names], rows, cell_class="text") if rows else "<p>None.</p>"
    body = f"""<h1>The same words by every route?</h1>
<ul>{whats}</ul>
{html_table(table.headers, table.rows, row_class=lambda row: "worse" if row[place] == Standing.worse.value else "")}
<p>{html.escape(_rule(margin_points))}</p><p>{html.escape(NOTES)}</p>
<h2>Clips on which not all write the same: {len(texts)}{f", the first {len(shown)}" if len(shown) < len(texts) else ""}</h2>
{listed}"""
    style = "tr.worse { background: #fdd } td.text { text-align: left; vertical-align: top } body { max-width: 90rem }"
    return html_page("Routes", body, style=style)


def _row(one: RouteResult) -> list[str]:
    test = one.test
    memory = "" if one.device_bytes is None else f" + {one.device_bytes / _GIB:.2f}"
    return [
        one.name,
        f"{one.num_equal}/{one.num_clips}",
        f"{one.num_same_words}/{one.num_clips}",
        str(one.num_failed),
        number(one.percent),
        ABSENT if test is None else f"{round(test.delta_percent, 2) + 0.0:+.2f}",
        ABSENT if test is None else interval_text(test.interval),
        one.standing.value,
        number(one.rtfx, 1),
        *([f"{seconds:.3f}" for seconds in one.latencies_s] or [ABSENT] * len(PERCENTILES)),
        ABSENT if one.memory_bytes is None else f"{one.memory_bytes / _GIB:.2f}{memory}",
    ]


def _rule(margin_points: float) -> str:
    return (
        f"no worse: the one-sided 95 % bound of what it loses against the first route is at most margin_points="
        f"{margin_points:g}; WORSE: it surely loses, and more than that is not ruled out"
    )
