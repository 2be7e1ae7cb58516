"""Owns how the probes are shown: lines for a terminal, honesty.json, and a page with some of the clips that spoke for knowing.

Input: `ProbeResult`s. Output: text; JSON; HTML without scripts or network, which holds transcripts.
"""

import html
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from qasr_train.evaluation.honesty.probes import Light, ProbeResult
from qasr_train.evaluation.scoring.significance import interval_text
from qasr_train.pages.html import html_page
from qasr_train.pages.table import Table, html_table, number, text_table

HONESTY_VERSION = 1
_MAX_EXAMPLES = 20
CAUTION = (
    "A probe that lights up is evidence that the model knows these texts, not proof of how: near copies in its training data, "
    "or a language model that learned the source, do the same. Dark probes do not prove that a test set was never seen."
)


def honesty_table(results: Sequence[ProbeResult]) -> Table:
    """A row a probe."""
    headers = ["probe", "hits", "of", "%", "95 % interval", "baseline %", ""]
    rows = [
        [
            one.name,
            str(one.num_hits),
            str(one.of),
            number(one.percent, 1),
            interval_text(one.interval),
            number(one.baseline_percent, 1),
            one.light.value,
        ]
        for one in results
    ]
    return Table("Does the model know this test set?", headers, rows)


def honesty_summary(results: Sequence[ProbeResult], directory: str) -> str:
    """For the terminal."""
    lines = [text_table(honesty_table(results)), "", *(one.sentence() for one in results), CAUTION]
    return "\n".join([*lines, f"clips: {directory}/honesty.html"])


def honesty_row(results: Sequence[ProbeResult], model: str, baseline: str | None) -> dict[str, Any]:
    """The content of honesty.json."""
    probes = [{**asdict(one), "light": one.light.value} for one in results]
    return {"version": HONESTY_VERSION, "model": model, "baseline": baseline, "probes": probes}


def honesty_page(results: Sequence[ProbeResult], model: str, baseline: str | None) -> str:
    """honesty.html."""
    table = honesty_table(results)
    beside = f", beside {html.escape(baseline)}" if baseline else ""
    told = "".join(f"<li>{html.escape(one.sentence())}</li>" for one in results)
    parts = "".join(_examples(one) for one in results if one.examples)
    body = f"""<h1>Does the model know this test set?</h1>
<p>{html.escape(model)}{beside}.</p>
{html_table(table.headers, table.rows, row_class=lambda row: "lit" if row[-1] == Light.lit.value else "")}
<ul>{told}</ul><p>{html.escape(CAUTION)}</p>{parts}"""
    style = "tr.lit { background: #fdd; font-weight: bold } td.text { text-align: left }"
    return html_page("Honesty", body, style=style)


def _examples(result: ProbeResult) -> str:
    shown = result.examples[:_MAX_EXAMPLES]
    rows = [[one.id, one.known, one.expected, one.said] for one in shown]
    heads = ["clip", "as published", "could be heard", "the model wrote"]
    return f"<h2>{html.escape(result.name)}: {len(shown)} of {len(result.examples)}</h2>" + html_table(
        heads, rows, cell_class="text"
    )
