"""Owns an evaluation from its sets to its report: transcripts, scores, report, the table on stdout, figures for a tracker.

Input: a `TranscriptionRun` that is not open yet, and a `Scoring`. Output: what docs/evaluation.md lists, in the run directory.
"""

from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Any

from qasr_train.evaluation.comparing.compare import compare_runs
from qasr_train.evaluation.explorer.rows import worst_first
from qasr_train.evaluation.report.clips import clip_of_sets
from qasr_train.evaluation.report.tables import score_summary
from qasr_train.evaluation.report.tracker_figures import make_tracker, track_scores
from qasr_train.evaluation.scoring.alignment import error_counter
from qasr_train.evaluation.scoring.metrics import Resampling
from qasr_train.evaluation.scoring.run_files import load_run, write_scores
from qasr_train.evaluation.scoring.score import ScoredRun, score_predictions
from qasr_train.evaluation.settings import Scoring
from qasr_train.evaluation.submission.write import write_submission
from qasr_train.evaluation.words.calibrated import with_words
from qasr_train.run.directory import read_run
from qasr_train.run.settings import TrackingConfig
from qasr_train.run.tracking import Tracker
from qasr_train.transcription.carried_columns import record_columns
from qasr_train.transcription.command import WALL_TIME
from qasr_train.transcription.predictions import PREDICTIONS, Prediction
from qasr_train.transcription.run import TranscriptionRun


def evaluate_sets(run: TranscriptionRun, scoring: Scoring, tracking: TrackingConfig) -> ScoredRun | None:
    """Transcribe, score, write the report and print the table; None in processes besides the first.

    Raises:
        UserError: as `TranscriptionRun`; the tracker does not start; the baseline cannot be read.
    """
    run.open()
    tracker = make_tracker(tracking, run.run_dir, run.machine.device)
    with closing(tracker) if tracker else nullcontext():
        with run.can_be_resumed():
            if tracker:
                tracker.start(run.config)
        run.transcribe(error_counter(scoring.normalizer))
        return _score(run, scoring, tracker) if run.is_main else None


def _score(run: TranscriptionRun, scoring: Scoring, tracker: Tracker | None) -> ScoredRun:
    from qasr_train.evaluation.report.content import write_report  # brings matplotlib

    run_dir, load_clip = run.run_dir, clip_of_sets(run.sets)
    scored = _scored(run, scoring)
    write_scores(run_dir, scored)
    write_submission(run_dir, scored)
    comparison = None
    if scoring.baseline:
        baseline = load_run(scoring.baseline, scored.normalizer, lexicon=scoring.lexicon)
        comparison = compare_runs(
            baseline, scored, resample_by=scoring.resample_by, by=scoring.by, style=scoring.traits
        )
    write_report(run_dir, scored, comparison, config=scoring.report, load_clip=load_clip)
    if tracker:
        track_scores(tracker, scored, load_clip, worst_first(scored.rows))
    print(score_summary(scored, str(run_dir)))
    return scored


def _scored(run: TranscriptionRun, scoring: Scoring) -> ScoredRun:
    """With its provenance, and with warnings of how the transcripts came about."""
    carried = {(one.name, id_): columns for one in run.sets for id_, columns in one.columns.items()}
    if carried:  # here, so that a run that is resumed may be asked for others
        record_columns(run.run_dir / PREDICTIONS, carried)
    loaded = run.predictions()
    scored = score_predictions(
        loaded.predictions,
        scoring.normalizer,
        failed_as_empty=scoring.failed_as_empty,
        resampling=Resampling(resample_by=scoring.resample_by),
        terms=scoring.terms,
        lexicon=scoring.lexicon,
        mixed=scoring.mixed,
    )
    record = read_run(run.run_dir)
    scored = replace(
        scored,
        provenance={"predictions": str(run.run_dir), "run": record},
        warnings=[*loaded.warnings, *scored.warnings, *_warnings(loaded.predictions, record)],
        path=str(run.run_dir),
        by=scoring.by,
        traits=scoring.traits,
    )
    return with_words(scored, scoring.words)


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
