"""Owns the job of `recipes/check_transcripts.py`: which transcripts of a manifest disagree most with what a base model hears.

Input: CheckTranscriptsConfig. Output in run_dir, besides that of an evaluation: ranked.jsonl and worst.html, worst first; where a
limit is set, manifest.jsonl without the rows above it, and rejects.jsonl with a reason for each of those.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qasr_train.corpus.worker import write_flac
from qasr_train.errors import AudioError, DataError
from qasr_train.evaluation.checked_rows import CheckedRow, check_rows, rank
from qasr_train.evaluation.report.doubtful_page import CAUTION, worst_page
from qasr_train.evaluation.results import evaluate_sets
from qasr_train.evaluation.scoring.rates import primary_errors
from qasr_train.evaluation.scoring.run_files import write_text
from qasr_train.evaluation.settings import SetConfig, SuiteConfig
from qasr_train.evaluation.suites.suite import load_suite
from qasr_train.files import write_rows
from qasr_train.jobs.settings.check_transcripts import CheckTranscriptsConfig
from qasr_train.jobs.settings.evaluate import SCORING_KEYS, EvaluateConfig
from qasr_train.manifest import findable_from_anywhere, utterance_to_row
from qasr_train.run.device import join_machine
from qasr_train.run.directory import recorded_normalizer
from qasr_train.transcription.run import TranscriptionRun
from qasr_train.transcription.sets import UtteranceSet

RANKED, WORST, MANIFEST, REJECTS = "ranked.jsonl", "worst.html", "manifest.jsonl", "rejects.jsonl"
CHANNELS = "worst_channels"  # folder of the recordings of which one channel was transcribed, as worst.html plays them
SET_NAME = "transcripts"
SHOWN_LIMITS_PERCENT = (0, 20, 50, 80, 100)


def check_transcripts(config: CheckTranscriptsConfig) -> None:
    """Evaluate the model on the rows, rank them, filter if asked; prints the summary last.

    Raises:
        UserError: as `evaluate`; every row was rejected.
    """
    rules = recorded_normalizer(config.run_dir, config.normalizer, resume=config.resume)
    config = replace(config, normalizer=rules)
    machine = join_machine(config.device, config.precision)
    evaluation = _evaluation_of(config)
    [one] = load_suite(evaluation.suite, key="source")
    scoring = evaluation.scoring()
    run = TranscriptionRun(evaluation, [one], machine, "evaluate", SCORING_KEYS)
    scored = evaluate_sets(run, scoring, evaluation.tracking)
    if scored is None:
        return
    rows = check_rows(one.utterances, scored.rows, scoring.normalizer, config.limits_percent)
    ranked = rank(rows)
    # No `?` for half a surrogate pair: in texts there is none left (sources refuse it, read predictions are mended), and a
    # path with a `?` would name another file.
    write_rows(run.run_dir / RANKED, map(_ranked_row, ranked))
    shown = ranked[: config.num_shown]
    channels = write_channels(run.run_dir / CHANNELS, one, shown)
    write_text(run.run_dir / WORST, worst_page(shown, len(ranked), scoring.normalizer, channels))
    print(summary_text(rows, config))
    write_filtered(run.run_dir, rows, config)


def write_channels(folder: Path, one: UtteranceSet, rows: Sequence[CheckedRow]) -> dict[str, Path]:
    """Of rows that name a channel, write what was transcribed as FLAC; id -> file. One that cannot be read has none."""
    files = {}
    for number, row in enumerate(rows, start=1):
        if row.utterance.channel is None:
            continue
        try:
            waveform = one.load_clip(row.utterance)
        except AudioError:
            continue
        files[row.utterance.id] = folder / f"{number}.flac"
        write_flac(files[row.utterance.id], waveform)
    return files


def _evaluation_of(config: CheckTranscriptsConfig) -> EvaluateConfig:
    """What run.json records: the run is an evaluation, which evaluate.py may go on with and compare.py read."""
    suite = SuiteConfig(
        name="check_transcripts", sets={SET_NAME: SetConfig(source=config.source)}, normalizer=config.normalizer
    )
    return EvaluateConfig(
        model=config.model,
        suite=suite,
        decode=config.decode,
        run_dir=config.run_dir,
        resume=config.resume,
        device=config.device,
        precision=config.precision,
        seed=config.seed,
    )


def write_filtered(run_dir: Path, rows: Sequence[CheckedRow], config: CheckTranscriptsConfig) -> None:
    """Write manifest.jsonl and rejects.jsonl where a limit is set; else remove those of an earlier try.

    Raises:
        DataError: every row was rejected.
    """
    if all(limit is None for limit in config.limits_percent.values()):
        for stale in (MANIFEST, REJECTS):
            (run_dir / stale).unlink(missing_ok=True)
        print("no limit is set, so no manifest was written; max_wer_percent=... resume=true filters at once")
        return
    kept = [row for row in rows if row.rejected is None]
    rejects = rank([row for row in rows if row.rejected is not None])
    write_rows(run_dir / REJECTS, map(_reject_row, rejects))
    if not kept:
        (run_dir / MANIFEST).unlink(missing_ok=True)
        raise DataError(
            f"all {len(rows)} rows were rejected, the first is {rejects[0].utterance.id!r}: {rejects[0].rejected}; raise "
            "the limit (resume=true filters anew), or check model and language"
        )
    write_rows(run_dir / MANIFEST, (utterance_to_row(findable_from_anywhere(row.utterance)) for row in kept))
    print(f"{run_dir / MANIFEST}: {len(kept)} rows; {run_dir / REJECTS}: {len(rejects)}")


def _ranked_row(row: CheckedRow) -> dict[str, Any]:
    return {
        "id": row.utterance.id,
        "error_percent": None if row.percent is None else round(row.percent, 2),
        "metric": row.metric,
        "num_errors": primary_errors(row.score),
        "reference": row.prediction.text,
        "hypothesis": row.prediction.pred_text,
        "confidence": row.prediction.confidence,
        "language": row.utterance.language,
        "predicted_language": row.prediction.predicted_language,
        "remarks": row.remarks,
        "rejected": row.rejected,
        "audio": row.utterance.audio_name,
        "origin": row.utterance.origin,
    }


def _reject_row(row: CheckedRow) -> dict[str, Any]:
    utterance = row.utterance
    named = {"id": utterance.id, "audio": utterance.audio_name, "origin": utterance.origin, "reason": row.rejected}
    return named | {"text": utterance.text, "language": utterance.language}


def summary_text(rows: Sequence[CheckedRow], config: CheckTranscriptsConfig) -> str:
    """How many rows lie above which error rate, and what to make of it."""
    lines = []
    for metric, limit in config.limits_percent.items():
        rates = [row.percent for row in rows if row.metric == metric and row.percent is not None]
        if not rates:
            continue
        above = [f"above {at} %: {sum(rate > at for rate in rates)}" for at in SHOWN_LIMITS_PERCENT]
        lines.append(f"{len(rates)} rows scored by {metric.upper()}; {', '.join(above)}")
        others = [value for name, value in config.limits_percent.items() if name != metric]
        if limit is None and any(value is not None for value in others):
            lines.append(f"  none of these is filtered: max_{metric}_percent is not set")
    num_failed = sum(row.percent is None for row in rows)
    if num_failed:
        lines.append(f"{num_failed} recordings could not be read")
    return "\n".join(["", *lines, CAUTION, f"worst first: {Path(config.run_dir) / WORST}, {RANKED} beside it"])
