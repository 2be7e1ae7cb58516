"""Owns leaderboard.csv, a run as a line of the Open ASR Leaderboard's own table of results, for a submission.

Input: a run by a leaderboard's rules that holds every set of one of its tables. Output: header and one line: the table of May
2026 by the rules of August, that of the stored score_results (normalizer/eval_utils.py at 00cbc7d) by those of November.
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from qasr_train.evaluation.report.published import Published, current_sets, read_published, rtfx_over, size_b
from qasr_train.evaluation.scoring.run_files import write_text
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.evaluation.submission.disclosure import training_disclosure
from qasr_train.text.normalize import LEADERBOARD, LEADERBOARD_2026_11

FILE_NAME = "leaderboard.csv"
_NOT_KNOWN = "-1"  # as the leaderboard wrote it until May
_AVERAGES = ("Avg. WER", "Avg")


@dataclass(frozen=True)
class WholeTable:
    """A table that a run can stand in. sets: the run's set for each column. rates: WER in percent of each."""

    published: Published
    sets: list[str]
    rates: list[float]


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
    found = whole_table(run)
    if found is None:
        return None
    return csv_text(found.published.csv_header or [], _LINES[run.normalizer.name](run, found))


def csv_text(header: list[str], line: Mapping[str, str]) -> str:
    """Header and one line; a column that the line does not have stays empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, header, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerow(line)
    return out.getvalue()


def whole_table(run: ScoredRun) -> WholeTable | None:
    """The table whose sets the run has, all of them and whole, by the rules that go with it."""
    for name in _TABLES.get(run.normalizer.name, ()):
        published = read_published(name)
        sets = current_sets(run, published)
        if sets is None or any(run.sets[name]["num_failed"] or is_part(run, name) for name in sets):
            continue
        rates = [rate for name in sets if (rate := run.sets[name]["wer_percent"]) is not None]
        return WholeTable(published, sets, rates) if len(rates) == len(sets) else None
    return None


def is_part(run: ScoredRun, name: str) -> bool:
    """Whether the run took only some rows of the set, as its record says."""
    sets = (run.record.get("config", {}).get("suite") or {}).get("sets") or {}
    source = (sets.get(name) or {}).get("source") or {}
    return bool(source.get("max_utterances") or source.get("only"))


def model_name(run: ScoredRun) -> str:
    """The system of the manifests' names, else the checkpoint that was evaluated, else the name of the predictions."""
    model = run.record.get("config", {}).get("model")
    path = model.get("path") if isinstance(model, dict) else None
    return str(run.provenance.get("system") or path or Path(run.provenance.get("predictions", "")).name)


def _line_of_august(run: ScoredRun, found: WholeTable) -> dict[str, str]:
    rtfx, size = rtfx_over(run, found.sets), size_b(run)
    line = {column.csv: f"{rate:.2f}" for column, rate in zip(found.published.columns, found.rates, strict=True)}
    line |= dict.fromkeys(_AVERAGES, f"{fmean(found.rates):.2f}")
    return line | {
        "model": model_name(run),
        "RTFx": _NOT_KNOWN if rtfx is None else f"{rtfx:.2f}",
        "Model size (B)": _NOT_KNOWN if size is None else f"{size:g}",
    }


def _line_of_november(run: ScoredRun, found: WholeTable) -> dict[str, str]:
    """As score_results prints it: the average unrounded, each set's RTFx, nothing for what is not known."""
    rtfx, size = rtfx_over(run, found.sets), size_b(run)
    line = {
        "model": model_name(run),
        "avg": str(sum(found.rates) / len(found.rates)),
        "RTFx": "" if rtfx is None else str(round(rtfx, 2)),
        "Size (B)": "" if size is None else f"{size:g}",
        "Training data disclosure": training_disclosure(run) or "",
    }
    for column, name, rate in zip(found.published.columns, found.sets, found.rates, strict=True):
        speed = run.sets[name]["rtfx"]
        line |= {column.csv: str(rate), column.csv.replace(" WER", " RTFx"): "" if speed is None else str(speed)}
    return line


_TABLES = {
    LEADERBOARD: ("open_asr_english", "open_asr_multilingual"),
    LEADERBOARD_2026_11: ("open_asr_english_2026_09",),
}
_LINES: dict[str, Callable[[ScoredRun, WholeTable], dict[str, str]]] = {
    LEADERBOARD: _line_of_august,
    LEADERBOARD_2026_11: _line_of_november,
}
