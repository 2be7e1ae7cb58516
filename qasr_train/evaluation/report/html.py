"""Owns how a report looks as one HTML file that needs no network; every text in it is untrusted and escaped.

Input: a `Report`. Output: HTML. The script and style stand in assets/report; the page's policy runs that script and nothing else.
"""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from qasr_train.evaluation.comparing.gate import Check, Verdict, verdict_text
from qasr_train.evaluation.report.document import Report
from qasr_train.evaluation.report.published import THIS_RUN
from qasr_train.evaluation.words.tables import Shade
from qasr_train.pages.table import STACKED_STYLE, Table, cell_labels, stack_class

_LEFT_ALIGNED = frozenset(
    {
        "",
        "reference",
        "heard as",
        "word",
        "group",
        "role",
        "seconds",
        "term",
        "terms",
        "context",
        "system",
        "figures",
        "languages",
        "architecture",
        "licence",
        "candidate",
        "set",
        "rate",
        "broken outputs",
        "least sure",
        "style",
        "output",
        "confidence",
    }
)
_MAX_KEPT_GROUPS = 5  # more that passed the gate are folded away
_MAX_NARROW_COLUMNS = 3  # tables up to this wide stand side by side


def render_html(report: Report) -> str:
    """The whole page. `report.plot` and those of placements are our own `<svg>`; all other text is escaped."""
    script, style = _asset("explorer.js"), _asset("report.css")
    has_audio = any("p" in row for row in report.explored)
    body = [
        f"<h1>{_text(report.title)}</h1>",
        *(f"<p>{_text(paragraph)}</p>" for paragraph in report.lead),
        _verdict(report.verdict),
        *(f'<p class="warning">warning: {_text(warning)}</p>' for warning in report.warnings),
        *(_table(table) for table in report.tables[:1]),
        _figure(report.plot, "error rates"),
        *(_table(one.table) + _figure(one.plot, one.plot_label) for one in report.placements),
        *(_table(one.table) + _figure(one.plot, one.plot_label) for one in report.illustrations),
        *_tables(report.tables[1:]),
        _explorer(report),
        "<h2>Provenance</h2>",
        f"<pre>{_text(json.dumps(report.provenance, ensure_ascii=False, indent=2))}</pre>",
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(script, has_audio)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{_text(report.title)}</title><style>{style}{STACKED_STYLE}</style></head><body><main>",
            *body,
            f"</main><script>{script}</script></body></html>",
            "",
        ]
    )


def _figure(plot: str, label: str) -> str:
    return f'<figure aria-label="{label}">{plot}</figure>' if plot else ""


def _policy(script: str, has_audio: bool) -> str:
    """Only our own script may run (named by its hash); nothing may be loaded from anywhere; clips in the file may be played."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    media = "; media-src data:" if has_audio else ""
    return f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:{media}"


def _explorer(report: Report) -> str:
    if not report.explored:
        return ""
    note = ""
    if len(report.explored) < report.num_utterances:
        note = f" The first {len(report.explored)} of {report.num_utterances}; the rest stands in utterances.jsonl."
    return "\n".join(
        [
            "<h2>Utterances</h2>",
            f"<p>Normalised words side by side: <del>in the reference only</del> <ins>in the output only</ins>.{note}</p>",
            _legend(report.shades),
            f'<div id="explorer" data-shades="{_text(json.dumps([one.below for one in report.shades]))}"><noscript>'
            "The table of utterances needs JavaScript.</noscript></div>",
            f'<script type="application/json" id="rows">{_json(report.explored)}</script>',
        ]
    )


def _legend(shades: Sequence[Shade]) -> str:
    """What shaded words are, the least sure ones darkest; "" where none are shaded."""
    if not shades:
        return ""
    named = " ".join(
        f'<span class="unsure{len(shades) - number}">{shade.percent:g} % (confidence up to {shade.below:.3f})</span>'
        for number, shade in enumerate(shades)
    )
    return f'<p class="legend">Words of the output by how sure the system was, the least sure: {named}</p>'


def _json(content: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or start a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


_WORDS = {True: "ok", False: "fail", None: "undecided"}
_KINDS = {True: "good", False: "bad", None: "open"}  # the last has no colours of its own: it is neither


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    if not verdict.checks:
        return f'<div class="gate"><b>Gate not judged</b>: {_text(verdict_text(verdict).partition(", ")[2])}</div>'
    kept = [check for check in verdict.checks if check.role == "group" and check.passed]
    folded = kept if len(kept) > _MAX_KEPT_GROUPS else []
    checks = _checks([check for check in verdict.checks if check not in folded])
    if folded:  # of fifty groups those that are not kept must be seen at once
        checks += f"<details><summary><b>ok</b> {len(folded)} groups kept</summary>{_checks(folded)}</details>"
    return f'<div class="gate {_KINDS[verdict.passed]}"><b>Gate {_text(verdict.word)}</b>{checks}</div>'


def _checks(checks: Sequence[Check]) -> str:
    lines = "".join(
        f'<li class="{_KINDS[check.passed]}"><b>{_WORDS[check.passed]}</b> '
        f"{_text(check.role)} {_text(check.set)}: {_text(check.sentence.removeprefix('undecided: '))}</li>"
        for check in checks
    )
    return f"<ul>{lines}</ul>"


def _tables(tables: Sequence[Table]) -> list[str]:
    narrow = [table for table in tables if len(table.headers) <= _MAX_NARROW_COLUMNS]
    wide = [table for table in tables if len(table.headers) > _MAX_NARROW_COLUMNS]
    beside = "".join(f"<section>{_table(table)}</section>" for table in narrow)
    return [*(_table(table) for table in wide), f'<div class="beside">{beside}</div>']


def _table(table: Table) -> str:
    heading = f"<h2>{_text(table.title)}</h2>"
    note = f"<p>{_text(table.note)}</p>" if table.note else ""
    if not table.rows:
        return f"{heading}\n{note}"
    header = "".join(_cell("th", cell, table.headers[column]) for column, cell in enumerate(table.headers))
    rows = "\n".join(f"<tr{_mark(row)}>{_row(row, table.headers)}</tr>" for row in table.rows)
    kind = stack_class(table.headers)
    drawn = f"<table{kind}><thead><tr>{header}</tr></thead>\n<tbody>{rows}</tbody></table>"
    return f'{heading}\n{note}<div class="wide">{drawn}</div>'


def _mark(cells: Sequence[str]) -> str:
    return ' class="run"' if cells[0] == THIS_RUN else ""


def _row(cells: Sequence[str], headers: Sequence[str]) -> str:
    labels = cell_labels(headers)
    return "".join(_cell("td", cell, header, label) for cell, header, label in zip(cells, headers, labels, strict=True))


def _cell(tag: str, content: str, header: str, label: str = "") -> str:
    kind = ' class="text" dir="auto"' if header in _LEFT_ALIGNED else ""
    if header == "change" and content.endswith("*"):
        kind = f' class="{"good" if content.startswith("-") else "bad"}"'
    return f"<{tag}{kind}{label}>{_text(content)}</{tag}>"


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _asset(name: str) -> str:
    return files("qasr_train").joinpath("assets", "report", name).read_text(encoding="utf-8")
