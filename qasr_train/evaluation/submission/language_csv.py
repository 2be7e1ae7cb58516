"""Owns leaderboard_CODE.csv, a run as a line of the Open ASR Leaderboard's table of one language besides English.

Input: a run by leaderboard-2026-11 that holds every set of a language. Output: header and line as the stored score_results
prints them (normalizer/eval_utils.py at 00cbc7d; Mandarin at d394be4, a branch).
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from qasr_train.evaluation.report.published import rtfx_over
from qasr_train.evaluation.scoring.run_files import write_text
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.submission.leaderboard_csv import csv_text, is_part, model_name
from qasr_train.text.normalize import LEADERBOARD_2026_11

_LABELS = {"fleurs": "FLEURS", "mcv": "MCV", "mls": "MLS"}
_LANGUAGES = {
    "de": ("fleurs", "mcv"),
    "fr": ("fleurs", "mcv", "mls"),
    "it": ("fleurs", "mcv", "mls"),
    "es": ("fleurs", "mcv", "mls"),
    "pt": ("fleurs", "mls"),
    "nl": ("fleurs", "mcv", "mls"),
    "zh": ("fleurs",),
}
_BY_CHARACTERS = ("zh",)


def write_language_csvs(directory: str | Path, run: ScoredRun) -> list[Path]:
    """Write DIRECTORY/leaderboard_CODE.csv for each language whose sets are all there and whole; remove older ones."""
    written = []
    for code in _LANGUAGES:
        path = Path(directory) / f"leaderboard_{code}.csv"
        line = language_line(run, code)
        if line is None:
            path.unlink(missing_ok=True)
            continue
        write_text(path, csv_text(list(line), line))
        written.append(path)
    return written


def language_line(run: ScoredRun, code: str) -> Mapping[str, str] | None:
    """Column -> value; None by other rules, where a set is missing or only a part, or where a recording of one failed."""
    if run.normalizer.name != LEADERBOARD_2026_11:
        return None
    metric = "cer" if code in _BY_CHARACTERS else "wer"
    sets = [_set_of(run, f"{dataset}_{code}") for dataset in _LANGUAGES[code]]
    found = [name for name in sets if name is not None and not run.sets[name]["num_failed"] and not is_part(run, name)]
    rates = [rate for name in found if (rate := run.sets[name][f"{metric}_percent"]) is not None]
    if len(rates) < len(sets):
        return None
    rtfx = rtfx_over(run, found)
    line = {"model": model_name(run), "RTFx": "" if rtfx is None else str(round(rtfx, 2))}
    columns = (f"{_LABELS[dataset]} {metric.upper()}" for dataset in _LANGUAGES[code])
    return line | dict(zip(columns, map(str, rates), strict=True))


def _set_of(run: ScoredRun, name: str) -> str | None:
    """By our name, or as the leaderboard's manifests are called."""
    patterns = (name, f"*multilingual-datasets_{name}_test")
    return next((one for one in run.sets if any(fnmatchcase(one, pattern) for pattern in patterns)), None)
