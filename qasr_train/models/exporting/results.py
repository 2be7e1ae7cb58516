"""Owns the results that a model card states: evaluations and comparisons that the user names, refused where of another model.

Input: folders that evaluate.py, score.py or compare.py wrote. Output: `Results`; as metadata, huggingface_hub's own classes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, EvalResultEntry

from qasr_train.errors import ConfigError
from qasr_train.files import parse_json
from qasr_train.models.exporting.eval_results import EVAL_RESULTS, LEADERBOARD_RESULTS
from qasr_train.models.exporting.origin import is_public

SCORES, COMPARISON = "scores.json", "comparison.json"
_METRICS = {"wer": "WER", "cer": "CER"}


@dataclass(frozen=True)
class SetResult:
    """The figures of one set. metric: "wer" or "cer", which `interval` (low, high, confidence) is of; percentages all."""

    name: str
    num_utterances: int
    metric: str
    wer_percent: float | None
    cer_percent: float | None
    interval: tuple[float, float, float] | None

    @property
    def percent(self) -> float | None:
        """By the primary metric of its languages."""
        return self.cer_percent if self.metric == "cer" else self.wer_percent


@dataclass(frozen=True)
class Evaluation:
    """A scored run. path: as the user gave it; name: its folder's. date: when it began, None where that is not recorded.

    weights, files: digests of the weights and of the files that were evaluated, None where none was recorded. precision: number
    format they were computed in.
    """

    path: str
    name: str
    normalizer: str
    sets: Sequence[SetResult]
    date: str | None = None
    weights: str | None = None
    files: str | None = None
    precision: str | None = None


@dataclass(frozen=True)
class SetChange:
    """One set under baseline and candidate, by its primary metric, in percent. interval: two-sided, of the difference, with its
    confidence. role: "target", "guard" or None. sentence: what the gate found, "" where it did not judge."""

    name: str
    role: str | None
    metric: str
    num_utterances: int
    before_percent: float
    after_percent: float
    interval: tuple[float, float, float] | None
    sentence: str


@dataclass(frozen=True)
class Comparison:
    """A candidate against a baseline. verdict: the gate's word; baseline: hub id or bundled name, None for any other model."""

    name: str
    verdict: str
    baseline: str | None
    normalizer: str
    sets: Sequence[SetChange]


@dataclass(frozen=True)
class Results:
    """All that the user named; the candidates of comparisons are among the evaluations."""

    evaluations: Sequence[Evaluation] = ()
    comparisons: Sequence[Comparison] = ()

    def __bool__(self) -> bool:
        return bool(self.evaluations)

    @property
    def guards(self) -> list[SetChange]:
        """Sets that must not get worse, of all comparisons."""
        return [one for comparison in self.comparisons for one in comparison.sets if one.role == "guard"]


def read_results(paths: Sequence[str]) -> Results:
    """What folders of evaluations and comparisons hold.

    Raises:
        ConfigError: one holds neither, or its files are damaged or of another program.
    """
    evaluations: dict[Path, Evaluation] = {}
    comparisons = []
    for path in paths:
        folder = _folder_of(path)
        if (folder / COMPARISON).is_file():
            comparison, candidate = _read_comparison(folder)
            comparisons.append(comparison)
        elif (folder / SCORES).is_file():
            candidate = folder
        else:
            raise ConfigError(
                f"results: {path} holds neither {SCORES} nor {COMPARISON}; give folders that evaluate.py, score.py or "
                "compare.py wrote"
            )
        evaluations.setdefault(candidate.resolve(), _read_evaluation(candidate))
    return Results(list(evaluations.values()), comparisons)


def require_same_model(results: Results, checkpoint: str, digests: Collection[str]) -> None:
    """Refuse results of other weights than those that are exported.

    Args:
        checkpoint: as the user named it. digests: of its weights and of its files, whichever an evaluation may have recorded.

    Raises:
        ConfigError: names the evaluation.
    """
    for one in results.evaluations:
        if one.weights is None and one.files is None:
            raise ConfigError(
                f"results: {one.path} does not record which weights it evaluated, so whether they are those of {checkpoint} "
                "cannot be told; evaluate again"
            )
        if not {one.weights, one.files}.intersection(digests):
            raise ConfigError(
                f"results: {one.path} evaluated other weights than this export of {checkpoint} holds; evaluate them, or leave "
                "it out"
            )


