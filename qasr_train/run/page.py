"""Owns the page of a training run, `report.html`: its curves, what is best and why, its validations, samples where allowed.

Input: a run directory. Output: one HTML file without scripts or network, written all or nothing, made anew
whenever it is asked for from what the run has written of itself. A page that cannot be made never stops a training.
"""

import html
import logging
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from qasr_train.files import write_whole
from qasr_train.pages.charts import CHART_STYLE, Line, line_chart
from qasr_train.pages.html import html_page
from qasr_train.pages.table import html_table, number
from qasr_train.run.history import (
    BEFORE_TRAINING,
    PAST_MARGIN,
    Best,
    Figures,
    History,
    find_best,
    read_history,
    samples_by_clip,
    validations,
)

log = logging.getLogger(__name__)

REPORT_FILE = "report.html"
_MAX_VALIDATIONS, _MAX_SAMPLES = 50, 50
_STYLE = (
    CHART_STYLE
    + """
.best { border-left: 4px solid #2f9e55; background: #f5f6f8; padding: .5rem 1rem } .best.bad { border-color: #c53030 }
tr.chosen td { background: #e5f4e9; font-weight: 600 } .warning { color: #8a4b00 }
.sample { border-top: 1px solid #ddd; padding: .4rem 0 }
.sample dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .3rem 0 } .sample dd { margin: 0 }
.sample dt { color: #5b6270; font-size: 13px }
th:first-child, td:first-child, td.text { text-align: left } td.text + td.text { overflow-wrap: anywhere }
"""
)
_GUARDED = "deletion insertion wrong_language loop hallucination context_echo term_precision".split()
_SHOWN_SETTINGS = (
    "model.path",
    "model.revision",
    "adapt.trainable",
    "adapt.lora.rank",
    "objective.name",
    "optim.name",
    "optim.lr",
    "optim.schedule",
    "data.batch_seconds",
    "trainer.num_microbatches",
    "trainer.num_epochs",
    "trainer.max_steps",
    "trainer.precision",
    "trainer.best_by",
    "trainer.patience",
    "decode.max_new_tokens",
    "normalizer",
    "seed",
)


class RunPage:
    """The page of a run that is at work; on processes other than the first it does nothing."""

    def __init__(self, run_dir: Path, *, is_writer: bool) -> None:
        self.run_dir, self.is_writer = run_dir, is_writer
        self._has_failed = False

    def update(self) -> None:
        """Make the page anew; the first time that this fails is told, and a training goes on.

        Before the first figure there is no page: a run that fails until then leaves the name of its folder free.
        """
        if not self.is_writer:
            return
        try:
            history = read_history(self.run_dir)
            if history.rows:
                write_run_page(self.run_dir, history)
        except Exception as error:
            if not self._has_failed:
                log.warning(
                    "%s: cannot be written (%s: %s); training goes on without it",
                    self.run_dir / REPORT_FILE,
                    type(error).__name__,
                    error,
                )
            self._has_failed = True


def write_run_page(run_dir: Path, history: History, out: Path | None = None, allow_text: bool | None = None) -> Path:
    """Write the page of a run; returns its path. out: None: report.html in the run's folder. allow_text: see `run_page`.

    Raises:
        OSError: it cannot be written.
    """
    path = run_dir / REPORT_FILE if out is None else out
    write_whole(path, run_page(history, allow_text), errors="replace")
    return path


def run_page(history: History, allow_text: bool | None = None) -> str:
    """The whole page. allow_text: whether sample transcripts stand in it; None: as tracking.allow_text of the run says."""
    best = find_best(history)
    shows_text = history.setting("tracking.allow_text") is True if allow_text is None else allow_text
    body = [
        f"<h1>Training: {html.escape(history.name)}</h1>",
        *(f"<p>{html.escape(sentence)}</p>" for sentence in _progress(history)),
        _best(best, history),
        *(f'<p class="warning">warning: {html.escape(sentence)}</p>' for sentence in _warnings(history)),
        f'<div class="charts">{"".join(_charts(history, best))}</div>',
        "<p>Across: optimizer steps. Every figure stands in metrics.jsonl.</p>" if history.rows else "",
        _validations(history, best),
        _samples(history, best, shows_text),
        _settings(history),
    ]
    return html_page(f"Training: {history.name}", "\n".join(part for part in body if part), style=_STYLE)


def told_of(history: History) -> list[str]:
    """What the head of the page says, as sentences: how far the run is, what is best, what went wrong."""
    return [*_progress(history), *_best_sentences(find_best(history), history), *_warnings(history)]


