"""Owns what stands in a report: its tables, picture, error explorer and provenance; writes report.md and report.html.

Input: `Scores` (with a baseline run, if there is one) or a `Comparison`. Output: two files that say the same.
"""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qasr_train.evaluation.comparing.compare import Comparison, Run, compare_runs, load_run
from qasr_train.evaluation.comparing.gate import Verdict, verdict_text
from qasr_train.evaluation.comparing.term_changes import terms_from_scores
from qasr_train.evaluation.report.clips import LoadClip, clip_of_file, embed_clips
from qasr_train.evaluation.report.comparison_tables import (
    comparison_table,
    term_change_tables,
)
from qasr_train.evaluation.report.html import render_html
from qasr_train.evaluation.report.plots import Bar, error_rate_plot
from qasr_train.evaluation.report.published import Placement, placements
from qasr_train.evaluation.report.robustness import noise_placements
from qasr_train.evaluation.report.systems import system_of_run
from qasr_train.evaluation.report.tables import (
    Table,
    confusion_tables,
    context_tables,
    duration_table,
    headline_table,
    language_table,
    markdown_table,
    markdown_text,
    role_table,
    systems_table,
    term_tables,
    trouble_table,
)
from qasr_train.evaluation.scoring.alignment import UtteranceScore
from qasr_train.evaluation.scoring.confusions import Piece, aligned_pieces, count_confusions
from qasr_train.evaluation.scoring.context_echo import UtteranceContext
from qasr_train.evaluation.scoring.entities import UtteranceTerms
from qasr_train.evaluation.scoring.metrics import primary_error_percent, primary_errors
from qasr_train.evaluation.scoring.score import Scores, write_text
from qasr_train.evaluation.settings import GateConfig, ReportConfig
from qasr_train.text.languages import CER_LANGUAGES

# The explorer holds at most so many utterances, those with the most errors first; a page of 5,000 stays quick.
MAX_EXPLORED = 10_000


@dataclass(slots=True)
class Report:
    """Content of a report, the same for Markdown and HTML. All text in it is unescaped.

    lead: paragraphs under the title. plot: an `<svg>` element or "". explored: rows of the error explorer (`explorer_row`).
    verdict: of the gate, where a baseline was given. placements: the run among published figures.
    """

    title: str
    lead: list[str]
    tables: list[Table]
    plot: str
    explored: list[dict[str, Any]]
    num_utterances: int
    provenance: dict[str, Any]
    verdict: Verdict | None = None
    warnings: list[str] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)


def write_report(
    directory: str | Path,
    scores: Scores,
    baseline: str | Path | None = None,
    *,
    gate: GateConfig | None = None,
    config: ReportConfig | None = None,
    load_clip: LoadClip = clip_of_file,
) -> Path:
    """Write DIRECTORY/report.md and report.html of a scored run; returns the HTML file.

    Args:
        baseline: a run folder to show gain and loss against; its utterances are paired by set and id.
        gate: rules of the verdict; only used with a baseline.
        config: whether recordings are embedded. load_clip: where they come from.

    Raises:
        DataError, ConfigError: the baseline cannot be read or compared; the directory cannot be written.
    """
    comparison = None
    if baseline is not None:
        terms = terms_from_scores(scores.utterances, scores.context, scores.entities)
        run = Run(str(directory), scores.normalizer, scores.utterances, terms, scores.provenance.get("run") or {})
        comparison = compare_runs(load_run(baseline, scores.normalizer), run, gate)
    report = scores_report(scores, comparison)
    _embed(report, scores.utterances, config, load_clip)
    return write_files(Path(directory), report)


def write_comparison_report(directory: str | Path, comparison: Comparison, config: ReportConfig | None = None) -> Path:
    """Write DIRECTORY/report.md and report.html of a comparison; returns the HTML file."""
    report = comparison_report(comparison)
    _embed(report, [pair.candidate for pair in comparison.pairs], config, clip_of_file)
    return write_files(Path(directory), report)