def model_index(results: Results, benchmarks: Mapping[str, str]) -> list[EvalResult]:
    """The primary error rate of each set as the Hub's `model-index` has it; sets without reference words have none.

    Args:
        benchmarks: set -> DATASET_ID/TASK_ID of what it is on the Hub; else a set is called by its own name.
    """
    return [
        EvalResult(
            task_type="automatic-speech-recognition",
            task_name="Speech Recognition",
            dataset_type=_split_benchmark(benchmarks[one.name])[0] if one.name in benchmarks else one.name,
            dataset_name=one.name,
            metric_type=one.metric,
            metric_name=f"{_METRICS[one.metric]} in percent",
            metric_value=one.percent,
            metric_args=_arguments(evaluation, one),
        )
        for evaluation in results.evaluations
        for one in evaluation.sets
        if one.percent is not None
    ]


def eval_results(results: Results, benchmarks: Mapping[str, str]) -> dict[str, list[EvalResultEntry]]:
    """File name -> entries for `.eval_results/`, of the sets the user calls a benchmark of the Hub.

    Raises:
        ConfigError: a benchmark is named for a set that no result is of, or that was evaluated twice.
    """
    files = {}
    for name, benchmark in benchmarks.items():
        found = [(run, one) for run in results.evaluations for one in run.sets if one.name == name]
        if len(found) != 1 or found[0][1].percent is None:
            known = sorted({one.name for run in results.evaluations for one in run.sets})
            problem = "is evaluated in several of the results" if len(found) > 1 else "has no figure in the results"
            raise ConfigError(f"benchmarks.{name}: {problem}; they have {', '.join(known) or 'no set'}")
        evaluation, one = found[0]
        dataset, task = _split_benchmark(benchmark)
        notes = (
            f"{_METRICS[one.metric]} in percent, {one.num_utterances} utterances, normalizer {evaluation.normalizer}"
        )
        if one.interval:
            low, high, confidence = one.interval
            notes += f", {confidence * 100:g} % interval {low:.2f} to {high:.2f}"
        entry = EvalResultEntry(dataset, task, one.percent, date=evaluation.date, notes=notes)
        files[f"{dataset.replace('/', '__')}__{task}.yaml"] = [entry]
    return files


def leaderboard_results(results: Results) -> str | None:
    """What an evaluation wrote for the Open ASR Leaderboard; None where none did.

    Raises:
        ConfigError: several did, or the file cannot be read.
    """
    paths = [Path(one.path) / EVAL_RESULTS / LEADERBOARD_RESULTS for one in results.evaluations]
    found = [path for path in paths if path.is_file()]
    if len(found) > 1:
        raise ConfigError(
            f"results: {found[0]} and {found[1]} are both figures for the leaderboard; name one of the two evaluations"
        )
    try:
        return found[0].read_text(encoding="utf-8") if found else None
    except (OSError, ValueError) as error:
        raise ConfigError(f"results: {found[0]} cannot be read ({error}); score the run again") from error


def _split_benchmark(value: str) -> tuple[str, str]:
    """(dataset, task) of OWNER/NAME/TASK."""
    dataset, _, task = value.rpartition("/")
    return dataset, task


def _arguments(evaluation: Evaluation, one: SetResult) -> dict[str, Any]:
    """What a figure depends on, and its interval, for which the format has no field of its own."""
    found: dict[str, Any] = {"normalizer": evaluation.normalizer, "num_utterances": one.num_utterances}
    if evaluation.precision:
        found["precision"] = evaluation.precision
    if one.interval:
        low, high, confidence = one.interval
        found["interval"] = {"low": round(low, 2), "high": round(high, 2), "confidence": confidence}
    return found


