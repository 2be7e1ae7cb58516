"""Owns the comparison of two runs on the same utterances: differences, how sure they are, and the gate's verdict.

Input: two scored runs. Output: `Comparison`, written to comparison.json.
"""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.columns.compared import ColumnChange, column_changes
from qasr_train.evaluation.columns.values import NOT_STATED, By
from qasr_train.evaluation.comparing.gate import Evidence, Verdict, judge
from qasr_train.evaluation.comparing.group import GroupComparison, compare_pairs
from qasr_train.evaluation.comparing.output_changes import collapsed_because
from qasr_train.evaluation.comparing.pairs import Pair, pair_runs
from qasr_train.evaluation.comparing.term_changes import TermChange, compare_terms
from qasr_train.evaluation.scoring.groups import Groups
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.run_files import library_versions, write_result
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.significance import ResampleBy
from qasr_train.evaluation.scoring.systems import System, system_of_rows
from qasr_train.evaluation.settings import GateConfig
from qasr_train.evaluation.style.changes import StyleChange, compare_style
from qasr_train.text.normalize import Normalizer
from qasr_train.transcription.unstated_language import UNSTATED

COMPARISON_VERSION = 2  # 2: p_value in place of p_bootstrap and p_segments


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything two runs compared to. warnings say what was left out of it."""

    baseline: str
    candidate: str
    normalizer: Normalizer
    overall: GroupComparison
    sets: dict[str, GroupComparison]
    languages: dict[str, GroupComparison]
    roles: dict[str, str | None]
    verdict: Verdict
    gate: GateConfig
    warnings: list[str]
    versions: dict[str, str]
    terms: list[TermChange]
    systems: dict[str, System]
    pairs: list[Pair]
    note: str | None = None
    columns: list[ColumnChange] = field(default_factory=list)
    style: list[StyleChange] = field(default_factory=list)


def compare_runs(
    baseline: ScoredRun,
    candidate: ScoredRun,
    gate: GateConfig | None = None,
    *,
    resample_by: ResampleBy = ResampleBy.auto,
    note: str | None = None,
    by: By | None = None,
    style: Sequence[str] = (),
) -> Comparison:
    """Compare two runs utterance by utterance, paired by (set, id).

    Args:
        note: stands at the head of the report. by: columns whose groups are compared; the gate may judge them. style: traits
            that are compared, beside those that the gate judges.

    Raises:
        DataError: other normalisers or lexicons, other references, or no utterance in common.
        ConfigError: the gate names a set that is not there; a column parts nothing.
    """
    gate = gate or GateConfig()
    rules = _common_rules(baseline, candidate)
    pairs, warnings = pair_runs(baseline, candidate)
    resampling = Resampling(1 - gate.alpha, resample_by)
    groups = Groups(pairs, lambda part: compare_pairs(part, resampling))
    terms, term_warnings = compare_terms(baseline, candidate, pairs, resampling)
    sets = groups.by(lambda pair: pair.set)
    columns = column_changes(pairs, by or By(), groups, resampling)
    roles = _roles(pairs, gate)
    changes, styles = compare_style(pairs, rules, roles, [*style, *gate.style_target, *gate.style_guard], resampling)
    evidence = {name: Evidence.of(one) for name, one in sets.items()}
    return Comparison(
        baseline=baseline.path,
        candidate=candidate.path,
        normalizer=rules,
        overall=groups.by(lambda pair: "")[""],
        sets=sets,
        languages=groups.by(lambda pair: pair.candidate.prediction.language or "unknown"),
        roles=roles,
        verdict=judge(evidence, roles, gate, _judged(columns, gate), styles),
        gate=gate,
        warnings=[*_on_both(baseline, candidate), *warnings, *term_warnings, *_collapsed(sets, roles, gate)],
        versions=library_versions(),
        terms=terms,
        systems=_systems(baseline, candidate, pairs),
        pairs=pairs,
        note=note,
        columns=columns,
        style=changes,
    )


def _systems(baseline: ScoredRun, candidate: ScoredRun, pairs: Sequence[Pair]) -> dict[str, System]:
    return {
        "baseline": system_of_rows(baseline.record, baseline.path, [pair.baseline for pair in pairs]),
        "candidate": system_of_rows(candidate.record, candidate.path, [pair.candidate for pair in pairs]),
    }


def _judged(columns: Sequence[ColumnChange], gate: GateConfig) -> dict[str, Evidence]:
    """What the gate looks at in groups, where it does."""
    if gate.worst_group is None:
        return {}
    return {
        f"{column.column}={name}": Evidence.of(group, is_one_speaker=name in column.one_speaker)
        for column in columns
        for name, group in column.groups.items()
        if name != NOT_STATED
    }


def _common_rules(baseline: ScoredRun, candidate: ScoredRun) -> Normalizer:
    ours, theirs = baseline.normalizer, candidate.normalizer
    if ours != theirs:
        raise DataError(
            f"{baseline.path} was scored by {ours.name} and {candidate.path} by {theirs.name}; "
            "give normalizer= to score both by the same rules"
        )
    lexicons = [run.lexicon.digest if run.lexicon else None for run in (baseline, candidate)]
    if lexicons[0] != lexicons[1]:
        names = [run.lexicon.path if run.lexicon else "none" for run in (baseline, candidate)]
        raise DataError(
            f"{baseline.path} was scored with spellings={names[0]} and {candidate.path} with spellings={names[1]}; "
            "give spellings= to score both with the same lexicon"
        )
    return ours


def write_comparison(directory: str | Path, comparison: Comparison) -> None:
    """Write DIRECTORY/comparison.json, all or nothing.

    Raises:
        ConfigError: the directory cannot be written.
    """
    write_result(Path(directory) / "comparison.json", comparison_row(comparison))


def comparison_row(comparison: Comparison) -> dict[str, Any]:
    """The content of comparison.json."""
    row = {
        field.name: getattr(comparison, field.name) for field in dataclasses.fields(comparison) if field.name != "pairs"
    }
    row["normalizer"] = comparison.normalizer.name
    row = json.loads(json.dumps(row, default=dataclasses.asdict))
    for name in ("columns", "style"):
        if not row[name]:
            del row[name]
    row["verdict"] = {"word": comparison.verdict.word, **row["verdict"]}
    return {"version": COMPARISON_VERSION, **row}


def _on_both(baseline: ScoredRun, candidate: ScoredRun) -> list[str]:
    """What the runs say of rows that name no language, once where they say the same; and whether they were prompted otherwise."""
    said = [warning for run in (baseline, candidate) for warning in run.warnings if UNSTATED in warning]
    said = list(dict.fromkeys(said))
    ours, theirs = (" and ".join(run.prompts) for run in (baseline, candidate))
    if ours == theirs:
        return said
    return [
        *said,
        f"the baseline was transcribed with decode.prompt={ours}, the candidate with decode.prompt={theirs}: what the prompt "
        "costs or gains is in every difference; evaluate both with the same one to compare the models",
    ]


def _collapsed(sets: dict[str, GroupComparison], roles: dict[str, str | None], gate: GateConfig) -> list[str]:
    """What would be refused in sets that the gate does not judge."""
    found = {
        name: collapsed_because(one.outputs, one.test, gate, should_improve=True)
        for name, one in sets.items()
        if roles[name] not in ("target", "guard") and one.num_utterances >= gate.min_units
    }
    return [f"set {name}: {because}" for name, because in found.items() if because is not None]


def _roles(pairs: Sequence[Pair], gate: GateConfig) -> dict[str, str | None]:
    """The role per set: what the gate names, else what the rows say."""
    said: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        role = pair.candidate.prediction.role or pair.baseline.prediction.role
        said[pair.set].update([role] if role else [])
    roles: dict[str, str | None] = {}
    for name in sorted(said):
        if len(said[name]) > 1:
            raise DataError(f"set {name!r} has rows with role target and rows with role guard; give a set one role")
        roles[name] = next(iter(said[name]), None)
    for role, names in (("target", gate.target), ("guard", gate.guard)):
        if names is None:
            continue
        for name in names:
            if name not in roles:
                raise ConfigError(f"gate.{role}: no set {name!r} in both runs; there are {', '.join(roles)}")
        roles = {
            name: role if name in names else (None if said_role == role else said_role)
            for name, said_role in roles.items()
        }
    return roles
