"""Reports: what stands in them, that untrusted text does nothing, and that the page works in a browser where there is one."""

import base64
import hashlib
import html
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from qasr_train.evaluation.comparing.compare import compare_runs
from qasr_train.evaluation.comparing.gate import Check, Verdict
from qasr_train.evaluation.explorer.rows import MAX_EXPLORED, explorer_row
from qasr_train.evaluation.report.content import (
    comparison_report,
    scores_report,
    write_comparison_report,
    write_report,
)
from qasr_train.evaluation.report.document import render_markdown
from qasr_train.evaluation.report.html import render_html
from qasr_train.evaluation.report.plots import Bar, error_rate_plot
from qasr_train.evaluation.report.tables import duration_table
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.scoring.significance import Interval
from qasr_train.models.blocks.text_pieces import TextPiece
from qasr_train.pages.table import markdown_text, text_table
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction

EVIL = '</script><script>document.title="pwned"</script> <img src=x onerror=alert(1)> $x^$ | `a` \u2028'


def _rows(hypotheses, text="the cat sat down", **fields):
    defaults = {"set": "s", "language": "German", "duration_s": 3.0, "time_s": 0.1}
    values = defaults | fields
    return [
        Prediction(None, values["duration_s"], values["time_s"], text, hypothesis, id=f"{values['set']}{number}",
                   **{name: value for name, value in values.items() if not name.endswith("_s")})
        for number, hypothesis in enumerate(hypotheses)
    ]  # fmt: skip


def _embedded_rows(page):
    (content,) = re.findall(r'<script type="application/json" id="rows">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(content)


def test_untrusted_text_is_shown_and_does_nothing():
    row = Prediction(EVIL, 1.0, 0.1, EVIL, EVIL + " more", id=EVIL, set=EVIL, language="German", failed=None)
    report = scores_report(score_predictions([row, *_rows(["", "<b>x</b>"])], get_normalizer("none")))
    page = render_html(report)
    assert page.count("<script") == 2  # the rows and ours
    assert "<img" not in page
    assert "<b>x" not in page
    found = next(one for one in _embedded_rows(page) if one["i"] == EVIL)
    assert (found["r"], found["h"]) == (EVIL, EVIL + " more")
    markdown = render_markdown(report)
    visible = re.sub(r"^    .*$", "", markdown, flags=re.MULTILINE)  # indented lines are code
    assert "<" not in visible
    assert not re.search(r"(?<!\\)`", visible)


def test_the_page_loads_nothing_and_runs_only_its_own_script():
    page = render_html(scores_report(score_predictions(_rows(["the cat"]), get_normalizer("none"))))
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}'" in page
    outside = set(re.findall(r'(?:src|href)="([^"#][^"]*)"', page)) | set(re.findall(r"url\((?!#)[^)]*\)", page))
    assert outside == {"data:,"}


def test_texts_too_long_to_align_are_left_to_the_raw_view():
    (row,) = score_predictions(_rows(["b " * 2100], text="a " * 2100), get_normalizer("none")).rows
    assert explorer_row(row, get_normalizer("none"))["a"] is None


def test_durations_fall_into_buckets_at_their_lower_edge():
    rows = _rows(["the cat sat down"], set="a", duration_s=1.99) + _rows(["x"], set="b", duration_s=2.0)
    rows += _rows(["the cat sat down"], set="c", duration_s=60.0) + _rows(["the cat"], set="d", duration_s=None)
    table = duration_table(score_predictions(rows, get_normalizer("none")))
    # "x" against "the cat sat down" is 1 substitution and 3 deletions of 4 words.
    assert [row[:4] for row in table.rows] == [
        ["under 2", "1", "4", "0.00 *"],
        ["2 to 5", "1", "4", "100.00 *"],
        ["60 or more", "1", "4", "0.00 *"],
    ]


def test_flags_name_what_went_wrong():
    rows = _rows([""], set="a") + _rows(["x"], set="b", failed="no audio")
    rows += _rows(["the cat sat down"], set="c", predicted_language="English", is_truncated=True)
    rows += _rows(["oh"], text="", set="d")
    flags = [
        explorer_row(row, get_normalizer("none"))["f"] for row in score_predictions(rows, get_normalizer("none")).rows
    ]
    assert flags == [["empty"], ["failed", "left out"], ["cut off", "wrong language"], ["words in non-speech"]]


def test_a_report_with_a_baseline_shows_gain_and_verdict(tmp_path):
    before = score_predictions(_rows(["the cat sit down"] * 30, role="target"), get_normalizer("none"))
    after = score_predictions(_rows(["the cat sat down"] * 30, role="target"), get_normalizer("none"))
    page = write_report(tmp_path / "after", after, compare_runs(before, after)).read_text(encoding="utf-8")
    assert '<td class="good" data-label="change">-25.00 *</td>' in page
    assert "Gate passed" in page
    assert _embedded_rows(page)[0]["b"] == {
        "w": 25.0,
        "h": "the cat sit down",
        "a": ["the cat", ["sat", "sit"], "down"],
    }
    markdown = (tmp_path / "after" / "report.md").read_text(encoding="utf-8")
    assert "gate: passed" in markdown
    assert "| s | target | 30 | WER | 25.00 | 0.00 | -25.00 \\* |" in markdown


