"""Owns a table of plain text, and how it looks on a terminal, in Markdown and on a small HTML page.

Input: headers and rows of strings. Output: text in which no cell is markup.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ABSENT = "–"


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
    """A `<table>` for `html_page`, which scrolls where it is wider than the page; every cell is escaped.

    Args:
        cell_class: of every cell of the rows. row_class: of a row, a word; "" for none.
    """
    cell = f'<td class="{cell_class}">' if cell_class else "<td>"
    heads = "".join(f"<th>{html.escape(one)}</th>" for one in headers)
    body = "".join(
        f"<tr{_attribute(row_class(row))}>" + "".join(f"{cell}{html.escape(one)}</td>" for one in row) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{heads}</tr>{body}</table></div>'


def _attribute(name: str) -> str:
    return f" class={name}" if name else ""
