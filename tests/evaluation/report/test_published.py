"""A run among published figures: which sets match, its place and mean by hand, and that differences are said."""

import re

import pytest

from qasr_train.evaluation.report.content import scores_report
from qasr_train.evaluation.report.document import render_markdown
from qasr_train.evaluation.report.html import render_html
from qasr_train.evaluation.report.plots import SpeedPoint, speed_plot
from qasr_train.evaluation.report.published import TABLES, match_sets, placements, read_published
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction


def _scores(sets, normalizer="leaderboard-2026-08", language="English"):
    """sets: name -> wrong words of 100."""
    rows = []
    for name, wrong in sets.items():
        hypothesis = " ".join(["word"] * (100 - wrong) + ["other"] * wrong)
        rows.append(
            Prediction(None, 30.0, 0.1, " ".join(["word"] * 100), hypothesis, id="u", set=name, language=language)
        )
    return score_predictions(rows, get_normalizer(normalizer))


@pytest.mark.parametrize("name", TABLES)
def test_published_tables_are_whole(name):
    table = read_published(name)
    assert {len(system.rates) for system in table.systems} == {len(table.columns)}
    assert len({system.name for system in table.systems}) == len(table.systems)
    assert set(table.shown) <= {system.name for system in table.systems}
    assert all(bool(column.other) == bool(column.differs) for column in table.columns)
    rates = [rate for system in table.systems for rate in system.rates if rate is not None]
    assert min(rates) > 0


def test_figures_are_those_published():
    table = read_published("open_asr_english")
    (qwen,) = [system for system in table.systems if system.name == "Qwen/Qwen3-ASR-1.7B"]
    published = {column.title: rate for column, rate in zip(table.columns, qwen.rates, strict=True)}
    assert (published["LS clean"], published["LS other"], published["SPGISpeech"], qwen.rtfx) == (
        1.63,
        3.4,
        2.84,
        147.93,
    )
    report = read_published("qwen3_asr_report")
    (large,) = [system for system in report.systems if system.name == "Qwen3-ASR-1.7B"]
    published = {column.title: rate for column, rate in zip(report.columns, large.rates, strict=True)}
    assert (published["FLEURS en"], published["FLEURS zh"], published["LS clean"]) == (3.35, 2.41, 1.63)


def test_a_run_stands_where_its_mean_says():
    placed, from_report = placements(_scores({"librispeech_clean": 1, "librispeech_other": 3, "mine": 50}))
    rows = {row[0]: row for row in placed.table.rows}
    run = rows["this run"]
    assert run[4:] == ["2.00", "1.00", "3.00"]
    assert run[3] == "300.0"
    # Qwen3-ASR-1.7B: (1.63 + 3.40) / 2 = 2.515; what stands above the run has a lower mean.
    assert rows["Qwen/Qwen3-ASR-1.7B"][4] in ("2.51", "2.52")
    place = int(run[1].split(" of ")[0])
    # One system has 2.00 too and stands above by its name.
    better = [one for one in read_published("open_asr_english").systems if round(sum(one.rates[3:5]) / 2, 9) <= 2.0]
    assert place == len(better) + 1
    assert placed.table.headers[5:] == ["LS clean", "LS other"]
    assert "The mean is over the 2 of 7 sets" in placed.table.note
    assert "†" not in placed.table.note
    assert placed.plot.startswith("<svg")
    assert "Qwen3-ASR Technical Report" in from_report.table.title
    assert from_report.plot == ""  # no speeds by this measure


def test_another_version_of_a_set_is_said():
    scores = _scores({"ami": 8, "hf-audio-open-asr-leaderboard_spgispeech_test": 3})
    (placed,) = placements(scores)
    assert placed.table.headers[5:] == ["AMI †", "SPGISpeech"]
    assert "† Not the same set or figure: AMI: published on the set before it was cleaned." in placed.table.note
    matches = match_sets(scores, read_published("open_asr_english"))
    assert [(match.set, match.is_same_version) for match in matches] == [
        ("ami", False),
        ("hf-audio-open-asr-leaderboard_spgispeech_test", True),
    ]


def test_other_rules_or_names_give_no_place():
    assert placements(_scores({"ami": 8}, normalizer="qasr-1")) == []
    assert placements(_scores({"own": 8})) == []
    (placed,) = placements(_scores({"fleurs_de": 5}, normalizer="qasr-1", language="German"))
    assert "Qwen3-ASR Technical Report" in placed.table.title
    assert placements(_scores({"fleurs_de": 5}, normalizer="none", language="German")) == []


def test_reports_show_the_place():
    report = scores_report(_scores({"librispeech_clean": 1}))
    page = render_html(report)
    assert re.search(r'<tr class="run"><td[^>]*>this run</td>', page)
    assert 'aria-label="error rate against speed"' in page
    assert "Among published systems: Open ASR Leaderboard, English short-form" in render_markdown(report)


def test_the_plot_of_speed_escapes_names_and_needs_two_speeds():
    points = [SpeedPoint("<b>$x$</b>", 5.0, 10.0, is_named=True), SpeedPoint("this run", 6.0, 20.0, is_run=True)]
    assert "&lt;b&gt;$x$&lt;/b&gt;" in speed_plot(points, "WER")
    assert speed_plot(points[:1], "WER") == ""
    line = [*points, SpeedPoint("other", 99.0, 30.0), SpeedPoint("this run", 7.0, None, is_run=True)]
    drawn = speed_plot(line, "WER")
    assert "speed not known" in drawn
    assert "1 others lie above" in drawn


def test_the_mean_over_eight_sets_of_a_fine_tune_is_what_the_maintainers_found():
    table = read_published("open_asr_english_2026_09")
    (tuned,) = [system for system in table.systems if system.name == "bosonai/Qwen3-ASR-1.7B-hf-orze"]
    assert round(sum(tuned.rates) / 8, 2) == 4.24
    assert table.normalizers == ["leaderboard-2026-11"]
    (placed,) = placements(_scores({"ami": 8, "monsoon_en_in": 3}, "leaderboard-2026-11"))
    assert "2026-09-02" in placed.table.note
    assert placed.table.headers[5:] == ["AMI", "Monsoon en-IN"]
