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
        '<div class="wide"><table><tr class="heads"><th>x</th></tr><tr><td>&lt;b&gt;</td></tr><tr class=best><td>2</td></tr>'
        "</table></div>"
    )
    assert html_table(["x"], [["1"]], cell_class="text") == (
        '<div class="wide"><table><tr class="heads"><th>x</th></tr><tr><td class="text">1</td></tr></table></div>'
    )


def test_a_figure_that_is_not_known_is_a_dash():
    assert (number(None), number(1.234), number(1.234, 1)) == ("–", "1.23", "1.2")


def test_cells_of_a_wide_table_say_their_header_for_a_narrow_screen_where_rows_are_blocks():
    headers = ["set", "WER %", 'a"b', "d", "e"]
    wide, narrow = html_table(headers, [list("12345")]), html_table(headers[:4], [list("1234")])
    assert '<table class="stack">' in wide and '<td data-label="a&quot;b">3</td>' in wide
    assert wide.count("data-label") == 5 and "stack" not in narrow and "data-label" not in narrow


def test_a_table_of_nothing_but_a_note_has_no_header():
    assert markdown_table(Table("Found", ["set"], [], "Nothing.")).splitlines() == ["## Found", "", "Nothing."]
