"""Owns the job of `recipes/check_transcripts.py`: which transcripts of a manifest disagree most with what a base model hears.

Input: CheckTranscriptsConfig. Output in run_dir, besides that of an evaluation: ranked.jsonl and worst.html, worst first; where a
limit is set, manifest.jsonl without the rows above it, and rejects.jsonl with a reason for each of those.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qasr_train.audio.arrow import is_arrow_reference
from qasr_train.errors import DataError
from qasr_train.evaluation.report.doubtful_page import CAUTION, worst_page
from qasr_train.evaluation.scoring.alignment import score_utterances
from qasr_train.evaluation.scoring.metrics import primary_error_percent, primary_errors, primary_metric_of
from qasr_train.evaluation.scoring.run_files import write_text
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.evaluation.settings import SetConfig, SuiteConfig
from qasr_train.evaluation.suites.suite import load_suite
from qasr_train.files import write_rows
from qasr_train.jobs.evaluate import evaluate
from qasr_train.jobs.settings.check_transcripts import CheckTranscriptsConfig
from qasr_train.jobs.settings.evaluate import EvaluateConfig
from qasr_train.manifest import Utterance, utterance_to_row
from qasr_train.run.device import choose_device
from qasr_train.run.processes import join_processes
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction, load_predictions

RANKED, WORST, MANIFEST, REJECTS = "ranked.jsonl", "worst.html", "manifest.jsonl", "rejects.jsonl"
SET_NAME = "transcripts"
SHOWN_LIMITS_PERCENT = (0, 20, 50, 80, 100)


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """A row of the manifest beside what the model heard.

    percent: error rate of this row by `metric` ("wer" or "cer"); None where the recording could not be read.
    rejected: why it is not in the filtered manifest; None: it is.
    """

    utterance: Utterance
    prediction: Prediction
    score: UtteranceScore
    metric: str
    percent: float | None
    rejected: str | None

    @property
    def remarks(self) -> list[str]:
        """What speaks for a fault of the model rather than of the transcript, or for another one."""
        heard, stated = self.prediction.predicted_language, self.utterance.language
        found = {
            "the hypothesis repeats itself": self.score.counts.has_loop,
            "the hypothesis is cut short": bool(self.prediction.is_truncated),
            "nothing was heard": bool(self.score.counts.normalized_reference)
            and not self.score.counts.normalized_hypothesis,
            f"heard as {heard}": bool(heard and stated and heard != stated),
        }
        return [remark for remark, is_found in found.items() if is_found]


def check_transcripts(config: CheckTranscriptsConfig) -> None:
    """Evaluate the model on the rows, rank them, filter if asked; prints the summary last.

    Raises:
        UserError: as `evaluate`; every row was rejected.
    """
    suite = SuiteConfig(
        name="check_transcripts", sets={SET_NAME: SetConfig(source=config.source)}, normalizer=config.normalizer
    )
    evaluate(
        EvaluateConfig(
            model=config.model,
            suite=suite,
            decode=config.decode,
            run_dir=config.run_dir,
            resume=config.resume,
            device=config.device,
            precision=config.precision,
            seed=config.seed,
        )
    )
    if not join_processes(choose_device(config.device))[0].is_main:
        return
    run_dir = Path(config.run_dir)
    [rows_of_set] = load_suite(suite)
    rows = compare_rows(rows_of_set.utterances, load_predictions(run_dir).predictions, config)
    ranked = rank(rows)
    # No `?` for half a surrogate pair: in texts there is none left (sources refuse it, read predictions are mended), and a
    # path with a `?` would name another file.
    write_rows(run_dir / RANKED, map(_ranked_row, ranked))
    write_text(run_dir / WORST, worst_page(ranked[: config.num_shown], len(ranked), get_normalizer(config.normalizer)))
    print(summary_text(rows, config))
    write_filtered(run_dir, rows, config)


def compare_rows(
    utterances: Sequence[Utterance], predictions: Sequence[Prediction], config: CheckTranscriptsConfig
) -> list[CheckedRow]:
    """Each row with its own error rate and the verdict of the limits, in the order of the manifest.

    A row that states no language is scored by the rules of the one that was heard.
    """
    predictions = [replace(one, language=one.language or one.predicted_language) for one in predictions]
    scores = score_utterances(predictions, get_normalizer(config.normalizer), num_workers=len(os.sched_getaffinity(0)))
    rows = []
    for utterance, prediction, score in zip(utterances, predictions, scores, strict=True):
        metric = primary_metric_of({prediction.language})
        percent = None if prediction.failed else primary_error_percent(score)
        limit = config.limits_percent[metric]
        rejected = prediction.failed
        if percent is not None and limit is not None and percent > limit:
            rejected = f"{metric.upper()} {percent:.0f} %, more than max_{metric}_percent={limit:g}"
        row = CheckedRow(utterance, prediction, score, metric, percent, None)
        remarks = f" ({', '.join(row.remarks)})" if rejected and row.remarks and not prediction.failed else ""
        rows.append(replace(row, rejected=rejected and rejected + remarks))
    return rows


def rank(rows: Sequence[CheckedRow]) -> list[CheckedRow]:
    """By falling error rate; of equals, the one with more errors first, as a long text is not all wrong by chance.

    Rows of which the recording could not be read come last.
    """
    return sorted(rows, key=lambda row: (row.percent is None, -(row.percent or 0.0), -primary_errors(row.score)))


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
    write_rows(run_dir / MANIFEST, (_manifest_row(row.utterance) for row in kept))
    print(f"{run_dir / MANIFEST}: {len(kept)} rows; {run_dir / REJECTS}: {len(rejects)}")


def _manifest_row(utterance: Utterance) -> dict[str, Any]:
    """The row with a path that holds from anywhere."""
    assert isinstance(utterance.audio, str), "map-style sources give paths and references"
    is_path = not is_arrow_reference(utterance.audio)
    return utterance_to_row(replace(utterance, audio=str(Path(utterance.audio).absolute())) if is_path else utterance)


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
