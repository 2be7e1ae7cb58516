"""Small pages in a real browser, on a desk and on a phone: nothing is wider than the window, nothing is complained of."""

import shutil
from pathlib import Path

import pytest

from qasr_train.corpus.audit import audit_corpus
from qasr_train.corpus.audit_page import audit_page
from qasr_train.corpus.summary import Part, Summary
from qasr_train.pages.html import html_page
from qasr_train.pages.table import html_table
from qasr_train.run.history import read_history
from qasr_train.run.page import run_page
from qasr_train.sources.intake import Intake
from tests.evaluation.report.browser import Browser
from tests.helpers import utterance
from tests.run.test_history import write_run
from tests.run.test_page import ROWS, SAMPLES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("chromium") is None, reason="needs the browser chromium (apt-get install chromium)"
    ),
]
LONG_NAME = "a-clip-with-a-name-as-long-as-archives-give-them-and-no-space-in-it-" * 2


def of_a_run(folder: Path) -> str:
    rows = [row | {f"dev/set {n}/error_rate": 5.0 for n in range(6) if "dev/error_rate" in row} for row in ROWS]
    return run_page(read_history(write_run(folder / LONG_NAME, rows, {"config": {}}, SAMPLES)), allow_text=True)


def of_an_audit(folder: Path) -> str:
    rows = [utterance(id=LONG_NAME, text="caf\u0435 " + LONG_NAME, audio=f"{LONG_NAME}.wav")]
    part = Part(1, 0.1, 1, 0)
    languages = {"English": part}
    summary = Summary(part, {}, languages, 2.0, 2.0, {"2-5 s": 1}, {}, 0, [], 0, 0, [], {}, Intake().record(), [], {})
    return audit_page(summary, audit_corpus(rows), {one.id: one for one in rows}, folder)


def of_a_table(folder: Path) -> str:
    headers = [f"figure {n}" for n in range(12)]
    return html_page("Table", html_table(headers, [[LONG_NAME, *(str(n) for n in range(11))]]))


@pytest.mark.parametrize("make", [of_a_run, of_an_audit, of_a_table])
def test_a_page_fits_a_phone_and_a_desk(tmp_path: Path, make) -> None:
    page = tmp_path / "page.html"
    page.write_text(make(tmp_path), encoding="utf-8")
    with Browser(page, tmp_path / "profile") as browser:
        browser.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        for width in (1280, 400):
            browser.resize(width)
            assert browser.run("document.documentElement.scrollWidth") <= width
            lefts = browser.run("[...document.querySelectorAll('td')].map(one => one.getBoundingClientRect().left)")
            assert all(0 <= left < width for left in lefts)
        assert browser.errors == []
