"""The page of a training run: what stands in it, what does not, and that a page that cannot be made stops nothing."""

import logging
from html.parser import HTMLParser
from pathlib import Path

import pytest

from qasr_train.run.history import read_history
from qasr_train.run.page import RunPage, run_page, write_run_page
from tests.run.test_history import dev, write_run

TRAINED = [
    {"step": step, "time": 1.79e9 + step, "train/loss_nats": 3.0 / step, "train/lr": 1e-3, "train/grad_norm": 1.0}
    | {"train/audio_s_per_s": 100.0, "train/data_wait_fraction": 0.02, "train/host_memory_gib": 2.0, "train/epoch": 0}
    | {"train/audio_s": 36.0 * step, "train/lr/encoder": 1e-4, "train/lr/decoder": 1e-3}
    for step in (10, 20, 30)
]
CHARTS = [
    "Error rate of the dev sets, %",
    "Loss, nats a token",
    "Learning rates",
    "Throughput, seconds of audio a second",
]
CHARTS += ["Waiting for data, % of the time", "Memory, GiB", "Gradient"]
ROWS = [dev(0, 50.0), TRAINED[0], dev(10, 20.0), TRAINED[1], dev(20, 10.0), TRAINED[2], dev(30, 12.5)]
SAMPLES = [
    {"step": step, "set": "main", "id": "clip-1", "text": "two small pills", "pred_text": f"heard at {step}"}
    for step in (0, 10, 20, 30)
]
SECRETS = ["two small pills", "heard at", "clip-1"]


