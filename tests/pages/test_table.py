"""A table of plain text, for a terminal, in Markdown and on a page."""

from qasr_train.pages.table import Table, html_table, markdown_table, markdown_text, number, text_table

TABLE = Table("Found", ["set", "WER %"], [["a|b", "4.00"], ["long name", "–"]], "A note.")


def test_on_a_terminal_columns_are_aligned():
    assert text_table(TABLE).splitlines() == ["set        WER %", "a|b         4.00", "long name      –"]


def test_in_markdown_no_cell_is_markup():
    assert markdown_table(TABLE).splitlines() == [
        "## Found",
        "",
        "A note.",
        "",
        "| set | WER % |",
        "|---|---:|",
        "| a\\|b | 4.00 |",
        "| long name | – |",
    ]
    assert markdown_text("a|b*<i>\n") == "a\\|b\\*&lt;i&gt; "


def test_on_a_page_no_cell_is_markup_and_a_row_may_be_marked():
    assert html_table(["x"], [["<b>"], ["2"]], row_class=lambda row: "best" if row == ["2"] else "") == (
        '<div class="wide"><table><tr><th>x</th></tr><tr><td>&lt;b&gt;</td></tr><tr class=best><td>2</td></tr></table></div>'
    )
    assert html_table(["x"], [["1"]], cell_class="text") == (
        '<div class="wide"><table><tr><th>x</th></tr><tr><td class="text">1</td></tr></table></div>'
    )


def test_a_figure_that_is_not_known_is_a_dash():
    assert (number(None), number(1.234), number(1.234, 1)) == ("–", "1.23", "1.2")
