"""Owns a table of plain text, and how it looks on a terminal, in Markdown and on a small HTML page.

Input: headers and rows of strings. Output: text in which no cell is markup.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ABSENT = "–"
_MAX_COLUMNS_NARROW = 4
# On a narrow screen a row of a wide table becomes a block, a line a cell with its header before it.
STACKED_STYLE = """
@media (max-width: 640px) {
  table.stack, .stack tbody, .stack tr, .stack td { display: block }
  .stack thead, .stack tr.heads { display: none }
  .stack tr { border: 1px solid #d9dce1; border-radius: 4px; padding: 4px 10px; margin: 0 0 8px }
  .stack td, .stack td.text { display: flex; justify-content: space-between; gap: 12px; border: 0; padding: 1px 0;
    text-align: right; white-space: normal; overflow-wrap: anywhere }
  .stack td::before { content: attr(data-label); color: #5b6270; font-weight: 400; text-align: left; flex: none }
  .stack td[data-label=""]::before { content: none } .stack td:empty { display: none }
  .stack td:first-child { font-weight: 600; justify-content: flex-start }
}
"""


@dataclass(frozen=True, slots=True)
class Table:
    """Headers and rows of plain text, every cell unescaped; the first column is left-aligned, the others right."""

    title: str
    headers: list[str]
    rows: list[list[str]]
    note: str = ""


def number(value: float | None, places: int = 2) -> str:
    """A figure to so many places, or a dash."""
    return ABSENT if value is None else f"{value:.{places}f}"


def p_text(p_value: float | None) -> str:
    """A p value as tables print it."""
    if p_value is None:
        return ABSENT
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def text_table(table: Table) -> str:
    """For a terminal: aligned columns, no lines."""
    lines = [table.headers, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.headers))]
    text = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        for line in lines
    ]
    return "\n".join(text)


def markdown_table(table: Table) -> str:
    """A Markdown section with the table; cells are escaped so that no text in them is markup."""
    header = "| " + " | ".join(markdown_text(cell) for cell in table.headers) + " |"
    rule = "|---|" + "---:|" * (len(table.headers) - 1)
    rows = ["| " + " | ".join(markdown_text(cell) for cell in row) + " |" for row in table.rows]
    note = [table.note, ""] if table.note else []
    if not table.rows:
        return "\n".join([f"## {table.title}", "", *note])
    return "\n".join([f"## {table.title}", "", *note, header, rule, *rows, ""])


_MARKDOWN_SPECIAL = str.maketrans(
    {character: "\\" + character for character in "\\`*_{}[]()#+!|~$"}
    | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": " ", "\r": " "}
)


def markdown_text(text: str) -> str:
    """Untrusted text as Markdown that shows it and does nothing else."""
    return text.translate(_MARKDOWN_SPECIAL)


def html_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    cell_class: str = "",
    row_class: Callable[[Sequence[str]], str] = lambda row: "",
) -> str:
    """A `<table>` for `html_page`; every cell is escaped. On a narrow screen rows of many cells become blocks (STACKED_STYLE).

    Args:
        cell_class: of every cell of the rows. row_class: of a row, a word; "" for none.
    """
    kind = f' class="{cell_class}"' if cell_class else ""
    labels = cell_labels(headers)
    heads = "".join(f"<th>{html.escape(one)}</th>" for one in headers)
    body = "".join(
        f"<tr{_attribute(row_class(row))}>"
        + "".join(f"<td{kind}{label}>{html.escape(one)}</td>" for one, label in zip(row, labels, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table{stack_class(headers)}><tr class="heads">{heads}</tr>{body}</table></div>'


def stack_class(headers: Sequence[str]) -> str:
    """The attribute by which STACKED_STYLE knows a table that is too wide for a narrow screen; "" for one that is not."""
    return ' class="stack"' if len(headers) > _MAX_COLUMNS_NARROW else ""


def cell_labels(headers: Sequence[str]) -> list[str]:
    """The attribute of each cell of a row that says its header there; "" where the table is narrow enough."""
    if len(headers) <= _MAX_COLUMNS_NARROW:
        return [""] * len(headers)
    return [f' data-label="{html.escape(one, quote=True)}"' for one in headers]


def _attribute(name: str) -> str:
    return f" class={name}" if name else ""
