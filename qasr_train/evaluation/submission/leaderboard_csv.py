"""Owns leaderboard.csv, a run as a line of the Open ASR Leaderboard's own table of results, for a submission.

Input: a run by leaderboard-2026-08 that holds every set of its English or its multilingual table. Output: header and one line.
"""

import csv
import io
from pathlib import Path
from statistics import fmean

from qasr_train.evaluation.report.published import Published, current_sets, read_published, rtfx_over, size_b
from qasr_train.evaluation.scoring.run_files import write_text
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.text.normalize import LEADERBOARD

FILE_NAME = "leaderboard.csv"
_TABLES = ("open_asr_english", "open_asr_multilingual")
_NOT_KNOWN = "-1"  # as the leaderboard writes it
_AVERAGES = ("Avg. WER", "Avg")


def write_leaderboard_csv(directory: str | Path, run: ScoredRun) -> Path | None:
    """Write DIRECTORY/leaderboard.csv where the run is one that the leaderboard could list, and remove an older one where not."""
    path = Path(directory) / FILE_NAME
    text = leaderboard_csv(run)
    if text is None:
        path.unlink(missing_ok=True)
        return None
    write_text(path, text)
    return path


def leaderboard_csv(run: ScoredRun) -> str | None:
    """Header and line; None by other rules, where a set is missing, or where a recording of one failed.

    The average is the unweighted mean of the sets' rounded WER; a column without a set in today's suite (Tedlium) and a licence
    stay empty.
    """
    if run.normalizer.name != LEADERBOARD:
        return None
    for published in map(read_published, _TABLES):
        sets = current_sets(run, published)
        if sets is not None and not any(run.sets[name]["num_failed"] for name in sets):
            return _csv(run, published, sets)
    return None


def _csv(run: ScoredRun, published: Published, sets: list[str]) -> str | None:
    rates = [run.sets[name]["wer_percent"] for name in sets]
    known = [rate for rate in rates if rate is not None]
    if len(known) < len(rates):
        return None
    rtfx, size = rtfx_over(run, sets), size_b(run)
    line = {column.csv: f"{rate:.2f}" for column, rate in zip(published.columns, known, strict=True)}
    line |= dict.fromkeys(_AVERAGES, f"{fmean(known):.2f}")
    line |= {
        "model": _model(run),
        "RTFx": _NOT_KNOWN if rtfx is None else f"{rtfx:.2f}",
        "Model size (B)": _NOT_KNOWN if size is None else f"{size:g}",
    }
    header = published.csv_header or []
    out = io.StringIO()
    writer = csv.DictWriter(out, header, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerow(line)
    return out.getvalue()


def _model(run: ScoredRun) -> str:
    """The system of the manifests' names, else the checkpoint that was evaluated, else the name of the predictions."""
    model = run.record.get("config", {}).get("model")
    path = model.get("path") if isinstance(model, dict) else None
    return str(run.provenance.get("system") or path or Path(run.provenance.get("predictions", "")).name)
