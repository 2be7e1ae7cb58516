"""Owns `.eval_results/open_asr_leaderboard.yaml`, the file by which a model repository hands its figures to the leaderboard.

Input: a run that the leaderboard could list (English). Output: the file, by huggingface_hub's own classes. The ids of its tasks
are those of a submission stored at 5f404b44 (June 2026); what id Monsoon has is not known: its figure is in the mean alone.
"""

from pathlib import Path
from statistics import fmean

from huggingface_hub import EvalResultEntry

from qasr_train.evaluation.report.published import rtfx_over
from qasr_train.evaluation.scoring.run_files import write_text
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.submission.disclosure import training_disclosure
from qasr_train.evaluation.submission.leaderboard_csv import WholeTable, whole_table
from qasr_train.models.exporting.eval_results import EVAL_RESULTS, LEADERBOARD_RESULTS, entries_text

_DATASET = "hf-audio/open-asr-leaderboard"
# By the title of the column.
_TASKS = {
    "AMI": "ami_wer",
    "Earnings22": "earnings22_wer",
    "GigaSpeech": "gigaspeech_wer",
    "LS clean": "librispeech_clean_wer",
    "LS other": "librispeech_other_wer",
    "SPGISpeech": "spgispeech_wer",
    "VoxPopuli": "voxpopuli_wer",
}


def write_eval_results(directory: str | Path, run: ScoredRun) -> Path | None:
    """Write DIRECTORY/.eval_results/open_asr_leaderboard.yaml where the run could be listed; remove an older one where not."""
    path = Path(directory) / EVAL_RESULTS / LEADERBOARD_RESULTS
    entries = leaderboard_entries(run)
    if not entries:
        path.unlink(missing_ok=True)
        return None
    path.parent.mkdir(exist_ok=True)
    write_text(path, entries_text(entries))
    return path


def leaderboard_entries(run: ScoredRun) -> list[EvalResultEntry]:
    """Mean, speed and the sets of an English run; [] of any other, or where a set is missing or a recording failed."""
    found = whole_table(run)
    if found is None or not set(_TASKS) <= {column.title for column in found.published.columns}:
        return []
    date = run.record.get("started_at")
    mean = EvalResultEntry(_DATASET, "mean_wer", round(fmean(found.rates), 2), date=date, notes=_notes(run, found))
    rtfx = rtfx_over(run, found.sets)
    speed = [] if rtfx is None else [EvalResultEntry(_DATASET, "rtfx", round(rtfx, 2), date=date)]
    sets = [
        EvalResultEntry(_DATASET, _TASKS[column.title], rate, date=date, notes=f"set {name}")
        for column, name, rate in zip(found.published.columns, found.sets, found.rates, strict=True)
        if column.title in _TASKS
    ]
    return [mean, *speed, *sets]


def _notes(run: ScoredRun, found: WholeTable) -> str:
    sets = ", ".join(column.title for column in found.published.columns)
    disclosure = training_disclosure(run)
    notes = f"unweighted mean over {len(found.sets)} sets ({sets}), normalizer {run.normalizer.name}"
    return f"{notes}. Training data: {disclosure}" if disclosure else notes
