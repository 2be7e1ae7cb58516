"""Owns the comparison of two runs on the same utterances: differences, how sure they are, and the gate's verdict.

Input: two scored run folders (or predictions, scored here). Output: `Comparison`, written to comparison.json.
"""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.comparing.gate import Verdict, judge
from qasr_train.evaluation.comparing.term_changes import (
    RunTerms,
    TermChange,
    compare_terms,
    count_terms,
    terms_from_rows,
    terms_from_scores,
)
from qasr_train.evaluation.report.systems import System, run_record, system_of_rows
from qasr_train.evaluation.scoring.alignment import UTTERANCE_FIELDS, UtteranceScore
from qasr_train.evaluation.scoring.metrics import Resampling, primary_metric_of
from qasr_train.evaluation.scoring.score import library_versions, score_predictions, write_json
from qasr_train.evaluation.scoring.significance import (
    Counts,
    Interval,
    PairedTest,
    error_rate_interval,
    paired_test,
    segment_differences,
)
from qasr_train.evaluation.settings import GateConfig
from qasr_train.manifest import read_jsonl
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import TermList
from qasr_train.text.tokens import tokens
from qasr_train.transcription.predictions import load_predictions

COMPARISON_VERSION = 1
_DEFAULT_NORMALIZER = "qasr-1"


@dataclass(slots=True)
class Run:
    """One scored system: where it came from, its normaliser, its rows, its terms. record: its run.json, {} without one."""

    path: str
    normalizer: str
    utterances: list[UtteranceScore]
    terms: RunTerms = field(default_factory=lambda: RunTerms({}, {}))
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class GroupComparison:
    """Two systems on one group of utterances.

    metric: "wer" or "cer", the primary one of the group's languages. test: None if there are no reference words.
    baseline_interval, candidate_interval: of each rate by itself, for pictures.
    num_better, num_worse: utterances with fewer and with more errors than under the baseline.
    """

    metric: str
    num_utterances: int
    num_better: int
    num_worse: int
    test: PairedTest | None
    baseline_interval: Interval | None
    candidate_interval: Interval | None


@dataclass(slots=True)
class Comparison:
    """Everything two runs compared to. warnings say what was left out of it."""

    baseline: str
    candidate: str
    normalizer: str
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
    pairs: list["Pair"]
    note: str | None = None


@dataclass(slots=True)
class Pair:
    """One utterance under both systems."""

    baseline: UtteranceScore
    candidate: UtteranceScore


def load_run(path: str | Path, normalizer: str | None = None, terms: TermList | None = None) -> Run:
    """A scored run: from utterances.jsonl beside scores.json, or from predictions where there are no scores (or others asked).

    Args:
        terms: count these terms anew; None: as the run was scored, if it was with any.

    Raises:
        DataError, ConfigError: nothing there; damaged files (file:line).
    """
    run = _load_run(Path(path), normalizer)
    run.record = run_record(path)
    if terms is not None:
        run.terms = count_terms(run.utterances, terms, run.normalizer, run.terms)
    return run


def _load_run(path: Path, normalizer: str | None) -> Run:
    scores_file = path / "scores.json"
    stored, digest = _read_scores(scores_file) if scores_file.is_file() else (None, None)
    if stored is not None and normalizer in (None, stored):
        rows = _read_utterances(path / "utterances.jsonl")
        utterances = [UtteranceScore(**{name: row[name] for name in UTTERANCE_FIELDS}) for row in rows]
        return Run(str(path), stored, utterances, terms_from_rows(rows, digest))
    if stored is not None and not (path / "predictions.jsonl").is_file():
        raise ConfigError(
            f"{path}: was scored by {stored}, and has no predictions.jsonl to score by {normalizer} instead"
        )
    name = normalizer or _DEFAULT_NORMALIZER
    predictions = load_predictions(path).predictions
    scores = score_predictions(predictions, name, resampling=Resampling(num_resamples=100))
    return Run(str(path), name, scores.utterances, terms_from_scores(scores.utterances, scores.context))


