"""Owns the job of `recipes/sweep_chunks.py`: what streaming costs in errors and gains in time, by the length of its chunks.

Input: a model and a suite. Output: an evaluation of whole recordings and of each stream, sweep.json, and sweep.html with error
rates drawn against delays. Each stream is compared with whole recordings by the paired test, and passes where it is surely not
worse by more than a margin (non-inferiority).
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qasr_train.evaluation.comparing.compare import compare_runs
from qasr_train.evaluation.comparing.gate import Check, Evidence, judge
from qasr_train.evaluation.report.plots import DelayPoint, delay_plot
from qasr_train.evaluation.results import evaluate_sets
from qasr_train.evaluation.scoring.run_files import is_scored, load_run
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.settings import GateConfig
from qasr_train.evaluation.suites.suite import load_suite
from qasr_train.files import parse_json, write_whole
from qasr_train.jobs.settings.evaluate import SCORING_KEYS, EvaluateConfig
from qasr_train.jobs.settings.streaming.sweep_chunks import SweepChunksConfig
from qasr_train.pages.html import html_page, wide_figure
from qasr_train.pages.table import Table, html_table, number, text_table
from qasr_train.run.device import join_machine
from qasr_train.run.directory import check_same_config, recorded_normalizer, run_directory, write_record
from qasr_train.run.processes import refuse_several_processes
from qasr_train.streaming.settings import StreamingConfig
from qasr_train.transcription.predictions import PREDICTIONS, load_predictions
from qasr_train.transcription.run import TranscriptionRun

SWEEP_VERSION = 1
MAY_CHANGE_ON_RESUME = ("resume", "max_loss_points", "alpha")
WHOLE = "whole"
ALL_SETS = "all sets"


@dataclass(frozen=True, slots=True)
class ChunkPoint:
    """One stream. name: see `SweepChunksConfig.streams`. error_percent: by the primary metric, pooled over all sets.

    delta_points, upper_points: the loss against whole recordings, and what it surely is not above. check: of non-inferiority.
    delays: `StreamScore` over all sets, as scores.json has it. num_carried: recordings of num_recordings that were heard in which
    an answer began with what was said before; in the others streaming is hearing anew, and costs nothing.
    """

    name: str
    error_percent: float
    delta_points: float
    upper_points: float
    check: Check
    delays: dict[str, Any]
    num_carried: int
    num_recordings: int

    def seconds(self, figure: str) -> float | None:
        """One of the figures of `delays`; None where it is not known."""
        found = self.delays[figure]
        return None if found is None else float(found["value"])


@dataclass(frozen=True, slots=True)
class ChunkSweep:
    """whole_percent: error rate of whole recordings. metric: "wer" or "cer". points: streams, the shortest chunks first."""

    whole_percent: float
    metric: str
    points: list[ChunkPoint]


def run(config: SweepChunksConfig) -> None:
    """Sweep, and print the table; raises as `sweep_chunks`."""
    sweep = sweep_chunks(config)
    table = _table(sweep, config)
    print(f"{text_table(table)}\n{table.note}\n")
    print("\n".join(f"{point.name}: {point.check.sentence}" for point in sweep.points))
    print(f"picture: {config.run_dir}/sweep.html")


def sweep_chunks(config: SweepChunksConfig) -> ChunkSweep:
    """Evaluate whole recordings and every stream, then write the table and the picture.

    Raises:
        ConfigError: several processes were launched; the suite has no reference words.
        UserError: as evaluate; what is done is not done again with resume=true.
    """
    refuse_several_processes("sweep_chunks")
    rules = recorded_normalizer(config.run_dir, config.suite.normalizer, resume=config.resume)
    config = replace(config, suite=replace(config.suite, normalizer=rules))
    if config.resume:
        check_same_config(Path(config.run_dir), config, ignore=MAY_CHANGE_ON_RESUME)
    with run_directory(config.run_dir, config, "sweep_chunks", resume=config.resume) as run_dir:
        whole = _scored(config, run_dir / WHOLE, None)
        points = []
        for name, streaming in config.streams().items():
            folder = run_dir / name.replace(", ", "_").replace(" ", "")
            streamed = _scored(config, folder, streaming)
            carried = _are_carried(folder, streaming.unfixed_chunks)
            points.append(_point(name, whole, streamed, folder, config, carried=carried))
        sweep = ChunkSweep(_percent(whole), whole.overall.primary_metric, points)
        write_record(run_dir / "sweep.json", _record(sweep, config))
        write_whole(run_dir / "sweep.html", _page(sweep, config))
    return sweep


def _scored(config: SweepChunksConfig, folder: Path, streaming: StreamingConfig | None) -> ScoredRun:
    """One evaluation, made now unless it is done."""
    if is_scored(folder):
        return load_run(folder)
    evaluation = EvaluateConfig(
        model=config.model,
        suite=config.suite,
        decode=config.decoding(streaming),
        run_dir=str(folder),
        resume=folder.is_dir(),
        device=config.device,
        precision=config.precision,
    )
    machine = join_machine(config.device, config.precision)
    transcription = TranscriptionRun(evaluation, load_suite(config.suite), machine, "evaluate", SCORING_KEYS)
    scored = evaluate_sets(transcription, evaluation.scoring(), evaluation.tracking)
    assert scored is not None, "a sweep is one process"
    return scored


def _percent(run: ScoredRun) -> float:
    percent = run.overall.primary_percent
    assert percent is not None, "compared below, where there are reference words"
    return percent


def _are_carried(folder: Path, unfixed_chunks: int) -> list[bool]:
    """Of each recording that was streamed, whether it was heard often enough for an answer to begin with the one before."""
    rows = load_predictions(folder / PREDICTIONS).predictions
    shown = [row.streamed.updates for row in rows if row.streamed is not None]
    return [len({one.heard_s for one in updates}) > max(1, unfixed_chunks) for updates in shown]


def _point(
    name: str,
    whole: ScoredRun,
    streamed: ScoredRun,
    folder: Path,
    config: SweepChunksConfig,
    *,
    carried: Sequence[bool],
) -> ChunkPoint:
    gate = GateConfig(max_guard_loss_points=config.max_loss_points, alpha=config.alpha)
    compared = compare_runs(whole, streamed, gate).overall
    [check] = judge({ALL_SETS: Evidence.of(compared)}, {ALL_SETS: "guard"}, gate).checks
    delays = parse_json((folder / "scores.json").read_bytes())["streaming"]["overall"]
    test = compared.test
    assert test is not None, "refused where there are no reference words"
    loss = (test.delta_percent, test.one_sided_upper_percent)
    return ChunkPoint(name, _percent(streamed), *loss, check, delays, sum(carried), len(carried))


_FIGURES = ("first_word_delay_s", "mean_delay_s", "p95_delay_s", "changed_percent")
_MARKS = {True: "yes", False: "no", None: "undecided"}


def _table(sweep: ChunkSweep, config: SweepChunksConfig) -> Table:
    metric, bound = sweep.metric.upper(), f"surely below (one-sided {100 * (1 - config.alpha):.4g} %)"
    allowed = f"within {config.max_loss_points:g} point{'' if config.max_loss_points == 1 else 's'}"
    headers = ["", f"{metric} %", "loss, points", bound, allowed, "first word s"]
    headers += ["mean delay s", "95 % within s", "changed %", "carried on", "compute s/s (this machine)"]
    rows = [["whole recordings", number(sweep.whole_percent), *[number(None)] * 9]]
    rows += [
        [
            point.name,
            number(point.error_percent),
            f"{point.delta_points:+z.2f}",
            f"{point.upper_points:+z.2f}",
            _MARKS[point.check.passed],
            *(number(point.seconds(figure)) for figure in _FIGURES),
            f"{point.num_carried} of {point.num_recordings}",
            number(point.delays["compute_s_per_s"]),
        ]
        for point in sweep.points
    ]
    note = (
        "Streams by a simulated clock against whole recordings, paired; one passes where its loss is surely within the margin. "
        "Delays in seconds from the end of a word to when its final form stood; a dash where the manifest has no word times. "
        "Carried on: recordings long enough for an answer to begin with the one before; the others end as whole recordings do."
    )
    return Table("Streaming by length of chunk", headers, rows, note)


def _record(sweep: ChunkSweep, config: SweepChunksConfig) -> dict[str, Any]:
    points = [
        {
            "name": point.name,
            "error_percent": point.error_percent,
            "delta_points": point.delta_points,
            "upper_points": point.upper_points,
            "passed": point.check.passed,
            "sentence": point.check.sentence,
            "streaming": point.delays,
            "num_carried": point.num_carried,
            "num_recordings": point.num_recordings,
        }
        for point in sweep.points
    ]
    whole = {"metric": sweep.metric, "whole_percent": sweep.whole_percent}
    return {"version": SWEEP_VERSION, **whole, "max_loss_points": config.max_loss_points, "points": points}


# Names of streams are read from the left, each on a line; bold rows are those that pass.
_STYLE = "tr.best { font-weight: bold } td:first-child { text-align: left; white-space: nowrap }"


def _page(sweep: ChunkSweep, config: SweepChunksConfig) -> str:
    drawn = [
        DelayPoint(point.name, point.seconds("mean_delay_s"), point.error_percent, point.check.passed is True)
        for point in sweep.points
    ]
    plot = delay_plot(
        drawn, whole_percent=sweep.whole_percent, limit_percent=sweep.whole_percent + config.max_loss_points
    )
    table = _table(sweep, config)
    figure = wide_figure(plot) if plot else "<p>No plot: the manifest does not say when its words were said.</p>"
    sentences = "".join(f"<li>{html.escape(f'{one.name}: {one.check.sentence}')}</li>" for one in sweep.points)
    body = f"""<h1>What streaming costs, by the length of its chunks</h1>
<p>{html.escape(config.model.path)} on suite {html.escape(config.suite.name)}, {sweep.points[0].num_recordings} recordings.</p>
{figure}
{html_table(table.headers, table.rows, row_class=lambda row: "best" if row[4] == "yes" else "")}
<p>{html.escape(table.note)}</p>
<ul>{sentences}</ul>"""
    return html_page("Streaming by length of chunk", body, style=_STYLE)