class Page(HTMLParser):
    """Elements with their attributes, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", data.strip()))

    def of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]

    @property
    def text(self) -> str:
        return " ".join(text for _, text in self.texts)


def test_it_shows_every_curve_what_is_best_and_each_validation(tmp_path: Path):
    record = {"num_steps": 40, "started_at": "2026-11-28", "resumed": [], "config": {"trainer": {"patience": 3}}}
    page = Page(run_page(read_history(write_run(tmp_path / "first", ROWS, record))))
    assert page.of("h1") == ["Training: first"] and page.of("h3") == CHARTS
    assert "Step 30 of 40, 0 epochs done, 0.30 h of audio heard" in page.text
    assert "Best: step 20, mean error rate of the dev sets in percent 10.00, the lowest of 3 validations" in page.text
    assert "Before training it was 50.00." in page.text
    assert "Validations without gain since: 1; 3 end the training (trainer.patience)." in page.text
    table = page.of("td")[:12]
    assert table == [
        "30",
        "1.0000",
        "12.50",
        "20",
        "1.0000",
        "10.00",
        "10",
        "1.0000",
        "20.00",
        "before training",
        "1.0000",
        "50.00",
    ]
    assert ("tr", {"class": "chosen"}) in page.tags
    assert {"encoder: 0.0001", "decoder: 0.001", "main: 12.5", "training: 0.1"} <= set(page.of("span"))


def test_nothing_is_loaded_and_nothing_runs(tmp_path: Path):
    page = Page(run_page(read_history(write_run(tmp_path, ROWS, {}, SAMPLES)), allow_text=True))
    assert not {"script", "link", "img", "iframe", "audio"} & {tag for tag, _ in page.tags}
    assert not [attrs for _, attrs in page.tags if {"src", "href", "onclick"} & attrs.keys()]
    assert (
        "meta",
        {"http-equiv": "Content-Security-Policy", "content": "default-src 'none'; style-src 'unsafe-inline'"},
    ) in page.tags


@pytest.mark.parametrize("allowed", [None, False, True])
def test_transcripts_and_ids_stand_in_it_only_where_the_run_allows_text(tmp_path: Path, allowed: bool | None):
    record = {"config": {"tracking": {} if allowed is None else {"allow_text": allowed}}}
    text = run_page(read_history(write_run(tmp_path, ROWS, record, SAMPLES)))
    assert [secret in text for secret in SECRETS] == [bool(allowed)] * 3
    assert ("tracking.allow_text=false" in text) is not bool(allowed)
    if allowed:
        assert Page(text).of("dt") == ["reference", "before training", "step 20, the best", "step 30"]
        assert Page(text).of("dd") == ["two small pills", "heard at 0", "heard at 20", "heard at 30"]


def test_every_text_of_the_run_is_text(tmp_path: Path):
    bad = "<script>alert(1)</script>"
    rows = [{"step": 1, f"dev/{bad[:8]}/error_rate": 1.0, "dev/error_rate": 1.0, "dev/loss_nats": 1.0}]
    samples = [{"step": 1, "set": bad, "id": bad, "text": bad, "pred_text": bad}]
    record = {"started_at": bad, "device": {bad: bad}, "config": {"model": {"path": bad}, "normalizer": bad}}
    text = run_page(read_history(write_run(tmp_path / "<b>", rows, record, samples)), allow_text=True)
    assert "<script>" not in text and "<b>" not in text.replace("<b>&lt;script", "")


def test_a_model_of_this_machine_is_named_without_its_folders(tmp_path: Path):
    record = {"config": {"model": {"path": "/home/someone/models/base"}}}
    page = Page(run_page(read_history(write_run(tmp_path, ROWS, record))))
    assert "base" in page.of("td") and "someone" not in page.text


def test_after_the_last_of_ten_epochs_ten_are_done(tmp_path: Path):
    rows = [{"step": 454, "time": 1.0, "train/loss_nats": 0.1, "train/epoch": 10}]
    assert "10 epochs done" in Page(run_page(read_history(write_run(tmp_path, rows)))).text


def test_what_went_wrong_is_said(tmp_path: Path):
    rows = [dev(0, 5.0), {"step": 5, "train/skipped_steps": 2, "train/loss_nats": 1.0}, dev(10, 7.0)]
    page = Page(run_page(read_history(write_run(tmp_path, rows))))
    assert "warning: 2 steps were left out" in page.text
    assert "No checkpoint is better on the dev sets than the model was before training." in page.text


def test_the_figures_of_a_guard_are_drawn_and_what_was_past_its_margin_is_said(tmp_path: Path):
    record = {"config": {"trainer": {"guard": {"action": "warn"}}}}
    watched = {"dev/main/deletion_percent": 2.0, "dev/main/loop_percent": 0.0}
    rows = [
        dev(0, 9.0) | watched,
        dev(10, 8.0) | watched | {"dev/num_past_margin": 0},
        dev(20, 5.0) | {"dev/num_past_margin": 2},
    ]
    text = run_page(read_history(write_run(tmp_path, rows, record)))
    assert "Guard figures of the dev sets, %" in text and "main, deletion" in text and "main, loop" not in text
    assert "the lowest of 1 validations within the margins of trainer.guard, of 2" in text
    assert "guard: at step 20 figures past their margins were 2" in text
    text = run_page(read_history(write_run(tmp_path, rows[:1] + rows[2:], record)))
    assert "All 1 validations were past a margin of trainer.guard" in text


def test_the_rewards_of_hypotheses_are_drawn(tmp_path: Path):
    judged = {"train/greedy_reward": 0.9, "train/reward": 0.7, "train/taught_nothing_fraction": 0.5}
    page = run_page(
        read_history(write_run(tmp_path, [dev(0, 50.0), *(row | judged for row in TRAINED)])), allow_text=False
    )
    assert "Reward of hypotheses" in page and "Clips whose hypotheses are all worth the same, %" in page


def test_before_anything_is_measured_there_is_no_page(tmp_path: Path):
    page = RunPage(tmp_path, is_writer=True)
    page.update()
    assert not (tmp_path / "report.html").exists()
    write_run(tmp_path, ROWS)
    page.update()
    assert "Best: step 20" in (tmp_path / "report.html").read_text()
    assert not list(tmp_path.glob("*.part"))


def test_it_can_be_made_again_elsewhere(tmp_path: Path):
    write_run(tmp_path / "old", ROWS)
    assert (
        write_run_page(tmp_path / "old", read_history(tmp_path / "old"), tmp_path / "new.html") == tmp_path / "new.html"
    )
    assert "Best: step 20" in (tmp_path / "new.html").read_text() and not (tmp_path / "old" / "report.html").exists()


def test_a_page_that_cannot_be_made_is_told_once_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_run(tmp_path, ROWS)
    (tmp_path / "report.html" / "in the way").mkdir(parents=True)
    page = RunPage(tmp_path, is_writer=True)
    with caplog.at_level(logging.WARNING):
        page.update()
        page.update()
    [told] = caplog.messages
    assert "report.html: cannot be written (IsADirectoryError" in told and "training goes on without it" in told
    assert not list(tmp_path.glob("*.part"))


def test_processes_other_than_the_first_write_nothing(tmp_path: Path):
    RunPage(write_run(tmp_path, ROWS), is_writer=False).update()
    assert not (tmp_path / "report.html").exists()
