"""Tables of a scored run: which confusions are listed, and what is said of those that are not."""

from collections import Counter

from qasr_train.evaluation.report.document import Report
from qasr_train.evaluation.report.html import render_html
from qasr_train.evaluation.report.tables import confusion_tables
from qasr_train.evaluation.scoring.confusions import Confusions


def test_what_was_confused_once_is_counted_and_not_listed():
    confusions = Confusions(
        substitutions=Counter({("a", "b"): 1, ("c", "d"): 3, ("e", "f"): 2, ("g", "h"): 1}),
        deletions=Counter({"the": 2}),
        insertions=Counter({"of": 1}),
    )
    substitutions, deletions, insertions = confusion_tables(confusions)
    assert substitutions.rows == [["c", "d", "3"], ["e", "f", "2"]]
    assert substitutions.note == "Not listed: 2 came once."
    assert (deletions.rows, deletions.note) == ([["the", "2"]], "")
    assert (insertions.rows, insertions.note) == ([], "Not listed: 1 came once.")


def test_what_a_list_has_no_room_for_is_counted_too():
    confusions = Confusions(deletions=Counter({f"word {n}": 2 for n in range(25)} | {"once": 1}))
    [table] = confusion_tables(confusions, num_rows=20)
    assert len(table.rows) == 20 and table.note == "Not listed: 5 more came twice or oftener, 1 came once."
    assert confusion_tables(Confusions()) == []


def test_a_list_of_nothing_shows_its_note_without_an_empty_table():
    tables = confusion_tables(Confusions(insertions=Counter({"of": 1})))
    page = render_html(Report("T", [], tables, "", [], 0, {}))
    assert "Not listed: 1 came once." in page and "<table" not in page
