"""Owns what stands in a report: its tables, picture, error explorer and provenance; writes report.md and report.html.

Input: a `ScoredRun`, with its comparison with a baseline if there is one; or a `Comparison`. Output: two files that say the same.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from qasr_train.evaluation.comparing.compare import Comparison
from qasr_train.evaluation.comparing.rules import RulesChange
from qasr_train.evaluation.explorer.rows import MAX_EXPLORED, explorer_row, most_changed_first, worst_first
from qasr_train.evaluation.report.clips import LoadClip, clip_of_file, embed_clips
from qasr_train.evaluation.report.comparison_tables import (
    column_change_tables,
    comparison_table,
    output_table,
    style_change_tables,
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
    duration_table,
    headline_table,
    language_table,
    prompt_lines,
    role_table,
    systems_table,
    text_tables,
    trouble_table,
)
from qasr_train.evaluation.scoring.confusions import count_confusions
from qasr_train.evaluation.scoring.run_files import library_versions, write_text
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.systems import system_of_run
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.settings import ReportConfig
from qasr_train.evaluation.words.tables import reading_sentences, shades_of, word_illustrations, words_as_told
from qasr_train.pages.table import Table


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
        *reading_sentences(run.words),
    ]
    if comparison is not None:
        tables += [comparison_table(comparison), *column_change_tables(comparison)]
        tables += [*term_change_tables(comparison), *style_change_tables(comparison), output_table(comparison)]
        lead.append(f"Baseline: {comparison.baseline}")
    tables.append(_systems_table(run, comparison, placed := [*noise_placements(run), *placements(run)]))
    tables += [language_table(run)] if len(run.languages) > 1 else []
    tables += [role_table(run)] if run.roles else []
    tables += [*column_tables(run), *text_tables(run)]
    tables += [duration_table(run), trouble_table(run)]
    before = {pair.candidate.key: pair.baseline for pair in comparison.pairs} if comparison else {}
    words = run.words
    return Report(
        title=f"Speech recognition scores: {_name(run)}",
        lead=lead,
        tables=[
            *(table for table in tables if table.rows),
            *confusion_tables(count_confusions(run.rows, run.normalizer)),
        ],
        plot=_comparison_plot(comparison) if comparison else _scores_plot(run),
        explored=[
            explorer_row(row, run.normalizer, before.get(row.key), words.of_row.get(row.key) if words else None)
            for row in worst_first(run.rows)[:MAX_EXPLORED]
        ],
        num_utterances=len(run.rows),
        provenance={"normalizer": run.normalizer.name, "versions": library_versions(), **run.provenance},
        verdict=comparison.verdict if comparison else None,
        warnings=list(dict.fromkeys([*run.warnings, *(comparison.warnings if comparison else [])])),
        placements=placed,
        illustrations=word_illustrations(words),
        shades=shades_of(words),
    )


def comparison_report(comparison: Comparison) -> Report:
    """The report of two runs."""
    rows = [pair.candidate for pair in comparison.pairs]
    before = {pair.candidate.key: pair.baseline for pair in comparison.pairs}
    explored = most_changed_first(rows, before)
    confusions = count_confusions(rows, comparison.normalizer)
    words = words_as_told(rows, comparison.normalizer)
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
            *style_change_tables(comparison),
            output_table(comparison),
            systems_table(list(comparison.systems.values())),
            *confusion_tables(confusions),
        ],
        plot=_comparison_plot(comparison),
        explored=[
            explorer_row(
                _without_terms(row),
                comparison.normalizer,
                before[row.key],
                words.of_row.get(row.key) if words else None,
            )
            for row in explored[:MAX_EXPLORED]
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
        shades=shades_of(words),
    )


def _without_terms(row: UtteranceScore) -> UtteranceScore:
    """The explorer of a comparison marks no terms: their change has a table."""
    return dataclasses.replace(row, terms=None, context_terms=None)


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