def _folder_of(path: str) -> Path:
    found = Path(path).expanduser()
    return found.parent if found.is_file() and found.name in (SCORES, COMPARISON) else found


def _read_evaluation(folder: Path) -> Evaluation:
    content = _read(folder / SCORES)
    try:
        record = (content.get("provenance") or {}).get("run") or {}
        inputs = (record.get("inputs") or {}).get("model") or {}
        return Evaluation(
            path=str(folder),
            name=folder.resolve().name,
            normalizer=str(content["normalizer"]),
            sets=[_set_result(name, group) for name, group in content["sets"].items()],
            date=record.get("started_at"),
            weights=(record.get("model") or {}).get("weights"),
            files=inputs.get("weights"),
            precision=inputs.get("precision"),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"results: {folder / SCORES} is not a {SCORES} of ours ({error!r}); write it again"
        ) from error


def _set_result(name: str, group: Mapping[str, Any]) -> SetResult:
    metric = "cer" if group.get("primary_metric") == "cer" else "wer"
    return SetResult(
        name=name,
        num_utterances=int(group.get("num_utterances") or 0),
        metric=metric,
        wer_percent=group.get("wer_percent"),
        cer_percent=group.get("cer_percent"),
        interval=_interval(group.get("cer_interval" if metric == "cer" else "interval")),
    )


def _read_comparison(folder: Path) -> tuple[Comparison, Path]:
    """The comparison, and the folder of the candidate it compares."""
    content = _read(folder / COMPARISON)
    try:
        candidate = _beside(folder, content["candidate"])
        verdict = content["verdict"]
        sentences = {check["set"]: check["sentence"] for check in verdict["checks"]}
        sets = [
            _set_change(name, group, content["roles"].get(name), sentences.get(name, ""))
            for name, group in content["sets"].items()
            if group["test"] is not None
        ]
        comparison = Comparison(
            name=folder.resolve().name,
            verdict=verdict["word"],
            baseline=_public_model(_beside(folder, content["baseline"])),
            normalizer=str(content["normalizer"]),
            sets=sets,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        file = folder / COMPARISON
        raise ConfigError(f"results: {file} is not a {COMPARISON} of ours ({error!r}); write it again") from error
    if not (candidate / SCORES).is_file():
        raise ConfigError(
            f"results: {folder} compares {content['candidate']}, which holds no {SCORES} here, so that which weights it "
            "evaluated cannot be told; evaluate the candidate with evaluate.py, and export from the folder you compared in"
        )
    return comparison, candidate


def _beside(folder: Path, named: str) -> Path:
    """A run that a comparison names: from here, as compare.py was called, or beside the comparison's own folder."""
    return next((one for one in (Path(named), folder.parent / Path(named).name) if one.is_dir()), Path(named))


def _public_model(run: Path) -> str | None:
    """The model a run is of, where others can get it; a path of this machine is not for the card."""
    if not (run / SCORES).is_file():
        return None
    loaded = ((_read(run / SCORES).get("provenance") or {}).get("run") or {}).get("model") or {}
    return loaded["path"] if is_public(str(loaded.get("path"))) else None


def _set_change(name: str, group: Mapping[str, Any], role: str | None, sentence: str) -> SetChange:
    test = group["test"]
    return SetChange(
        name=name,
        role=role,
        metric=str(group["metric"]),
        num_utterances=int(group["num_utterances"]),
        before_percent=float(test["baseline_percent"]),
        after_percent=float(test["candidate_percent"]),
        interval=_interval(test.get("interval")),
        sentence=sentence,
    )


def _interval(interval: Mapping[str, Any] | None) -> tuple[float, float, float] | None:
    if not interval:
        return None
    return float(interval["low_percent"]), float(interval["high_percent"]), float(interval.get("confidence", 0.95))


def _read(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"results: {file} cannot be read ({error}); write it again") from error
    if not isinstance(content, dict):
        raise ConfigError(f"results: {file} holds {type(content).__name__} instead of an object; write it again")
    return content
