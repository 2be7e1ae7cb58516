"""Owns what a training run has written of itself so far, read back: its record, the figures of its log, sample transcripts.

Input: a run directory, at work or long over. Output: `History`, and the validations in it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qasr_train.errors import ConfigError
from qasr_train.files import parse_json
from qasr_train.run.directory import RUN_FILE, read_run

METRICS_FILE, SAMPLES_FILE = "metrics.jsonl", "samples.jsonl"
BEFORE_TRAINING = "before training"
# trainer.best_by -> the figure of a validation that decides, and what it is.
DECIDING = {
    "error_rate": ("dev/error_rate", "mean error rate of the dev sets in percent"),
    "loss": ("dev/loss_nats", "loss on the dev sets in nats a token"),
}
# Guard figures of a validation that are worse than before training by more than their margins: how many.
PAST_MARGIN = "dev/num_past_margin"
Figures = Mapping[str, Any]


@dataclass(frozen=True)
class History:
    """record: of run.json, {} where there is none. rows: lines of metrics.jsonl. samples: lines of samples.jsonl.

    num_damaged: lines of either that cannot be read, such as the last one of a run that was killed.
    """

    name: str
    record: Mapping[str, Any]
    rows: Sequence[Figures]
    samples: Sequence[Figures]
    num_damaged: int

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the run, as it was last started."""
        resumed = self.record.get("resumed")
        last = resumed[-1] if isinstance(resumed, list) and resumed else self.record
        config = last.get("config") if isinstance(last, dict) else None
        return config if isinstance(config, dict) else {}

    def setting(self, key: str) -> Any:
        """A setting by its dotted name; None where the record has none."""
        value: Any = self.config
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value

    @property
    def step(self) -> int:
        """The last step that anything was written of; 0 before."""
        return max((int(row["step"]) for row in self.rows), default=0)

    def curve(self, figure: str, scale: float = 1.0) -> list[tuple[float, float]]:
        """(step, value) of a figure wherever it was measured."""
        return [(float(row["step"]), scale * float(row[figure])) for row in self.rows if row.get(figure) is not None]

    def last(self, figure: str) -> float | None:
        """The latest value of a figure; None: never measured."""
        values = self.curve(figure)
        return values[-1][1] if values else None

    def names_of(self, beginning: str, end: str = "") -> list[str]:
        """What stands between two parts of the names of figures, in the order of the log: dev sets, parts of the model."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        between = [
            name[len(beginning) : len(name) - len(end)]
            for name in names
            if name.startswith(beginning) and name.endswith(end) and len(name) > len(beginning) + len(end)
        ]
        return [name for name in between if "/" not in name]


@dataclass(frozen=True)
class Best:
    """The best validation after the first step. figure, meaning: what decides (`DECIDING`). before: its value before training.

    num_validations: after step 0. num_without_gain: of these, since the best one.
    """

    figure: str
    meaning: str
    step: int
    value: float
    before: float | None
    num_validations: int
    num_without_gain: int


def read_history(run_dir: Path) -> History:
    """What a run directory says; nothing of it need be there, since a run that has just begun has little.

    Raises:
        ConfigError: run.json is damaged. OSError: a file cannot be read.
    """
    record = read_run(run_dir) if _has_content(run_dir / RUN_FILE) else {}
    rows, damaged_rows = _read_rows(run_dir / METRICS_FILE)
    samples, damaged_samples = _read_rows(run_dir / SAMPLES_FILE)
    return History(run_dir.resolve().name, record, rows, samples, damaged_rows + damaged_samples)


def require_history(run_dir: Path) -> History:
    """`read_history` of a training run that has written figures.

    Raises:
        ConfigError: it is none, or has none.
    """
    record = read_run(run_dir)
    if record.get("recipe") != "finetune":
        raise ConfigError(
            f"{run_dir}: is a run of {record.get('recipe')}, not of finetune; name the folder of a training"
        )
    history = read_history(run_dir)
    if not history.rows:
        raise ConfigError(f"{run_dir / METRICS_FILE}: holds no figures; the run ended before its first line of the log")
    return history


def validations(history: History) -> list[Figures]:
    """The lines that dev sets were measured in, by step."""
    return [row for row in history.rows if any(name.startswith("dev/") for name in row)]


def find_best(history: History) -> Best | None:
    """By the figure that the run's settings name, the lowest, of equal ones the earlier; None before a validation.

    One past a margin of `trainer.guard` is not among them, though it counts as one.
    """
    figure, meaning = DECIDING.get(str(history.setting("trainer.best_by")), DECIDING["error_rate"])
    measured = [(step, value) for step, value in history.curve(figure) if math.isfinite(value)]
    after = [(step, value) for step, value in measured if step > 0]
    past = {step for step, number in history.curve(PAST_MARGIN) if number}
    candidates = [one for one in after if one[0] not in past]
    if not candidates:
        return None
    step, value = min(candidates, key=lambda one: (one[1], one[0]))
    before = next((value for step, value in measured if step == 0), None)
    return Best(figure, meaning, int(step), value, before, len(after), sum(one > step for one, _ in after))


def samples_by_clip(history: History) -> dict[tuple[str, str], dict[int, Figures]]:
    """(dev set, id) -> step -> sample, of the validations that count: a resume takes some steps again."""
    steps = {int(row["step"]) for row in validations(history)}
    found: dict[tuple[str, str], dict[int, Figures]] = {}
    for sample in history.samples:
        if int(sample["step"]) in steps:
            found.setdefault((str(sample.get("set")), str(sample.get("id"))), {})[int(sample["step"])] = sample
    return found


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _read_rows(path: Path) -> tuple[list[Figures], int]:
    """Lines that are objects with a step, and how many are not."""
    if not path.is_file():
        return [], 0
    rows, num_damaged = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = parse_json(line)
            int(row["step"])
        except (json.JSONDecodeError, TypeError, KeyError, ValueError):
            num_damaged += 1
            continue
        rows.append(row)
    return rows, num_damaged