def scores_report(scores: Scores, comparison: Comparison | None = None) -> Report:
    """The report of one run."""
    tables = [headline_table(scores)]
    lead = [f"Normaliser {scores.normalizer}; {len(scores.utterances)} utterances in {len(scores.sets)} sets."]
    if comparison is not None:
        tables += [comparison_table(comparison), *term_change_tables(comparison)]
        lead.append(f"Baseline: {comparison.baseline}")
    tables.append(_systems_table(scores, comparison, placed := [*noise_placements(scores), *placements(scores)]))
    tables += [language_table(scores)] if len(scores.languages) > 1 else []
    tables += [role_table(scores)] if scores.roles else []
    tables += [*term_tables(scores), *context_tables(scores)]
    tables += [duration_table(scores), trouble_table(scores)]
    tables += confusion_tables(count_confusions(scores.utterances, scores.normalizer))
    explored = worst_first(scores.utterances)
    before = {(pair.candidate.set, pair.candidate.id): pair.baseline for pair in comparison.pairs} if comparison else {}
    extras = _extras(scores)
    return Report(
        title=f"Speech recognition scores: {_name(scores)}",
        lead=lead,
        tables=[table for table in tables if table.rows],
        plot=_comparison_plot(comparison) if comparison else _scores_plot(scores),
        explored=[
            explorer_row(row, scores.normalizer, before.get((row.set, row.id)), *extras[row.set, row.id])
            for row in explored[:MAX_EXPLORED]
        ],
        num_utterances=len(scores.utterances),
        provenance={"normalizer": scores.normalizer, "versions": scores.versions, **scores.provenance},
        verdict=comparison.verdict if comparison else None,
        warnings=[*scores.warnings, *(comparison.warnings if comparison else [])],
        placements=placed,
    )


def comparison_report(comparison: Comparison) -> Report:
    """The report of two runs."""
    rows = [pair.candidate for pair in comparison.pairs]
    before = {(pair.candidate.set, pair.candidate.id): pair.baseline for pair in comparison.pairs}
    explored = sorted(rows, key=lambda row: primary_error_percent(before[row.set, row.id]) - primary_error_percent(row))
    confusions = count_confusions(rows, comparison.normalizer)
    return Report(
        title="Speech recognition: candidate against baseline",
        lead=[
            f"Baseline: {comparison.baseline}",
            f"Candidate: {comparison.candidate}",
            f"Normaliser {comparison.normalizer}; {len(rows)} utterances scored in both runs.",
            *([comparison.note] if comparison.note else []),
        ],
        tables=[
            comparison_table(comparison),
            *term_change_tables(comparison),
            systems_table(list(comparison.systems.values())),
            *[table for table in confusion_tables(confusions) if table.rows],
        ],
        plot=_comparison_plot(comparison),
        explored=[explorer_row(row, comparison.normalizer, before[row.set, row.id]) for row in explored[:MAX_EXPLORED]],
        num_utterances=len(rows),
        provenance={
            "baseline": comparison.baseline,
            "candidate": comparison.candidate,
            "normalizer": comparison.normalizer,
            "gate": dataclasses.asdict(comparison.gate),
            "versions": comparison.versions,
        },
        verdict=comparison.verdict,
        warnings=comparison.warnings,
    )


def render_markdown(report: Report) -> str:
    """report.md; transcripts in it are escaped."""
    parts = [f"# {markdown_text(report.title)}", ""]
    lead = [*report.lead, verdict_text(report.verdict)] if report.verdict else report.lead
    for paragraph in lead:
        parts += ["  \n".join(markdown_text(line) for line in paragraph.splitlines()), ""]
    parts += [f"> warning: {markdown_text(warning)}\n" for warning in report.warnings]
    parts += [markdown_table(table) for table in [*report.tables, *(one.table for one in report.placements)]]
    parts += [markdown_table(_worst_table(report))] if report.explored else []
    content = json.dumps(report.provenance, ensure_ascii=False, indent=2)
    parts += ["## Provenance", "", *("    " + line for line in content.splitlines()), ""]
    return "\n".join(parts)


def worst_first(rows: Sequence[UtteranceScore]) -> list[UtteranceScore]:
    """Rows by falling number of errors; what is not scored comes last."""
    return sorted(rows, key=lambda row: (not row.is_scored, -primary_errors(row), row.set, row.id))


def explorer_row(
    row: UtteranceScore,
    normalizer: str,
    baseline: UtteranceScore | None = None,
    terms: UtteranceTerms | None = None,
    context: UtteranceContext | None = None,
) -> dict[str, Any]:
    """One row of the error explorer, short keys since there are thousands: explorer.js says what each means."""
    content: dict[str, Any] = {
        "s": row.set,
        "i": row.id,
        "l": row.language or "unknown",
        "d": row.duration_s,
        "e": primary_errors(row),
        "w": round(primary_error_percent(row), 1),
        "c": [row.substitutions, row.deletions, row.insertions],
        "f": _flags(row, terms, context),
        "r": row.reference or "",
        "h": row.hypothesis,
        "a": _drawn_pieces(row, normalizer),
    }
    if terms is not None:
        content["t"] = sorted({*terms.reference, *terms.hypothesis})
    if baseline is not None:
        content["b"] = {
            "w": round(primary_error_percent(baseline), 1),
            "h": baseline.hypothesis,
            "a": _drawn_pieces(baseline, normalizer),
        }
    return content


