"""Owns the place of a run among published figures, facts in assets/published/*.json with their source and date.

Input: a `ScoredRun` whose sets carry the names of published ones. Output: `Placement`s: a table, and WER against RTFx as `<svg>`.
Sets are matched by name alone. Figures made by other rules, or on another version of a set, are shown and said to be so.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from statistics import fmean
from typing import Any

from qasr_train.evaluation.report.plots import SpeedPoint, speed_plot
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.systems import System as SystemLine
from qasr_train.evaluation.scoring.systems import published_system
from qasr_train.files import parse_json
from qasr_train.pages.table import Table, number

TABLES = ("open_asr_english_2026_09", "open_asr_english", "open_asr_multilingual", "qwen3_asr_report")
THIS_RUN = "this run"
_NUM_BEST = 3
_NUM_NEIGHBOURS = 3  # on either side of the run


@dataclass(frozen=True, slots=True)
class Column:
    """One published set. same, other: patterns of our names for it, the same data or another version; differs: how.
    csv: its column in the leaderboard's CSV.
    """

    title: str
    same: list[str]
    other: list[str]
    differs: str = ""
    csv: str = ""


@dataclass(frozen=True, slots=True)
class System:
    """One published system: error rate in percent per column of its table, None where none was published."""

    name: str
    size_b: float | None
    rtfx: float | None
    rates: list[float | None]


@dataclass(frozen=True, slots=True)
class Published:
    """One published table. normalizers: ours by which a run may be put beside it. shown: systems always shown."""

    title: str
    source: str
    date: str
    metric: str
    scored_by: str
    normalizers: list[str]
    csv_header: list[str] | None
    shown: list[str]
    columns: list[Column]
    systems: list[System]


@dataclass(frozen=True, slots=True)
class Match:
    """A set of the run that a published column has. index: of the column."""

    index: int
    set: str
    is_same_version: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """A run among the systems of one published table. plot: "" where no speed is known. plot_label: what it shows.
    systems: the published ones that are always shown, for the table of systems.
    """

    table: Table
    plot: str
    plot_label: str = "error rate against speed"
    systems: tuple[SystemLine, ...] = ()


def read_published(name: str) -> Published:
    """One of TABLES."""
    text = files("qasr_train").joinpath("assets", "published", f"{name}.json").read_text(encoding="utf-8")
    content: dict[str, Any] = parse_json(text)
    del content["system_fields"]  # for who reads the file
    content["columns"] = [Column(**column) for column in content["columns"]]
    content["systems"] = [System(*system) for system in content["systems"]]
    return Published(**content)


def placements(run: ScoredRun) -> list[Placement]:
    """The run among every published table that has sets of its names and may stand beside its normaliser."""
    placed = [_place(run, read_published(name)) for name in TABLES]
    return [one for one in placed if one is not None]


def match_sets(run: ScoredRun, published: Published) -> list[Match]:
    """The run's sets that the table has; the same version of a set before another."""
    matches = []
    names = [name for name, group in run.sets.items() if group.primary_percent is not None]
    for index, column in enumerate(published.columns):
        for patterns, is_same in ((column.same, True), (column.other, False)):
            found = [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
            if found:
                matches.append(Match(index, found[0], is_same))
                break
    return matches


def current_sets(run: ScoredRun, published: Published) -> list[str] | None:
    """The run's set for each column, in the version that is tested today; None where one is missing."""
    found: list[str] = []
    for column in published.columns:
        found += [name for name in run.sets if any(fnmatchcase(name, one) for one in column.other or column.same)][:1]
    return found if len(found) == len(published.columns) else None


def _place(run: ScoredRun, published: Published) -> Placement | None:
    matches = match_sets(run, published) if run.normalizer.name in published.normalizers else []
    if not matches:
        return None
    ours = System(
        THIS_RUN,
        size_b(run),
        rtfx_over(run, [match.set for match in matches]),
        [_rate(run, match) for match in matches],
    )
    others = [_only(system, matches) for system in published.systems]
    ranked = sorted([ours, *(one for one in others if None not in one.rates)], key=lambda one: (_mean(one), one.name))
    return Placement(
        _table(published, matches, ranked), _plot(published, ranked), systems=_systems(published, matches, ranked)
    )


def _only(system: System, matches: list[Match]) -> System:
    return System(system.name, system.size_b, system.rtfx, [system.rates[match.index] for match in matches])


def _rate(run: ScoredRun, match: Match) -> float | None:
    return run.sets[match.set].primary_percent


def _rates(system: System) -> list[float | None]:
    return [_mean(system), *system.rates]


def _mean(system: System) -> float:
    return fmean(rate for rate in system.rates if rate is not None)


def size_b(run: ScoredRun) -> float | None:
    """Billions of parameters, where evaluate.py counted them."""
    num_parameters = run.record.get("num_parameters")
    return round(num_parameters / 1e9, 3) if isinstance(num_parameters, int) else None


def rtfx_over(run: ScoredRun, sets: list[str]) -> float | None:
    """Total over total, as the leaderboard averages speed."""
    groups = [run.sets[name] for name in sets]
    audio_s, inference_s = [group["audio_s"] for group in groups], [group["inference_s"] for group in groups]
    if None in audio_s or None in inference_s:
        return None
    total_s = sum(value or 0.0 for value in inference_s)
    return sum(value or 0.0 for value in audio_s) / total_s if total_s else None


def _shown(published: Published, ranked: list[System]) -> list[tuple[int, System]]:
    """(place from 0, system) of the best, of the run's neighbours, and of those always shown."""
    place = next(index for index, one in enumerate(ranked) if one.name == THIS_RUN)
    return [
        (index, one)
        for index, one in enumerate(ranked)
        if index < _NUM_BEST or abs(index - place) <= _NUM_NEIGHBOURS or one.name in published.shown
    ]


def _systems(published: Published, matches: list[Match], ranked: list[System]) -> tuple[SystemLine, ...]:
    figures_of = f"{published.title.partition(',')[0]}, {len(matches)} of {len(published.columns)} sets"
    return tuple(
        published_system(one.name, _mean(one), figures_of, one.rtfx, one.size_b)
        for one in ranked
        if one.name in published.shown
    )


def _table(published: Published, matches: list[Match], ranked: list[System]) -> Table:
    rows = [
        [one.name, f"{index + 1} of {len(ranked)}", _plain(one.size_b), number(one.rtfx, 1), *map(number, _rates(one))]
        for index, one in _shown(published, ranked)
    ]
    titles = [published.columns[match.index].title + ("" if match.is_same_version else " †") for match in matches]
    headers = ["system", "place", "B parameters", "RTFx", "mean %", *titles]
    return Table(f"Among published systems: {published.title}", headers, rows, _note(published, matches))


def _note(published: Published, matches: list[Match]) -> str:
    note = (
        f"{published.metric}. Published figures: {published.source}; {published.date}; scored by {published.scored_by}. Sets are "
        "matched by name, so the place is a rough one."
    )
    others = [published.columns[match.index] for match in matches if not match.is_same_version]
    if others:
        reasons = {column.differs: [one.title for one in others if one.differs == column.differs] for column in others}
        note += " † Not the same set or figure: " + "; ".join(f"{', '.join(v)}: {k}" for k, v in reasons.items()) + "."
    if len(matches) < len(published.columns):
        note += f" The mean is over the {len(matches)} of {len(published.columns)} sets that the run has."
    return note


def _plot(published: Published, ranked: list[System]) -> str:
    points = [
        SpeedPoint(one.name, _mean(one), one.rtfx, is_named=one.name in published.shown, is_run=one.name == THIS_RUN)
        for one in ranked
    ]
    return speed_plot(points, f"mean {published.metric} in percent; lower is better")


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