def test_a_failed_gate_and_a_loss_are_marked(tmp_path):
    runs = [replace(score_predictions(_rows([text] * 30, role="guard"), get_normalizer("none")), path=name)
            for name, text in (("base", "the cat sat down"), ("cand", "the cat sit down"))]  # fmt: skip
    page = write_comparison_report(tmp_path, compare_runs(*runs)).read_text(encoding="utf-8")
    assert '<td class="bad" data-label="change">+25.00 *</td>' in page
    assert "Gate failed" in page
    assert "gate: failed" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_comparison_shades_the_words_the_candidate_was_unsure_of():
    pieces = tuple(
        TextPiece(len(word), math.log(share)) for word, share in (("the", 0.5), (" cat", 0.25), (" sat", 0.75))
    )
    known = [replace(row, pieces=pieces) for row in _rows(["the cat sat"] * 8)]
    silent, told = (score_predictions(rows, get_normalizer("none")) for rows in (_rows(["the cat"] * 8), known))
    report = comparison_report(compare_runs(silent, told))
    assert report.explored[0]["k"] == [500, 250, 750] and report.explored[0]["b"]["h"] == "the cat"
    assert [one.below for one in report.shades] and all(0.25 <= one.below < 0.5 for one in report.shades)
    assert "least sure" in render_html(report)
    report = comparison_report(compare_runs(told, silent))
    assert "k" not in report.explored[0] and not report.shades


def test_without_roles_the_gate_says_how_to_name_them():
    runs = [
        replace(score_predictions(_rows(["the cat"]), get_normalizer("none")), path=name) for name in ("base", "cand")
    ]
    assert "name them with gate.target=[...]" in html.unescape(render_html(comparison_report(compare_runs(*runs))))


def test_the_explorer_holds_the_worst_rows_when_there_are_too_many():
    rows = _rows(["the cat sat down"] * MAX_EXPLORED + ["x"])
    report = scores_report(score_predictions(rows, get_normalizer("none")))
    assert len(report.explored) == MAX_EXPLORED
    assert report.explored[0]["h"] == "x"
    assert f"The first {MAX_EXPLORED} of {MAX_EXPLORED + 1}" in render_html(report)


def test_plots_escape_labels_and_draw_intervals():
    interval = Interval(4.0, 6.0, 0.95, "utterance", 9, "no speakers are named")
    svg = error_rate_plot([Bar("<b>$x_$</b>", "", 5.0, interval), Bar("plain", "", 0.0)], "WER in percent")
    assert svg.startswith("<svg")
    assert "&lt;b&gt;$x_$&lt;/b&gt;" in svg
    assert error_rate_plot([], "WER") == ""


def test_markdown_and_terminal_tables():
    assert markdown_text("a|b*<i>\n") == "a\\|b\\*&lt;i&gt; "
    table = duration_table(score_predictions(_rows(["the cat sat down"]), get_normalizer("none")))
    assert text_table(table).splitlines() == [
        "seconds  utterances  words   WER %  CER %",
        "2 to 5            1      4  0.00 *   0.00",
    ]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium (apt-get install chromium)")
def test_a_browser_draws_the_explorer_and_runs_no_injected_script(tmp_path):
    rows = [
        Prediction(None, 1.0, 0.1, EVIL, "so", id=f"u{number}", set="s", language="German") for number in range(200)
    ]
    page = write_report(tmp_path, score_predictions(rows, get_normalizer("none")))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
    command = ["chromium", *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert drawn.count("<summary>") == 50  # one page of rows
    assert "200 of 200" in drawn
    assert "<title>Speech recognition scores" in drawn
    assert drawn.count("<img") == 0


def test_of_many_groups_those_that_are_kept_are_folded_away():
    kept = [Check(f"accent={n}", "group", True, "kept (+0.00 points)") for n in range(6)]
    lost = Check("accent=x", "group", False, "got worse (+9.00 points)")
    report = comparison_report(compare_runs(*[score_predictions(_rows(["the cat"]), get_normalizer("none"))] * 2))
    for checks, num_folded in (([*kept, lost], 6), ([*kept[:5], lost], 0)):
        page = render_html(replace(report, verdict=Verdict(False, checks)))
        seen, _, folded = page[page.index("Gate failed") : page.index("<h2>")].partition("<details>")
        assert "accent=x: got worse" in seen and folded.count("<li") == num_folded
        assert (f"{num_folded} groups kept" in folded) is bool(num_folded)
