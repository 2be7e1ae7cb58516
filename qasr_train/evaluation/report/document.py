"""Owns what a report holds, the same for Markdown and HTML, and how it looks in Markdown.

Input: tables, picture, explored utterances, provenance. Output: `Report`; the text of report.md.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from qasr_train.evaluation.comparing.gate import Verdict, verdict_text
from qasr_train.evaluation.report.published import Placement
from qasr_train.evaluation.words.tables import Illustrated, Shade
from qasr_train.pages.table import Table, markdown_table, markdown_text


@dataclass(slots=True)
class Report:
    """Content of a report, the same for Markdown and HTML. All text in it is unescaped.

    lead: paragraphs under the title. plot: an `<svg>` element or "". explored: rows of the error explorer (`explorer_row`).
    verdict: of the gate, where a baseline was given. placements: the run among published figures. illustrations: tables with a
    picture each, behind them. shades: how sure words are that the explorer shades, rising.
    """

    title: str
    lead: list[str]
    tables: list[Table]
    plot: str
    explored: list[dict[str, Any]]
    num_utterances: int
    provenance: dict[str, Any]
    verdict: Verdict | None = None
    warnings: list[str] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)
    illustrations: list[Illustrated] = field(default_factory=list)
    shades: list[Shade] = field(default_factory=list)


def render_markdown(report: Report) -> str:
    """report.md; transcripts in it are escaped."""
    parts = [f"# {markdown_text(report.title)}", ""]
    lead = [*report.lead, verdict_text(report.verdict)] if report.verdict else report.lead
    for paragraph in lead:
        parts += ["  \n".join(markdown_text(line) for line in paragraph.splitlines()), ""]
    parts += [f"> warning: {markdown_text(warning)}\n" for warning in report.warnings]
    pictured = [*(one.table for one in report.placements), *(one.table for one in report.illustrations)]
    parts += [markdown_table(table) for table in [*report.tables, *pictured]]
    parts += [markdown_table(_worst_table(report))] if report.explored else []
    content = json.dumps(report.provenance, ensure_ascii=False, indent=2)
    parts += ["## Provenance", "", *("    " + line for line in content.splitlines()), ""]
    return "\n".join(parts)


def _worst_table(report: Report, num_rows: int = 20) -> Table:
    """The Markdown twin of the explorer: its first rows."""
    headers = ["utterance", "set", "errors", "reference", "hypothesis"]
    rows = [[row["i"], row["s"], str(row["e"]), _clip(row["r"]), _clip(row["h"])] for row in report.explored[:num_rows]]
    return Table(
        "Utterances to look at first", headers, rows, "All of them stand in utterances.jsonl and in report.html."
    )


def _clip(text: str, max_characters: int = 300) -> str:
    return text if len(text) <= max_characters else text[:max_characters] + "…"