def compare_runs(
    baseline: Run,
    candidate: Run,
    gate: GateConfig | None = None,
    *,
    num_resamples: int = 10_000,
    seed: int = 0,
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
    if baseline.normalizer != candidate.normalizer:
        raise DataError(
            f"{baseline.path} was scored by {baseline.normalizer} and {candidate.path} by {candidate.normalizer}; "
            "give normalizer= to score both by the same rules"
        )
    pairs, warnings = _pair(baseline, candidate)
    resampling = Resampling(1 - gate.alpha, num_resamples, seed)
    groups = _Groups(pairs, baseline.normalizer, resampling)
    speakers = {(pair.candidate.set, pair.candidate.id): pair.candidate.speaker for pair in pairs}
    terms, term_warnings = compare_terms(baseline.terms, candidate.terms, speakers, resampling)
    sets = groups.by(lambda pair: pair.candidate.set)
    roles = _roles(pairs, gate)
    return Comparison(
        baseline=baseline.path,
        candidate=candidate.path,
        normalizer=baseline.normalizer,
        overall=groups.by(lambda pair: "")[""],
        sets=sets,
        languages=groups.by(lambda pair: pair.candidate.language or "unknown"),
        roles=roles,
        verdict=judge({name: group.test for name, group in sets.items()}, roles, gate),
        gate=gate,
        warnings=warnings + term_warnings,
        versions=library_versions(),
        terms=terms,
        systems={
            name: system_of_rows(run.record, run.path, [getattr(pair, name) for pair in pairs])
            for name, run in (("baseline", baseline), ("candidate", candidate))
        },
        pairs=pairs,
        note=note,
    )


def write_comparison(directory: str | Path, comparison: Comparison) -> None:
    """Write DIRECTORY/comparison.json, all or nothing.

    Raises:
        ConfigError: the directory cannot be written.
    """
    write_json(Path(directory) / "comparison.json", comparison_row(comparison))


def comparison_row(comparison: Comparison) -> dict[str, Any]:
    """The content of comparison.json."""
    row = {
        field.name: getattr(comparison, field.name) for field in dataclasses.fields(comparison) if field.name != "pairs"
    }
    row = json.loads(json.dumps(row, default=dataclasses.asdict))
    row["verdict"] = {"word": comparison.verdict.word, **row["verdict"]}
    return {"version": COMPARISON_VERSION, **row}


class _Groups:
    """Compares parts of the pairs; the segments of an utterance are found once."""

    def __init__(self, pairs: Sequence[Pair], normalizer: str, resampling: Resampling) -> None:
        self._pairs = pairs
        self._normalizer = get_normalizer(normalizer)
        self._resampling = resampling
        self._segments: dict[tuple[int, str], list[int]] = {}

    def by(self, key: Callable[[Pair], Any]) -> dict[Any, GroupComparison]:
        """The comparison per value of `key`."""
        parts: dict[Any, list[int]] = defaultdict(list)
        for index, pair in enumerate(self._pairs):
            parts[key(pair)].append(index)
        return {name: self._compare(parts[name]) for name in sorted(parts)}

    def _compare(self, indices: list[int]) -> GroupComparison:
        pairs = [self._pairs[index] for index in indices]
        metric = primary_metric_of({pair.candidate.language for pair in pairs})
        ours = counts_of([pair.baseline for pair in pairs], metric)
        theirs = counts_of([pair.candidate for pair in pairs], metric)
        segments = [difference for index in indices for difference in self._segments_of(index, metric)]
        speakers = [pair.candidate.speaker for pair in pairs]
        options = dataclasses.asdict(self._resampling)
        return GroupComparison(
            metric=metric,
            num_utterances=len(pairs),
            num_better=int((theirs[0] < ours[0]).sum()),
            num_worse=int((theirs[0] > ours[0]).sum()),
            test=paired_test(ours, theirs, speakers, segments, **options),
            baseline_interval=error_rate_interval(*ours, speakers, **options),
            candidate_interval=error_rate_interval(*theirs, speakers, **options),
        )

    def _segments_of(self, index: int, metric: str) -> list[int]:
        key = (index, metric)
        if key not in self._segments:
            self._segments[key] = self._find_segments(self._pairs[index], metric)
        return self._segments[key]

    def _find_segments(self, pair: Pair, metric: str) -> list[int]:
        ours, theirs = pair.baseline, pair.candidate
        texts = [ours.normalized_reference, ours.normalized_hypothesis, theirs.normalized_hypothesis]
        if ours.normalized_reference != theirs.normalized_reference:  # each joined its own compounds: undo that
            raw = (ours.reference or "", ours.hypothesis, theirs.hypothesis)
            texts = [self._normalizer.normalize(text, theirs.language) for text in raw]
        language = theirs.language if metric == "cer" else None
        reference, first, second = (tokens(text, language) for text in texts)
        merges = self._normalizer.merges_compounds and metric == "wer"
        return segment_differences(reference, first, second, merges_compounds=merges)


def counts_of(rows: Sequence[UtteranceScore], metric: str) -> tuple[Counts, Counts]:
    """(errors, reference lengths) per row, in words or characters: two (rows,) int arrays."""
    if metric == "cer":
        counts = [(row.num_character_errors, row.num_reference_characters) for row in rows]
    else:
        counts = [(row.num_errors, row.num_reference_words) for row in rows]
    errors, lengths = np.asarray(counts, dtype=np.int64).T
    return errors, lengths


def _pair(baseline: Run, candidate: Run) -> tuple[list[Pair], list[str]]:
    theirs = {(row.set, row.id): row for row in candidate.utterances}
    shared = [Pair(row, theirs[row.set, row.id]) for row in baseline.utterances if (row.set, row.id) in theirs]
    if not shared:
        raise DataError(
            f"{baseline.path} and {candidate.path} have no utterance in common (same set and id); nothing to compare"
        )
    others = [pair for pair in shared if pair.baseline.reference != pair.candidate.reference]
    if others:
        first = others[0]
        raise DataError(
            f"{len(others)} of {len(shared)} shared utterances have another reference, the first {first.baseline.id!r} of set "
            f"{first.baseline.set!r}: {first.baseline.reference!r:.80} and {first.candidate.reference!r:.80}; "
            "evaluate both systems on the same manifest"
        )
    pairs = [pair for pair in shared if pair.baseline.is_scored and pair.candidate.is_scored]
    if not pairs:
        raise DataError(
            f"of {len(shared)} shared utterances none is scored in both runs; see not_scored in their scores.json"
        )
    return pairs, _left_out(baseline, candidate, shared, pairs)


def _left_out(baseline: Run, candidate: Run, shared: list[Pair], pairs: list[Pair]) -> list[str]:
    warnings = []
    for run in (baseline, candidate):
        num_alone = len(run.utterances) - len(shared)
        if num_alone:
            warnings.append(f"{num_alone} utterances stand only in {run.path}; they are left out")
    failed = [
        sum(row.failed is not None for row in rows)
        for rows in zip(*((p.baseline, p.candidate) for p in shared), strict=True)
    ]
    if len(pairs) < len(shared):
        warnings.append(
            f"{len(shared) - len(pairs)} shared utterances are not scored in both runs and left out "
            f"(failed: {failed[0]} under the baseline, {failed[1]} under the candidate)"
        )
    return warnings


def _roles(pairs: Sequence[Pair], gate: GateConfig) -> dict[str, str | None]:
    """The role per set: what the gate names, else what the rows say."""
    said: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        role = pair.candidate.role or pair.baseline.role
        said[pair.candidate.set].update([role] if role else [])
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


def _read_scores(path: Path) -> tuple[str, str | None]:
    """The normaliser that a scores.json names, and the digest of its term list, if it has one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        name, entities = content["normalizer"], content.get("entities") or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: is not the scores.json of a run; score it again with recipes/score.py") from None
    return get_normalizer(str(name)).name, entities.get("terms_digest")


def _read_utterances(path: Path) -> list[dict[str, Any]]:
    rows = []
    for where, row in read_jsonl(path):
        missing = [name for name in UTTERANCE_FIELDS if name not in row]
        if missing:
            raise DataError(f"{where}: has no `{missing[0]}`; score the run again with recipes/score.py")
        rows.append(row)
    return rows