def _progress(history: History) -> list[str]:
    """How far it is, and when it was last heard of."""
    if not history.rows:
        return ["No line of the log is written yet."]
    planned = history.record.get("num_steps")
    parts = [f"step {history.step:,}" + (f" of {planned:,}" if isinstance(planned, int) else "")]
    if (epoch := history.last("train/epoch")) is not None:
        parts.append(f"{int(epoch)} epoch{'' if int(epoch) == 1 else 's'} done")
    if (audio_s := history.last("train/audio_s")) is not None:
        parts.append(f"{audio_s / 3600:.2f} h of audio heard")
    resumed = history.record.get("resumed")
    if isinstance(resumed, list):
        parts.append(f"resumed {len(resumed)} times" if len(resumed) > 1 else "resumed once")
    sentences = [f"{', '.join(parts).capitalize()}."]
    times = [row["time"] for row in history.rows if isinstance(row.get("time"), int | float)]
    if times:
        sentences.append(f"First figures {_clock(times[0])}, last ones {_clock(times[-1])} (UTC).")
    return sentences


def _clock(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _best(best: Best | None, history: History) -> str:
    is_gain = best is not None and (best.before is None or best.value < best.before)
    return f'<p class="best{"" if is_gain else " bad"}">{html.escape(" ".join(_best_sentences(best, history)))}</p>'


def _best_sentences(best: Best | None, history: History) -> list[str]:
    """Which checkpoint is the best, by what, and what came after it."""
    num_past = sum(bool(number) for _, number in history.curve(PAST_MARGIN))
    if best is None and num_past:
        return [f"All {num_past} validations were past a margin of trainer.guard, so no checkpoint is the best."]
    if best is None:
        return ["No validation after the first step yet, so no checkpoint is the best."]
    within = f" within the margins of trainer.guard, of {best.num_validations}" if num_past else ""
    sentences = [
        f"Best: step {best.step:,}, {best.meaning} {_figure(best, best.value)}, the lowest of "
        f"{best.num_validations - num_past} validation{'s' if best.num_validations > 1 else ''}{within} (trainer.best_by "
        "decides). checkpoints/best is that step."
    ]
    if best.before is not None:
        sentences.append(f"Before training it was {_figure(best, best.before)}.")
        if best.value >= best.before:
            sentences.append("No checkpoint is better on the dev sets than the model was before training.")
    patience = history.setting("trainer.patience")
    if best.num_without_gain:
        ends = f"; {patience} end the training (trainer.patience)" if patience else ""
        sentences.append(f"Validations without gain since: {best.num_without_gain}{ends}.")
    return sentences


def _figure(best: Best, value: float) -> str:
    return number(value, 2 if best.figure.endswith("error_rate") else 4)


def _warnings(history: History) -> Iterator[str]:
    skipped = sum(value for _, value in history.curve("train/skipped_steps"))
    if skipped:
        yield f"{skipped:g} steps were left out, since their loss or gradient was not finite"
    past = [(int(step), int(number)) for step, number in history.curve(PAST_MARGIN) if number]
    if past:
        yield f"guard: at step {past[-1][0]:,} figures past their margins were {past[-1][1]} (trainer.guard)"
    if history.num_damaged:
        yield f"{history.num_damaged} lines of the run's files cannot be read; they are left out"


def _charts(history: History, best: Best | None) -> Iterator[str]:
    """Every curve that there is something of."""
    marked = None if best is None else (float(best.step), f"best, {best.step:,}")
    sets = history.names_of("dev/", "/error_rate")
    # Several sets decide by their mean; of one the mean is itself.
    means = [Line("mean of the sets", history.curve("dev/error_rate"))] if len(sets) != 1 else []
    rates = [Line(name, history.curve(f"dev/{name}/error_rate")) for name in sets] + means
    rewards = [
        Line("greedy", history.curve("train/greedy_reward")),
        Line("all that was drawn", history.curve("train/reward")),
    ]
    taught = "training, a clip's hypotheses" if rewards[0].points else "training"
    losses = [Line(taught, history.curve("train/loss_nats"))]
    losses += [
        Line(f"dev {name}", history.curve(f"dev/{name}/loss_nats")) for name in history.names_of("dev/", "/loss_nats")
    ]
    broken = [
        Line(name, history.curve(f"dev/{name}/broken_percent")) for name in history.names_of("dev/", "/broken_percent")
    ]
    parts = history.names_of("train/lr/")
    rates_of_parts = [Line(name, history.curve(f"train/lr/{name}")) for name in parts]
    yield line_chart("Error rate of the dev sets", rates, unit="%", marked=marked)
    yield line_chart("Loss", losses, unit="nats a token", marked=marked)
    yield line_chart("Reward of hypotheses", rewards)
    nothing = history.curve("train/taught_nothing_fraction", 100.0)
    yield line_chart("Clips whose hypotheses are all worth the same", [Line("of the clips", nothing)], unit="%")
    yield line_chart("Learning rates", rates_of_parts or [Line("highest", history.curve("train/lr"))])
    yield line_chart(
        "Throughput", [Line("audio", history.curve("train/audio_s_per_s"))], unit="seconds of audio a second"
    )
    yield line_chart(
        "Waiting for data", [Line("waiting", history.curve("train/data_wait_fraction", 100.0))], unit="% of the time"
    )
    memory = {"on the fullest device, most so far": "train/peak_memory_gib", "first process": "train/host_memory_gib"}
    yield line_chart("Memory", [Line(name, history.curve(figure)) for name, figure in memory.items()], unit="GiB")
    yield line_chart("Gradient", [Line("2-norm before clipping", history.curve("train/grad_norm"))])
    if any(value > 0 for one in broken for _, value in one.points):
        yield line_chart("Broken outputs of the dev sets", broken, unit="%", marked=marked)
    if history.setting("trainer.guard.action") not in (None, "none"):
        yield line_chart("Guard figures of the dev sets", list(_guarded(history)), unit="%", marked=marked)
    slowest = [Line("slowest over mean", history.curve("train/slowest_process_ratio"))]
    yield line_chart("Processes drifting apart", slowest, unit="own time a step")


def _guarded(history: History) -> Iterator[Line]:
    """Each guard figure of each dev set that is ever other than 0."""
    for figure in _GUARDED:
        for name in history.names_of("dev/", f"/{figure}_percent"):
            curve = history.curve(f"dev/{name}/{figure}_percent")
            if any(value for _, value in curve):
                yield Line(f"{name}, {figure.replace('_', ' ')}", curve)


def _validations(history: History, best: Best | None) -> str:
    """A row a validation, the latest first."""
    rows = validations(history)
    if not rows:
        return ""
    sets = history.names_of("dev/", "/error_rate")
    headers = ["step", "loss", *(f"{name} %" for name in sets), *(["mean %"] if len(sets) > 1 else [])]
    cells = [[_step_name(row), *_validation_cells(row, sets)] for row in reversed(rows)]
    chosen = f"{best.step:,}" if best else ""
    left_out = f"<p>The latest {_MAX_VALIDATIONS} of {len(cells)}.</p>" if len(cells) > _MAX_VALIDATIONS else ""
    table = html_table(
        headers, cells[:_MAX_VALIDATIONS], row_class=lambda cells: "chosen" if cells[0] == chosen else ""
    )
    return f"<h2>Validations</h2>{left_out}{table}"


def _step_name(row: Figures) -> str:
    return f"{int(row['step']):,}" if row["step"] else BEFORE_TRAINING


def _validation_cells(row: Figures, sets: list[str]) -> list[str]:
    figures = [row.get(f"dev/{name}/error_rate") for name in sets] + (
        [row.get("dev/error_rate")] if len(sets) > 1 else []
    )
    loss = row.get("dev/loss_nats")
    return [number(loss, 4), *(number(value if value is None or math.isfinite(value) else None) for value in figures)]


def _samples(history: History, best: Best | None, shows_text: bool) -> str:
    """What was said, and what was heard before training, at the best validation and at the last."""
    clips = samples_by_clip(history)
    if not clips:
        return ""
    if not shows_text:
        return (
            "<h2>Sample transcripts</h2><p>They stand in samples.jsonl and not here: tracking.allow_text=false. This page "
            "holds no transcript.</p>"
        )
    drawn = []
    for (name, clip), by_step in list(clips.items())[:_MAX_SAMPLES]:
        kept = sorted({min(by_step), max(by_step), *([best.step] if best and best.step in by_step else [])})
        said = [("reference", by_step[kept[0]].get("text"))]
        said += [(_step_label(step, best), by_step[step].get("pred_text")) for step in kept]
        lines = "".join(
            f'<dt>{html.escape(what)}</dt><dd dir="auto">{html.escape(str(text or ""))}</dd>' for what, text in said
        )
        drawn.append(f'<div class="sample"><b>{html.escape(clip)}</b> ({html.escape(name)})<dl>{lines}</dl></div>')
    left_out = f"<p>{_MAX_SAMPLES} of {len(clips)}.</p>" if len(clips) > _MAX_SAMPLES else ""
    return f"<h2>Sample transcripts</h2>{left_out}{''.join(drawn)}"


def _step_label(step: int, best: Best | None) -> str:
    name = f"step {step:,}" if step else BEFORE_TRAINING
    return f"{name}, the best" if best is not None and step == best.step else name


def _settings(history: History) -> str:
    """What ran, shortly; a path of this machine by its last name only."""
    if not history.record:
        return ""
    rows = [["started", str(history.record.get("started_at", ""))]]
    git = history.record.get("git")
    if isinstance(git, dict):
        rows.append(["commit", f"{git.get('commit')}{', with local changes' if git.get('is_dirty') else ''}"])
    for name in ("device", "versions"):
        if isinstance(found := history.record.get(name), dict):
            rows.append([name, ", ".join(f"{key} {value}" for key, value in found.items())])
    rows += [[key, _told(value)] for key in _SHOWN_SETTINGS if (value := history.setting(key)) is not None]
    note = "<p>All settings stand in config.yaml.</p>"
    return f"<h2>What ran</h2>{html_table(('', ''), rows, cell_class='text')}{note}"


def _told(value: object) -> str:
    text = str(value)
    return Path(text).name if text.startswith(("/", "~", ".")) else text
