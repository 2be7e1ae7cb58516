"""The page's script in a real browser: which words of a text can be clicked."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.report.browser import Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("chromium") is None, reason="needs the browser chromium (apt-get install chromium)"
    ),
]
ASSETS = Path(__file__).resolve().parents[2] / "qasr_train" / "assets" / "serve"
SHOWN = "[...document.querySelectorAll('#segments p')].map(p => [p.textContent, [...p.children].map(one => one.textContent)])"


def words(*texts: str) -> list[dict[str, Any]]:
    return [{"word": text, "start": float(number), "end": number + 0.5} for number, text in enumerate(texts)]


def test_each_segment_has_its_own_words_with_marks_that_stand_alone(tmp_path: Path) -> None:
    """The aligner joins a mark to the word before it; a segment in a language that it does not know has no words."""
    page = tmp_path / "page.html"
    page.write_text((ASSETS / "page.html").read_text().replace("/page/page.js", (ASSETS / "page.js").as_uri()))
    texts = ["one two", "un jour ! (1+1) - oui", "one two"]
    heard = {
        "duration": 9.0,
        "language": "french",
        "segments": [{"start": 3.0 * number, "text": text} for number, text in enumerate(texts)],
        "words": words("un", "jour!", "(1+1)-", "oui", "one", "two"),
        "num_words": [0, 4, 2],
    }
    with Browser(page, tmp_path / "profile") as browser:
        browser.run(f"showFinal({json.dumps(heard)}, 1)")
        assert browser.run(SHOWN) == [
            ["one two", []],
            [texts[1], ["un", "jour !", "(1+1) -", "oui"]],
            ["one two", ["one", "two"]],
        ]
        heard["words"][1] |= {"start": None, "end": None}
        browser.run(f"showFinal({json.dumps(heard)}, 1)")
        assert "; 1 of 6 words could not be placed (dotted)" in browser.run("at('upload-state').textContent")
