"""Owns the job of `recipes/sweep_strength.py`: how much is gained, and how much forgotten, at several strengths of a fine-tune.

Input: a checkpoint (or several, averaged), its base, a suite with target and guard sets. Output: an evaluation for every
strength, sweep.json, and sweep.html with the target's error rate drawn against the guard's.
"""

import html
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qasr_train.errors import ConfigError
from qasr_train.evaluation.report.plots import TradePoint, trade_plot
from qasr_train.evaluation.results import evaluate_sets
from qasr_train.evaluation.scoring.run_files import is_scored, load_run
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.suites.suite import load_suite
from qasr_train.files import write_whole
from qasr_train.jobs.settings.evaluate import SCORING_KEYS, EvaluateConfig
from qasr_train.jobs.settings.sweep_strength import SweepConfig
from qasr_train.models.exporting.family import find_export
from qasr_train.models.exporting.weights import Export
from qasr_train.models.exporting.write import write_export
from qasr_train.models.families import find_family
from qasr_train.models.settings import ExportDtype, ExportLayout
from qasr_train.pages.html import html_page, wide_figure
from qasr_train.pages.table import html_table
from qasr_train.run.device import join_machine
from qasr_train.run.directory import check_same_config, recorded_normalizer, run_directory, write_record
from qasr_train.run.processes import refuse_several_processes
from qasr_train.transcription.run import TranscriptionRun

SWEEP_VERSION = 1
MAY_CHANGE_ON_RESUME = ("resume", "keep_models", "max_guard_loss_points")


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """What a strength gives: error rates in percent by the primary metric, pooled over the sets of each role."""

    strength: float
    target_percent: float
    guard_percent: float


@dataclass(slots=True)
class Sweep:
    """All points by rising strength. best: the least target error with the guard inside the margin."""

    points: list[SweepPoint]
    max_guard_loss_points: float
    best: SweepPoint = field(init=False)

    def __post_init__(self) -> None:
        limit = self.points[0].guard_percent + self.max_guard_loss_points
        # The base itself is always inside, so there is one; of equals, the weaker forgets less on what no set shows.
        inside = [point for point in self.points if point.guard_percent <= limit]
        self.best = min(inside, key=lambda point: (point.target_percent, point.strength))


def run(config: SweepConfig) -> None:
    """Sweep, and print the table; raises as `sweep_strength`."""
    print(sweep_summary(sweep_strength(config), config.run_dir))


def sweep_strength(config: SweepConfig) -> Sweep:
    """Export and evaluate every strength, then write the table and the picture.

    Raises:
        ConfigError: several processes were launched, which would all export to the same folders.
        UserError: as export and evaluate; a strength that is done is not done again with resume=true.
    """
    refuse_several_processes("sweep_strength")
    rules = recorded_normalizer(config.run_dir, config.suite.normalizer, resume=config.resume)
    config = replace(config, suite=replace(config.suite, normalizer=rules))
    if config.resume:
        check_same_config(Path(config.run_dir), config, ignore=MAY_CHANGE_ON_RESUME)
    # What cannot be asked of its family is refused before anything is written; what is wrong with itself, by the export.
    if (checkpoint := Path(config.checkpoint).expanduser()).is_dir():
        _evaluation(config, checkpoint, checkpoint)
    with run_directory(config.run_dir, config, "sweep_strength", resume=config.resume) as run_dir:
        points = [_point(strength, _scored(strength, config, run_dir)) for strength in config.strengths]
        sweep = Sweep(points, config.max_guard_loss_points)
        write_record(run_dir / "sweep.json", _record(sweep))
        write_whole(run_dir / "sweep.html", _page(sweep, config))
    return sweep


def sweep_summary(sweep: Sweep, run_dir: str) -> str:
    """The table for the terminal."""
    lines = ["strength   target %    guard %"]
    for point in sweep.points:
        mark = "  <- least target error, guard inside the margin" if point is sweep.best else ""
        lines.append(f"{point.strength:8.2f} {point.target_percent:10.2f} {point.guard_percent:10.2f}{mark}")
    lines.append(f"margin of the guard: {sweep.max_guard_loss_points:g} points; picture: {run_dir}/sweep.html")
    return "\n".join(lines)


