"""Owns what stands in a report: its tables, picture, error explorer and provenance; writes report.md and report.html.

Input: a `ScoredRun`, with its comparison with a baseline if there is one; or a `Comparison`. Output: two files that say the same.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qasr_train.evaluation.comparing.compare import Comparison
from qasr_train.evaluation.comparing.rules import RulesChange
from qasr_train.evaluation.report.clips import LoadClip, clip_of_file, embed_clips
from qasr_train.evaluation.report.comparison_tables import (
    column_change_tables,
    comparison_table,
    output_table,
    term_change_tables,
)
from qasr_train.evaluation.report.document import Report, render_markdown
from qasr_train.evaluation.report.html import render_html
from qasr_train.evaluation.report.plots import Bar, error_rate_plot
from qasr_train.evaluation.report.published import Placement, placements
from qasr_train.evaluation.report.robustness import noise_placements
from qasr_train.evaluation.report.rules import rules_tables
from qasr_train.evaluation.report.tables import (
    column_tables,
    confusion_tables,
    context_tables,
    duration_table,
    headline_table,
    language_table,
    prompt_lines,
    role_table,
    systems_table,
    term_tables,
    trouble_table,
)
from qasr_train.evaluation.scoring.confusions import count_confusions, drawn_pieces
from qasr_train.evaluation.scoring.rates import primary_error_percent, primary_errors
from qasr_train.evaluation.scoring.run_files import library_versions, write_text
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.systems import system_of_run
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.settings import ReportConfig
from qasr_train.pages.table import Table
from qasr_train.text.normalize import Normalizer

# The explorer holds at most so many utterances, those with the most errors first; a page of 5,000 stays quick.
MAX_EXPLORED = 10_000


def write_report(
    directory: str | Path,
    run: ScoredRun,
    comparison: Comparison | None = None,
    *,
    config: ReportConfig | None = None,
    load_clip: LoadClip = clip_of_file,
    by_rules: Sequence[RulesChange] = (),
) -> Path:
    """Write DIRECTORY/report.md and report.html of a scored run; returns the HTML file.

    Args:
        comparison: of the run with a baseline, to show gain and loss.
        by_rules: the same predictions by further normalisers.
        config: whether recordings are embedded. load_clip: where they come from.

    Raises:
        ConfigError: the directory cannot be written.
    """
    report = scores_report(run, comparison, by_rules)
    _embed(report, run.rows, config, load_clip)
    return write_files(Path(directory), report)


def write_comparison_report(directory: str | Path, comparison: Comparison, config: ReportConfig | None = None) -> Path:
    """Write DIRECTORY/report.md and report.html of a comparison; returns the HTML file."""
    report = comparison_report(comparison)
    _embed(report, [pair.candidate for pair in comparison.pairs], config, clip_of_file)
    return write_files(Path(directory), report)


def scores_report(run: ScoredRun, comparison: Comparison | None = None, by_rules: Sequence[RulesChange] = ()) -> Report:
    """The report of one run."""
    tables = [headline_table(run), *rules_tables(by_rules)]
    lead = [
        f"Normaliser {run.normalizer.name}; {len(run.rows)} utterances in {len(run.sets)} sets.",
        *prompt_lines(run),
    ]
    if comparison is not None:
        tables += [comparison_table(comparison), *column_change_tables(comparison)]
        tables += [*term_change_tables(comparison), output_table(comparison)]
        lead.append(f"Baseline: {comparison.baseline}")
    tables.append(_systems_table(run, comparison, placed := [*noise_placements(run), *placements(run)]))
    tables += [language_table(run)] if len(run.languages) > 1 else []
    tables += [role_table(run)] if run.roles else []
    tables += [*column_tables(run), *term_tables(run), *context_tables(run)]
    tables += [duration_table(run), trouble_table(run)]
    before = {pair.candidate.key: pair.baseline for pair in comparison.pairs} if comparison else {}
    return Report(
        title=f"Speech recognition scores: {_name(run)}",
        lead=lead,
        tables=[
            *(table for table in tables if table.rows),
            *confusion_tables(count_confusions(run.rows, run.normalizer)),
        ],
        plot=_comparison_plot(comparison) if comparison else _scores_plot(run),
        explored=[
            explorer_row(row, run.normalizer, before.get(row.key)) for row in worst_first(run.rows)[:MAX_EXPLORED]
        ],
        num_utterances=len(run.rows),
        provenance={"normalizer": run.normalizer.name, "versions": library_versions(), **run.provenance},
        verdict=comparison.verdict if comparison else None,
        warnings=list(dict.fromkeys([*run.warnings, *(comparison.warnings if comparison else [])])),
        placements=placed,
    )


def comparison_report(comparison: Comparison) -> Report:
    """The report of two runs."""
    rows = [pair.candidate for pair in comparison.pairs]
    before = {pair.candidate.key: pair.baseline for pair in comparison.pairs}
    explored = sorted(rows, key=lambda row: primary_error_percent(before[row.key]) - primary_error_percent(row))
    confusions = count_confusions(rows, comparison.normalizer)
    return Report(
        title="Speech recognition: candidate against baseline",
        lead=[
            f"Baseline: {comparison.baseline}",
            f"Candidate: {comparison.candidate}",
            f"Normaliser {comparison.normalizer.name}; {len(rows)} utterances scored in both runs.",
            *([comparison.note] if comparison.note else []),
        ],
        tables=[
            comparison_table(comparison),
            *column_change_tables(comparison),
            *term_change_tables(comparison),
            output_table(comparison),
            systems_table(list(comparison.systems.values())),
            *confusion_tables(confusions),
        ],
        plot=_comparison_plot(comparison),
        explored=[
            explorer_row(_without_terms(row), comparison.normalizer, before[row.key]) for row in explored[:MAX_EXPLORED]
        ],
        num_utterances=len(rows),
        provenance={
            "baseline": comparison.baseline,
            "candidate": comparison.candidate,
            "normalizer": comparison.normalizer.name,
            "gate": dataclasses.asdict(comparison.gate),
            "versions": comparison.versions,
        },
        verdict=comparison.verdict,
        warnings=comparison.warnings,
    )


def _without_terms(row: UtteranceScore) -> UtteranceScore:
    """The explorer of a comparison marks no terms: their change has a table."""
    return dataclasses.replace(row, terms=None, context_terms=None)


def worst_first(rows: Sequence[UtteranceScore]) -> list[UtteranceScore]:
    """Rows by falling number of errors; what is not scored comes last."""
    return sorted(rows, key=lambda row: (not row.is_scored, -primary_errors(row), *row.key))


def explorer_row(row: UtteranceScore, normalizer: Normalizer, baseline: UtteranceScore | None = None) -> dict[str, Any]:
    """One row of the error explorer, short keys since there are thousands: explorer.js says what each means."""
    heard, counts = row.prediction, row.counts
    content: dict[str, Any] = {
        "s": heard.set,
        "i": heard.id,
        "l": heard.language or "unknown",
        "d": heard.duration_s,
        "e": primary_errors(row),
        "w": round(primary_error_percent(row), 1),
        "c": [counts.substitutions, counts.deletions, counts.insertions],
        "f": _flags(row),
        "r": heard.text or "",
        "h": heard.pred_text,
        "a": drawn_pieces(row, normalizer),
    }
    if row.terms is not None:
        content["t"] = sorted({*row.terms.reference, *row.terms.hypothesis})
    if baseline is not None:
        content["b"] = {
            "w": round(primary_error_percent(baseline), 1),
            "h": baseline.prediction.pred_text,
            "a": drawn_pieces(baseline, normalizer),
        }
    return content


def _flags(row: UtteranceScore) -> list[str]:
    heard, counts = row.prediction, row.counts
    is_speech, is_written = bool(counts.normalized_reference), bool(counts.normalized_hypothesis)
    is_told_other = bool(heard.language and heard.predicted_language) and heard.language != heard.predicted_language
    return [
        name
        for name, is_set in (
            ("failed", not row.is_heard),
            ("left out", not row.is_scored),
            ("empty", row.is_empty),
            ("garbled", row.is_garbled),
            ("loop", counts.has_loop),
            ("cut off", row.is_cut_off),
            ("words in non-speech", not is_speech and is_written),
            ("wrong language", is_told_other or row.is_in_other_language),
            ("term missed", row.terms is not None and bool(row.terms.missed)),
            ("term added", row.terms is not None and bool(row.terms.added)),
            ("context echoed", row.context_terms is not None and bool(row.context_terms.echoed)),
        )
        if is_set
    ]


def _scores_plot(run: ScoredRun) -> str:
    bars = [
        Bar(name, "", group.primary_percent, group.primary_interval)
        for name, group in run.sets.items()
        if group.primary_percent is not None
    ]
    return error_rate_plot(bars, axis_label({group.primary_metric for group in run.sets.values()}))


def _comparison_plot(comparison: Comparison) -> str:
    bars = []
    for name, group in comparison.sets.items():
        if group.test is not None:
            bars += [
                Bar(name, "baseline", group.test.baseline_percent, group.baseline_interval),
                Bar(name, "candidate", group.test.candidate_percent, group.candidate_interval),
            ]
    return error_rate_plot(bars, axis_label({group.metric for group in comparison.sets.values()}))


def axis_label(metrics: set[str]) -> str:
    """What the bars of a plot are."""
    return f"{' or '.join(sorted(metrics)).upper()} in percent; lower is better"


def _systems_table(run: ScoredRun, comparison: Comparison | None, placed: Sequence[Placement]) -> Table:
    """This run, its baseline, and the published systems it is placed among."""
    rates = [group.primary_percent for group in run.sets.values()]
    systems = [system_of_run(run.record, _name(run), rates, run.overall["rtfx"])]
    systems += [comparison.systems["baseline"]] if comparison else []
    return systems_table([*systems, *(one for placement in placed for one in placement.systems)])


def _name(run: ScoredRun) -> str:
    names = (run.provenance.get("system"), run.record.get("name"), run.provenance.get("predictions"))
    return next((str(name) for name in names if name), "a run")


def _embed(report: Report, rows: Sequence[UtteranceScore], config: ReportConfig | None, load: LoadClip) -> None:
    if config is not None and config.embed_audio:
        report.lead += embed_clips(report.explored, rows, config.max_audio_mb, load)


def write_files(directory: Path, report: Report) -> Path:
    """Write report.md and report.html; returns the HTML file."""
    write_text(directory / "report.md", render_markdown(report))
    path = directory / "report.html"
    write_text(path, render_html(report))
    return path