def _extras(scores: Scores) -> dict[tuple[str, str], tuple[UtteranceTerms | None, UtteranceContext | None]]:
    """(set, id) -> the terms of the list, and of the context, in that utterance."""
    nothing = [None] * len(scores.utterances)
    terms = scores.entities.utterances if scores.entities else nothing
    context = scores.context.utterances if scores.context else nothing
    return {
        (row.set, row.id): pair for row, pair in zip(scores.utterances, zip(terms, context, strict=True), strict=True)
    }


def _flags(row: UtteranceScore, terms: UtteranceTerms | None, context: UtteranceContext | None) -> list[str]:
    return [
        name
        for name, is_set in (
            ("failed", row.failed is not None),
            ("left out", not row.is_scored),
            ("empty", row.failed is None and bool(row.normalized_reference) and not row.normalized_hypothesis),
            ("loop", row.has_loop),
            ("cut off", bool(row.is_truncated)),
            ("words in non-speech", not row.normalized_reference and bool(row.normalized_hypothesis)),
            (
                "wrong language",
                bool(row.language and row.predicted_language) and row.language != row.predicted_language,
            ),
            ("term missed", terms is not None and bool(terms.missed)),
            ("term added", terms is not None and bool(terms.added)),
            ("context echoed", context is not None and bool(context.echoed)),
        )
        if is_set
    ]


def _drawn_pieces(row: UtteranceScore, normalizer: str) -> list[Piece] | None:
    """Aligned pieces, neighbouring insertions (and deletions) as one: a loop of 10,000 words must not be 10,000 elements."""
    pieces = aligned_pieces(row, normalizer)
    if pieces is None:
        return None
    separator = "" if row.language in CER_LANGUAGES else " "
    drawn: list[Piece] = []
    for _, group in itertools.groupby(
        pieces, key=lambda piece: "same" if isinstance(piece, str) else (not piece[0], not piece[1])
    ):
        run = list(group)
        if isinstance(run[0], str) or (run[0][0] and run[0][1]):
            drawn += run
        else:
            said, heard = ([piece[side] for piece in run if piece[side]] for side in (0, 1))
            drawn.append((separator.join(said), separator.join(heard)))
    return drawn


def _worst_table(report: Report, num_rows: int = 20) -> Table:
    """The Markdown twin of the explorer: its first rows."""
    headers = ["utterance", "set", "errors", "reference", "hypothesis"]
    rows = [[row["i"], row["s"], str(row["e"]), _clip(row["r"]), _clip(row["h"])] for row in report.explored[:num_rows]]
    return Table(
        "Utterances to look at first", headers, rows, "All of them stand in utterances.jsonl and in report.html."
    )


def _clip(text: str, max_characters: int = 300) -> str:
    return text if len(text) <= max_characters else text[:max_characters] + "…"


def _scores_plot(scores: Scores) -> str:
    bars = [
        Bar(name, "", group.primary_percent, group.primary_interval)
        for name, group in scores.sets.items()
        if group.primary_percent is not None
    ]
    return error_rate_plot(bars, axis_label({group.primary_metric for group in scores.sets.values()}))


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


def _systems_table(scores: Scores, comparison: Comparison | None, placed: Sequence[Placement]) -> Table:
    """This run, its baseline, and the published systems it is placed among."""
    record = scores.provenance.get("run") or {}
    rates = [group.primary_percent for group in scores.sets.values()]
    systems = [system_of_run(record, _name(scores), rates, scores.overall.rtfx)]
    systems += [comparison.systems["baseline"]] if comparison else []
    return systems_table([*systems, *(one for placement in placed for one in placement.systems)])


def _name(scores: Scores) -> str:
    run = scores.provenance.get("run") or {}
    name = scores.provenance.get("system") or (run.get("name") if isinstance(run, dict) else None)
    return str(name or scores.provenance.get("predictions") or "a run")


def _embed(report: Report, rows: Sequence[UtteranceScore], config: ReportConfig | None, load: LoadClip) -> None:
    if config is not None and config.embed_audio:
        report.lead += embed_clips(report.explored, rows, config.max_audio_mb, load)


def write_files(directory: Path, report: Report) -> Path:
    """Write report.md and report.html; returns the HTML file."""
    write_text(directory / "report.md", render_markdown(report))
    path = directory / "report.html"
    write_text(path, render_html(report))
    return path
