"""report.html in a real browser with 5,000 utterances: sorting, filtering, searching, paging, no complaint on the console."""

import random
import shutil
import time
from pathlib import Path

import pytest

from qasr_train.evaluation.comparing.compare import compare_runs
from qasr_train.evaluation.report.content import write_report
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.models.blocks.text_pieces import TextPiece
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction
from tests.evaluation.report.browser import Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("chromium") is None, reason="needs the browser chromium (apt-get install chromium)"
    ),
]
NUM_UTTERANCES = 5000
WORDS = "the patient takes two small pills of metformin every day after a long walk with <b>her</b> & his dog".split()

CELLS = "[...document.querySelectorAll('table.rows tbody tr')].map(row => row.cells[{}]?.textContent)"
CLICK = "[...document.querySelectorAll('table.rows th button')].find(one => one.textContent.startsWith('{}')).click()"
CHOOSE = """(() => {{
  const label = [...document.querySelectorAll('.filters label')].find(one => one.firstChild.textContent === '{}');
  const field = label.querySelector('select, input'); field.value = '{}';
  (field.onchange || field.oninput)(); }})()"""
COUNT = "document.getElementById('count').textContent"


def predictions(errors_a_word: float, seed: int) -> list[Prediction]:
    rng = random.Random(seed)
    rows = []
    for number in range(NUM_UTTERANCES):
        words = random.Random(number).choices(WORDS, k=3 + number % 20)
        heard = [rng.choice(WORDS) if rng.random() < errors_a_word else word for word in words]
        name = ("ward", "calls")[number % 2]
        language = ("English", "German", "French")[number % 3]
        rows.append(
            Prediction(
                None,
                1.0 + number % 20,
                0.1,
                " ".join(words),
                " ".join(heard),
                id=f"u{number:04d}",
                set=name,
                language=language,
                pieces=tuple(TextPiece(len(word) + bool(at), -rng.random()) for at, word in enumerate(heard)),
            )
        )
    return rows


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("report")
    before, after = (score_predictions(predictions(*how), get_normalizer("none")) for how in ((0.3, 1), (0.2, 2)))
    page = write_report(folder, after, compare_runs(before, after))
    with Browser(page, folder / "profile") as browser:
        yield browser


@pytest.fixture(autouse=True)
def as_it_was(browser: Browser):
    """Every test begins with a page just loaded, and no test leaves a complaint."""
    browser.run("window.isOld = true; location.reload()")
    browser.wait_for("!window.isOld && document.readyState === 'complete'")
    yield
    assert browser.errors == []


def test_it_opens_quickly_one_page_at_a_time(browser: Browser) -> None:
    assert f"{NUM_UTTERANCES}" in browser.run(COUNT).replace(",", "")
    assert browser.run("document.querySelectorAll('details').length") == 50
    assert browser.load_s < 20
    assert browser.run("[...document.querySelectorAll('h2')].map(one => one.textContent).includes('Systems')")


@pytest.mark.parametrize(("title", "column"), [("seconds", 3), ("rate %", 5), ("change", 6)])
def test_a_click_sorts_and_another_turns_it_round(browser: Browser, title: str, column: int) -> None:
    columns = browser.run("[...document.querySelectorAll('table.rows th')].map(one => one.textContent)")
    assert columns[column].startswith(title)
    seen = []
    for _ in range(2):
        browser.run(CLICK.format(title))
        values = [float(cell) for cell in browser.run(CELLS.format(column)) if cell]
        assert len(values) == 50
        assert values in (sorted(values), sorted(values, reverse=True))
        seen.append(values[0])
    assert seen[0] != seen[1]


def test_the_least_sure_words_are_shaded_and_their_utterances_come_first(browser: Browser) -> None:
    browser.run(CLICK.format("least sure"))
    values = [float(cell) for cell in browser.run(CELLS.format(7))]
    assert values == sorted(values) and max(values) < 0.4, "probabilities from e ** -1 on"
    titles = browser.run("[...document.querySelectorAll('.said .unsure3')].map(word => [word.textContent, word.title])")
    limit = float(browser.run("document.querySelector('.legend .unsure3').textContent").split()[-1].rstrip(")"))
    assert titles and all(float(title.split()[-1]) <= limit + 0.0005 for _, title in titles)
    assert all(word in WORDS for word, _ in titles)


def test_filters_leave_what_they_say(browser: Browser) -> None:
    browser.run(CHOOSE.format("set", "ward"))
    assert set(browser.run(CELLS.format(1))) == {"ward"}
    assert browser.run(COUNT).startswith("2500 of 5000")
    browser.run(CHOOSE.format("language", "German"))
    assert set(browser.run(CELLS.format(2))) == {"German"}
    browser.run(CHOOSE.format("rate % from", "50"))
    assert all(float(cell) >= 50 for cell in browser.run(CELLS.format(5)))
    browser.run(CHOOSE.format("find", "u0004"))
    assert browser.run(COUNT).startswith("0 of 5000") or browser.run(CELLS.format(0)) == ["u0004"]


def test_search_and_paging(browser: Browser) -> None:
    browser.run(CHOOSE.format("find", "u499"))
    assert sorted(browser.run(CELLS.format(0))) == [f"u499{number}" for number in range(10)]
    browser.run(CHOOSE.format("find", ""))
    first = browser.run(CELLS.format(0))
    browser.run("[...document.querySelectorAll('.pages button')].find(one => one.textContent === 'next').click()")
    assert not set(first) & set(browser.run(CELLS.format(0)))


def test_every_step_takes_less_than_a_second(browser: Browser) -> None:
    for script in (CLICK.format("rate %"), CHOOSE.format("find", "metformin"), CHOOSE.format("language", "French")):
        started_s = time.monotonic()
        browser.run(script)
        assert time.monotonic() - started_s < 1.0, script


def test_texts_are_text(browser: Browser) -> None:
    assert browser.run("document.querySelectorAll('b').length") == browser.run(
        "document.querySelectorAll('.gate b').length"
    )


def test_a_picture_can_be_looked_at(browser: Browser, tmp_path: Path) -> None:
    browser.picture(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 20_000


def test_on_a_phone_nothing_is_cut_and_no_header_covers_another(browser: Browser) -> None:
    browser.resize(400)
    try:
        assert browser.run("document.documentElement.scrollWidth") == 400
        # Of the first table, gain and loss, and of the systems: every cell that says something stands inside the window.
        for label in ("candidate %", "change", "architecture", "figures"):
            places = browser.run(
                f"[...document.querySelectorAll('td[data-label=\"{label}\"]')].map(one => one.getBoundingClientRect())"
                ".map(one => [one.left, one.right, one.width])"
            )
            assert places and all(left >= 0 and right <= 400 and width > 20 for left, right, width in places), label
        overlaps = browser.run("""(() => {
          const boxes = [...document.querySelectorAll('table.rows th button')].map(one => one.getBoundingClientRect());
          return boxes.filter((a, i) => boxes.some((b, j) => i < j
            && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)).length; })()""")
        assert overlaps == 0
        assert all(cell for cell in browser.run(CELLS.format(0)))
    finally:
        browser.resize(1300, 1000)
