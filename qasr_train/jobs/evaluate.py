"""Owns the evaluation job, `recipes/evaluate.py`: model + suite + decode -> predictions -> scores -> report.

Input: EvaluateConfig. Output: a run directory, see docs/evaluation.md; a table on stdout. Killed at any moment it goes
on with resume=true; under `accelerate launch` the processes share the batches, and the result is that of one.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from qasr_train.errors import ConfigError, UserError
from qasr_train.evaluation.report.clips import clip_of_sets
from qasr_train.evaluation.report.leaderboard_csv import write_leaderboard_csv
from qasr_train.evaluation.report.tables import score_summary
from qasr_train.evaluation.report.tracker_figures import make_tracker, track_scores
from qasr_train.evaluation.scoring.run_files import write_scores
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.suites.suite import load_suite
from qasr_train.jobs.settings.evaluate import EvaluateConfig
from qasr_train.models.base import Recogniser
from qasr_train.models.digest import checkpoint_digest
from qasr_train.models.families import find_family, load_model
from qasr_train.run.device import choose_device, choose_dtype
from qasr_train.run.directory import (
    RUN_FILE,
    check_same_config,
    claim_run_dir,
    read_run,
    release_if_unused,
    save_provenance,
    write_record,
)
from qasr_train.run.processes import Processes, join_processes
from qasr_train.run.tracking import Tracker
from qasr_train.text.normalize import Normalizer, get_normalizer
from qasr_train.text.terms import TermList, read_terms
from qasr_train.transcription.command import WALL_TIME, run_command
from qasr_train.transcription.journal import PREDICTIONS, discard_if_nothing_done, read_partials
from qasr_train.transcription.predictions import Prediction, load_predictions
from qasr_train.transcription.run import SuiteRun
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import CommandConfig, DecodeConfig

# What may differ when a run is resumed: it changes neither a transcript nor its time.
MAY_CHANGE_ON_RESUME = (
    "run_dir",
    "resume",
    "baseline",
    "failed_as_empty",
    "suite.terms",
    "report",
    "tracking",
    "decode.num_workers",
    "decode.max_failed_fraction",
    "decode.num_warmup_batches",
    "decode.check_batch_invariance",
)


class TranscriptionConfig(Protocol):
    """The settings by which anything is transcribed into a run directory: of this job, and of `pseudo_label`."""

    model: Any
    decode: DecodeConfig
    run_dir: str
    resume: bool
    seed: int


def evaluate(config: EvaluateConfig) -> None:
    """Evaluate as the config says; see the module's docstring.

    Raises:
        UserError: any mistake in config, data or checkpoint; too many unreadable recordings; an interruption.
    """
    # 1 whatever can be refused before a weight is read
    device = choose_device(config.device)
    dtype = choose_dtype(config.precision, device)
    processes, device = join_processes(device)
    sets = load_suite(config.suite)
    terms = read_terms(config.suite.terms, "suite.terms") if config.suite.terms else None

    # 2 the run directory and the record of what is evaluated
    run_dir = Path(config.run_dir)
    if processes.is_main:
        open_run(config, sets, device, dtype)
    processes.wait()

    tracker = make_tracker(config.tracking, run_dir, device)
    with closing(tracker) if tracker else nullcontext():
        # 3 transcripts
        with can_be_resumed(config, sets, processes):
            if tracker:
                tracker.start(config)
            if not (run_dir / PREDICTIONS).exists():
                transcribe_suite(config, sets, processes, device, dtype, get_normalizer(config.suite.normalizer))
        processes.leave()

        # 4 scores and report
        if processes.is_main:
            score_run(config, run_dir, sets, terms, tracker)


def open_run(
    config: TranscriptionConfig,
    sets: Sequence[UtteranceSet],
    device: torch.device,
    dtype: torch.dtype,
    *,
    recipe: str = "evaluate",
    may_change: Sequence[str] = MAY_CHANGE_ON_RESUME,
) -> None:
    """Claim the run directory, or check that what it holds was begun with the same model, suite and decode settings.

    recipe: what runs in it. may_change: settings that may differ on resuming.

    Raises:
        ConfigError: the directory is taken; a setting, the weights or a manifest changed since the run began.
    """
    run_dir = claim_run_dir(config.run_dir, resume=config.resume)
    # Of a command nothing lies here.
    weights = None if isinstance(config.model, CommandConfig) else checkpoint_digest(config.model)
    inputs = {
        "model": {"weights": weights, "precision": str(dtype).removeprefix("torch.")},
        "device": device.type,
        "sets": {one.name: {"num_utterances": len(one.utterances), "digest": one.digest()} for one in sets},
    }
    if config.resume:
        check_same_config(run_dir, config, ignore=may_change)
        _check_same_inputs(run_dir, read_run(run_dir).get("inputs", inputs), inputs)
    save_provenance(run_dir, config, recipe)
    record_in_run(run_dir, inputs=inputs)


@contextmanager
def can_be_resumed(config: TranscriptionConfig, sets: Sequence[UtteranceSet], processes: Processes) -> Iterator[None]:
    """Where what runs inside fails or is interrupted: keep what was transcribed, and leave no directory without any of it."""
    run_dir = Path(config.run_dir)
    try:
        yield
    except BaseException as error:
        if processes.is_main and not config.resume:
            discard_if_nothing_done(run_dir)  # then the same command, mended, may use the name again
            release_if_unused(run_dir)
        if isinstance(error, KeyboardInterrupt):
            raise UserError(_interrupted(sets, run_dir)) from None
        raise


def transcribe_suite(
    config: TranscriptionConfig,
    sets: Sequence[UtteranceSet],
    processes: Processes,
    device: torch.device,
    dtype: torch.dtype,
    normalizer: Normalizer,
) -> None:
    """Transcribe what is missing and write predictions.jsonl, by a model that is loaded here or by a command.

    normalizer: rules of the running WER beside the progress bar.
    """
    run_dir = Path(config.run_dir)
    if isinstance(config.model, CommandConfig):
        if processes.is_main:
            record_in_run(run_dir, system=config.model.system, num_parameters=config.model.num_parameters)
            run_command(config.model, sets, config.decode, run_dir)
        return
    model_max_duration_s = getattr(config.model, "max_duration_s", math.inf)
    run = SuiteRun(sets, config.decode, model_max_duration_s, run_dir, processes)
    model = load_model(config.model, device=device, dtype=dtype)
    run.transcribe(model, normalizer)
    processes.wait()
    run.check_failures()
    checked = run.check_batch_invariance(model, config.decode.check_batch_invariance, config.seed)
    if processes.is_main:
        finish_run(config, run, model, checked)


def finish_run(config: TranscriptionConfig, run: SuiteRun, model: Recogniser, checked: dict[str, Any]) -> None:
    """Record what is known of the shares of all processes, and write predictions.jsonl.

    checked: what `check_batch_invariance` found.
    """
    record_in_run(
        run.run_dir,
        batch_invariance=checked,
        num_processes=run.processes.num_processes,
        system=asdict(find_family(config.model.family).card),
        num_parameters=sum(parameter.numel() for parameter in model.module.parameters()),
    )
    run.finish()


def score_run(
    config: EvaluateConfig,
    run_dir: Path,
    sets: Sequence[UtteranceSet],
    terms: TermList | None = None,
    tracker: Tracker | None = None,
) -> None:
    """Score the predictions of a run directory, write scores and report, print the table, feed the tracker."""
    from qasr_train.evaluation.report.content import worst_first, write_report  # brings matplotlib

    loaded = load_predictions(run_dir)
    run = score_predictions(
        loaded.predictions,
        get_normalizer(config.suite.normalizer),
        failed_as_empty=config.failed_as_empty,
        terms=terms,
    )
    record = read_run(run_dir)
    run = replace(
        run,
        provenance={"predictions": str(run_dir), "run": record},
        warnings=[*loaded.warnings, *run.warnings, *_warnings(loaded.predictions, record)],
        path=str(run_dir),
    )
    write_scores(run_dir, run)
    write_leaderboard_csv(run_dir, run)
    write_report(run_dir, run, baseline=config.baseline, config=config.report, load_clip=clip_of_sets(sets))
    if tracker:
        track_scores(tracker, run, clip_of_sets(sets), worst_first(run.rows))
    print(score_summary(run, str(run_dir)))


def record_in_run(run_dir: Path, **values: Any) -> None:
    """Add what is known now to run.json."""
    write_record(run_dir / RUN_FILE, read_run(run_dir) | values)


def _check_same_inputs(run_dir: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    if before.get("model") != now["model"]:
        raise ConfigError(
            f"resume: the weights of model.path, or the precision, are not those {run_dir} was begun with "
            f"({before.get('model')} -> {now['model']}); give another run_dir"
        )
    if before.get("device") != now["device"]:
        raise ConfigError(
            f"resume: {run_dir} was begun with device={before.get('device')}, this is {now['device']}; set it, or give "
            "another run_dir"
        )
    for name, state in now["sets"].items():
        earlier = before.get("sets", {}).get(name)
        if earlier != state:
            raise ConfigError(
                f"resume: the utterances of set {name!r} are not those {run_dir} was begun with ({earlier} -> {state}); "
                "restore the manifest, or give another run_dir"
            )


def _interrupted(sets: Sequence[UtteranceSet], run_dir: Path) -> str:
    num_utterances = sum(len(one.utterances) for one in sets)
    num_done = len(read_partials(run_dir))
    if not num_done:
        return (
            f"interrupted before the first of {num_utterances} utterances was transcribed; run the same command again"
        )
    return f"interrupted; {num_done} of {num_utterances} utterances are in {run_dir}: the same command with resume=true goes on"


def _warnings(predictions: Sequence[Prediction], run: dict[str, Any]) -> list[str]:
    """What a reader of the figures should know of how they came about."""
    warnings = []
    truncated = [prediction.id for prediction in predictions if prediction.is_truncated]
    if truncated:
        warnings.append(
            f"{len(truncated)} of {len(predictions)} transcripts met the limit of new tokens and are cut short; the first "
            f"is {truncated[0]!r}"
        )
    by_wall_time = [name for name, whose in run.get("command_time", {}).items() if whose == WALL_TIME]
    if by_wall_time:
        warnings.append(
            f"RTFx of {', '.join(by_wall_time)} is made of the {WALL_TIME}: not to be put beside others' RTFx"
        )
    checked = run.get("batch_invariance", {})
    if checked.get("num_different"):
        warnings.append(
            f"{checked['num_different']} of {checked['num_checked']} utterances gave another text alone than in their batch; "
            f"the first is {checked['different'][0]['id']!r} (run.json has all)"
        )
    return warnings