def _scored(strength: float, config: SweepConfig, run_dir: Path) -> ScoredRun:
    """The evaluation of one strength, made now unless that is done."""
    folder, model = run_dir / f"strength_{strength:.2f}", run_dir / f"model_{strength:.2f}"
    is_done = is_scored(folder)
    if not is_done and not model.is_dir():
        _write_model(strength, config, model)
    scored = load_run(folder) if is_done else _evaluate(config, model, folder)
    if not config.keep_models:
        shutil.rmtree(model, ignore_errors=True)
    return scored


def _write_model(strength: float, config: SweepConfig, out: Path) -> None:
    # float32: a small step away from the base must not be lost in the rounding of bfloat16.
    export = Export(
        checkpoint=config.checkpoint,
        layout=ExportLayout.native,
        dtype=ExportDtype.float32,
        average=config.average,
        strength=strength,
        base=config.base,
        revision=None,
    )
    write_export(export, out)


def _evaluate(config: SweepConfig, model: Path, folder: Path) -> ScoredRun:
    machine = join_machine(config.device, config.precision)
    evaluation = _evaluation(config, model, folder)
    sets = load_suite(config.suite)
    run = TranscriptionRun(evaluation, sets, machine, "evaluate", SCORING_KEYS)
    scored = evaluate_sets(run, evaluation.scoring(), evaluation.tracking)
    assert scored is not None, "a sweep is one process"
    return scored


def _evaluation(config: SweepConfig, model: Path, folder: Path) -> EvaluateConfig:
    """What run.json records: an evaluation, which compare.py reads and evaluate.py may go on with."""
    family, _ = find_export(model, config.base)
    return EvaluateConfig(
        model=find_family(family).config(path=str(model)),
        suite=config.suite,
        decode=config.decode,
        run_dir=str(folder),
        resume=folder.is_dir(),
        device=config.device,
        precision=config.precision,
    )


def _point(strength: float, scored: ScoredRun) -> SweepPoint:
    rates = {}
    for role in ("target", "guard"):
        percent = scored.roles[role].primary_percent
        if percent is None:
            raise ConfigError(
                f"suite: the {role} sets hold no reference words, so they have no error rate; give others"
            )
        rates[role] = percent
    return SweepPoint(strength, rates["target"], rates["guard"])


def _record(sweep: Sweep) -> dict[str, Any]:
    points = [
        {"strength": one.strength, "target_percent": one.target_percent, "guard_percent": one.guard_percent}
        for one in sweep.points
    ]
    return {
        "version": SWEEP_VERSION,
        "points": points,
        "best_strength": sweep.best.strength,
        "max_guard_loss_points": sweep.max_guard_loss_points,
    }


def _page(sweep: Sweep, config: SweepConfig) -> str:
    limit = sweep.points[0].guard_percent + sweep.max_guard_loss_points
    plot = trade_plot(
        [TradePoint(f"{p.strength:g}", p.guard_percent, p.target_percent, p is sweep.best) for p in sweep.points],
        limit_percent=limit,
    )
    rows = [[f"{p.strength:g}", f"{p.target_percent:.2f}", f"{p.guard_percent:.2f}"] for p in sweep.points]
    best = rows[sweep.points.index(sweep.best)]
    headers = ("strength", "target, error %", "guard, error %")
    table = html_table(headers, rows, row_class=lambda row: "best" if row is best else "")
    body = f"""<h1>What a fine-tune gains and forgets, by its strength</h1>
<p>{html.escape(config.checkpoint)}{f", averaged with {len(config.average)} more," if config.average else ""} between its base
(strength 0) and itself (strength 1), on suite {html.escape(config.suite.name)}. Bold: the least error on the target sets with
the guard sets losing at most {sweep.max_guard_loss_points:g} points. The strength was chosen on these very sets: confirm it on
others before you quote its figures.</p>
{wide_figure(plot)}
{table}"""
    return html_page("Strength sweep", body, style="tr.best { font-weight: bold }")
