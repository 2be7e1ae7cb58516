"""Owns the comparison of two runs on the same utterances: differences, how sure they are, and the gate's verdict.

Input: two scored runs. Output: `Comparison`, written to comparison.json.
"""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.comparing.gate import Evidence, Verdict, judge
from qasr_train.evaluation.comparing.output_changes import OutputChange, collapsed_because, compare_outputs
from qasr_train.evaluation.comparing.paired import PairedTest, paired_test
from qasr_train.evaluation.comparing.pairs import Pair, pair_runs
from qasr_train.evaluation.comparing.term_changes import TermChange, compare_terms
from qasr_train.evaluation.scoring.groups import Groups
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.rates import counts_of, primary_metric_of
from qasr_train.evaluation.scoring.run_files import library_versions, write_result
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.scoring.significance import Interval, ResampleBy, error_rate_interval
from qasr_train.evaluation.scoring.systems import System, system_of_rows
from qasr_train.evaluation.settings import GateConfig
from qasr_train.text.normalize import Normalizer
from qasr_train.transcription.unstated_language import UNSTATED

COMPARISON_VERSION = 2  # 2: p_value in place of p_bootstrap and p_segments


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """Two systems on one group of utterances.

    metric: "wer" or "cer", the primary one of the group's languages. test: None if there are no reference words.
    baseline_interval, candidate_interval: of each rate by itself, for pictures.
    num_better, num_worse: utterances with fewer and with more errors than under the baseline.
    outputs: the broken ones (empty, garbled ...) and their change, by way.
    """

    metric: str
    num_utterances: int
    num_better: int
    num_worse: int
    test: PairedTest | None
    baseline_interval: Interval | None
    candidate_interval: Interval | None
    outputs: dict[str, OutputChange]


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


def compare_runs(
    baseline: ScoredRun,
    candidate: ScoredRun,
    gate: GateConfig | None = None,
    *,
    resample_by: ResampleBy = ResampleBy.auto,
    note: str | None = None,
) -> Comparison:
    """Compare two runs utterance by utterance, paired by (set, id).

    Args:
        note: stands at the head of the report.

    Raises:
        DataError: other normalisers, other references, or no utterance in common.
        ConfigError: the gate names a set that is not there.
    """
    gate = gate or GateConfig()
    rules = _common_rules(baseline, candidate)
    pairs, warnings = pair_runs(baseline, candidate)
    resampling = Resampling(1 - gate.alpha, resample_by)
    groups = Groups(pairs, lambda part: compare_pairs(part, resampling))
    terms, term_warnings = compare_terms(baseline, candidate, pairs, resampling)
    sets = groups.by(lambda pair: pair.set)
    roles = _roles(pairs, gate)
    return Comparison(
        baseline=baseline.path,
        candidate=candidate.path,
        normalizer=rules,
        overall=groups.by(lambda pair: "")[""],
        sets=sets,
        languages=groups.by(lambda pair: pair.candidate.prediction.language or "unknown"),
        roles=roles,
        verdict=judge(
            {name: Evidence(one.test, one.outputs, one.num_utterances) for name, one in sets.items()}, roles, gate
        ),
        gate=gate,
        warnings=[*_on_both(baseline, candidate), *warnings, *term_warnings, *_collapsed(sets, roles, gate)],
        versions=library_versions(),
        terms=terms,
        systems={
            name: system_of_rows(run.record, run.path, [getattr(pair, name) for pair in pairs])
            for name, run in (("baseline", baseline), ("candidate", candidate))
        },
        pairs=pairs,
        note=note,
    )


def _common_rules(baseline: ScoredRun, candidate: ScoredRun) -> Normalizer:
    ours, theirs = baseline.normalizer, candidate.normalizer
    if ours != theirs:
        raise DataError(
            f"{baseline.path} was scored by {ours.name} and {candidate.path} by {theirs.name}; "
            "give normalizer= to score both by the same rules"
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
    row["verdict"] = {"word": comparison.verdict.word, **row["verdict"]}
    return {"version": COMPARISON_VERSION, **row}


def compare_pairs(pairs: Sequence[Pair], resampling: Resampling) -> GroupComparison:
    """The comparison of a part of the pairs; they are pooled, by the primary metric of their languages."""
    metric = primary_metric_of({pair.candidate.prediction.language for pair in pairs})
    ours = counts_of([pair.baseline for pair in pairs], metric)
    theirs = counts_of([pair.candidate for pair in pairs], metric)
    speakers = [pair.candidate.prediction.speaker for pair in pairs]
    options = resampling.options()
    return GroupComparison(
        metric=metric,
        num_utterances=len(pairs),
        num_better=int((theirs[0] < ours[0]).sum()),
        num_worse=int((theirs[0] > ours[0]).sum()),
        test=paired_test(ours, theirs, speakers, **options),
        baseline_interval=error_rate_interval(*ours, speakers, **options),
        candidate_interval=error_rate_interval(*theirs, speakers, **options),
        outputs=compare_outputs(pairs),
    )


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
