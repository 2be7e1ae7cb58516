"""Owns what is said of a system: name, mean error rate, speed, parameters, languages, architecture, licence.

Input: the record of a run (run.json) and its rows; facts in assets/published/systems.json. Output: `System`s.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

from qasr_train.evaluation.scoring.rates import counts_of, primary_metric_of
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.files import parse_json


@dataclass(frozen=True, slots=True)
class System:
    """One line of the table. mean_percent: unweighted mean of WER (CER in languages without spaces) over sets; figures_of: whose
    figures, over which sets. What is not known is None. is_wall_time: the speed is that of a whole command, loading included.
    """

    name: str
    mean_percent: float | None
    figures_of: str
    rtfx: float | None = None
    size_b: float | None = None
    languages: str | None = None
    architecture: str | None = None
    license: str | None = None
    is_wall_time: bool = False


def run_record(path: str | Path) -> dict[str, Any]:
    """What a run folder says of the run: its run.json, else what its scores.json quotes of one; {} where there is neither."""
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    record = _read(folder / "run.json")
    if record:
        return record
    provenance = _read(folder / "scores.json").get("provenance") or {}
    run = provenance.get("run")
    return (run if isinstance(run, dict) else {}) | {"system_name": provenance.get("system")}


def system_name(record: dict[str, Any], default: str) -> str:
    """What a run's system is called: the name given to a command, the system of a leaderboard manifest, the model's path."""
    model = (record.get("config") or {}).get("model") or {}
    names = (record.get("system_name"), model.get("name"), model.get("path"), model.get("command"), default)
    return next(str(name) for name in names if name)


def system_of_run(record: dict[str, Any], default: str, rates: Sequence[float | None], rtfx: float | None) -> System:
    """The line of a run.

    Args:
        default: its name where the record has none. rates: percent of each set, None where a set has no words.
    """
    known = [rate for rate in rates if rate is not None]
    card, num_parameters = record.get("system") or {}, record.get("num_parameters")
    return System(
        name=system_name(record, default),
        mean_percent=fmean(known) if known else None,
        figures_of=f"measured here, {len(known)} {'set' if len(known) == 1 else 'sets'}",
        rtfx=rtfx,
        size_b=num_parameters / 1e9 if isinstance(num_parameters, int) else None,
        languages=card.get("languages"),
        architecture=card.get("architecture"),
        license=card.get("license"),
        is_wall_time=any("wall time" in whose for whose in (record.get("command_time") or {}).values()),
    )


def system_of_rows(record: dict[str, Any], default: str, rows: Sequence[UtteranceScore]) -> System:
    """The line of a run on some of its utterances."""
    by_set: dict[str, list[UtteranceScore]] = defaultdict(list)
    for row in rows:
        by_set[row.prediction.set].append(row)
    audio_s = [row.prediction.duration_s for row in rows]
    inference_s = [row.prediction.time_s for row in rows]
    is_timed = None not in audio_s and None not in inference_s
    total_s = sum(inference_s) if is_timed else 0.0  # type: ignore[arg-type]
    rtfx = sum(audio_s) / total_s if total_s else None  # type: ignore[arg-type]
    return system_of_run(record, default, [_rate(group) for group in by_set.values()], rtfx)


def published_system(
    name: str, mean_percent: float, figures_of: str, rtfx: float | None, size_b: float | None
) -> System:
    """The line of a published system, with what is known of it by its name."""
    for pattern, architecture, languages, license_name in _published_facts():
        if fnmatchcase(name.lower(), pattern):
            return System(name, mean_percent, figures_of, rtfx, size_b, languages, architecture, license_name)
    return System(name, mean_percent, figures_of, rtfx, size_b)


@cache
def _published_facts() -> list[tuple[str, str, str, str | None]]:
    text = files("qasr_train").joinpath("assets", "published", "systems.json").read_text(encoding="utf-8")
    return [tuple(facts) for facts in parse_json(text)["systems"]]


def _rate(rows: Sequence[UtteranceScore]) -> float | None:
    errors, lengths = counts_of(rows, primary_metric_of({row.prediction.language for row in rows}))
    return 100.0 * int(errors.sum()) / int(lengths.sum()) if lengths.any() else None


def _read(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # the table says less; the comparison does not depend on it
    return content if isinstance(content, dict) else {}
