"""Owns where a run's figures go: always `metrics.jsonl`, on request wandb or tensorboard through Accelerate's trackers.

What leaves the machine is decided here: figures, and settings that are numbers, switches, choices or names; no path, no
transcript unless `allow_text`, no audio unless `allow_audio` says so.
"""

import dataclasses
import html
import json
import re
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.errors import ConfigError
from qasr_train.files import parse_json, write_whole
from qasr_train.run.settings import Backend, TrackingConfig

# A setting's help begins with its unit; text goes out only where that is one of these, so a new setting stays here by itself.
_PUBLIC_UNIT = re.compile(r"(name|pattern)s?\b")
_LOOKS_LIKE_A_PATH = re.compile(r"[/\\~\s]")
Public = str | int | float | bool


class Tracker:
    """Writes metrics of a run; on processes other than the first it does nothing."""

    def __init__(self, config: TrackingConfig, accelerator: Accelerator, run_dir: Path) -> None:
        self.config, self.accelerator = config, accelerator
        self.is_writer = accelerator.is_main_process
        self.path = run_dir / "metrics.jsonl"
        self._is_open = False

    def start(self, config: Any) -> None:
        """Open the tracker with those settings of the job's config dataclass that may leave the machine."""
        if self.config.backend is Backend.none:
            return
        public = public_settings(config)
        try:
            self.accelerator.init_trackers(self.config.project, config=public, init_kwargs=self._init_kwargs())
        except Exception as error:
            raise ConfigError(
                f"tracking={self.config.backend.value}: the tracker did not start ({type(error).__name__}: {error}); log in, "
                "or set tracking.mode=offline or tracking=none"
            ) from error
        self._is_open = True

    def log(self, metrics: Mapping[str, float | None], *, step: int) -> None:
        """Append figures to metrics.jsonl and hand them to the tracker."""
        if not self.is_writer:
            return
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(json.dumps({"step": step, "time": round(time.time(), 3), **metrics}) + "\n")
        self.send(metrics, step=step)

    def send(self, metrics: Mapping[str, float | None], *, step: int) -> None:
        """Hand figures to the tracker alone."""
        if self.is_writer and self.config.backend is not Backend.none:
            self.accelerator.log({k: v for k, v in metrics.items() if v is not None}, step=step)

    def forget_after(self, step: int) -> None:
        """Drop the lines of steps that a resume will take again, so that no step stands twice."""
        if not (self.is_writer and self.path.exists()):
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and parse_json(line)["step"] <= step]
        write_whole(self.path, "".join(kept))

    def log_transcripts(self, rows: list[tuple[str, str, str]], *, step: int) -> None:
        """Hand (id, reference, hypothesis) samples to the tracker, if that is allowed."""
        if self.config.allow_text:
            self.send_table("dev/samples", ["id", "reference", "hypothesis"], rows, step=step)

    def send_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, step: int) -> None:
        """Hand a table to wandb, as HTML; other trackers have none. The caller asks `allow_text` first.

        Not as wandb.Table: that makes an artifact, whose record holds the path of a file in the home folder.
        """
        if not (self.is_writer and self.config.backend is Backend.wandb):
            return
        import wandb

        lines = [_html_row("th", columns), *(_html_row("td", row) for row in rows)]
        page = wandb.Html(f'<table border="1" cellpadding="4">{"".join(lines)}</table>', inject=False)
        self.accelerator.get_tracker("wandb").log({name: page}, step=step)

    def send_clips(self, name: str, clips: Sequence[tuple[str, np.ndarray]], *, step: int) -> None:
        """Hand (caption, float32 [S] at 16 kHz) to wandb, if audio may leave the machine."""
        if not (self.is_writer and self.config.allow_audio and self.config.backend is Backend.wandb and clips):
            return
        import wandb

        audio = [wandb.Audio(waveform, sample_rate=SAMPLE_RATE_HZ, caption=caption) for caption, waveform in clips]
        self.accelerator.get_tracker("wandb").log({name: audio}, step=step)

    def close(self) -> None:
        """Flush and close the tracker."""
        if self._is_open:
            self.accelerator.end_training()

    def _init_kwargs(self) -> dict[str, dict[str, Any]]:
        if self.config.backend is not Backend.wandb:
            return {}
        import wandb

        # Host name, user, command line, paths, code, packages and git remote of the machine stay here.
        settings = wandb.Settings(
            label_disable=True,  # else the text of the program is searched for labels
            x_disable_machine_info=True,
            console="off",
            disable_git=True,
            disable_code=True,
            save_code=False,
            x_disable_meta=True,
            x_save_requirements=False,
            silent=True,
            host="-",  # else the machine's own name is sent
        )
        name, mode = self.config.name, self.config.mode.value
        return {"wandb": {"name": name, "mode": mode, "dir": str(self.path.parent), "settings": settings}}


def tracker_names(config: TrackingConfig) -> list[str]:
    """What Accelerate's `log_with` wants."""
    return [] if config.backend is Backend.none else [config.backend.value]


def public_settings(config: Any, prefix: str = "") -> dict[str, Public]:
    """Settings that may leave the machine, as `a.b.c: value`: numbers, switches, choices, and text whose setting calls it a
    name or a pattern; values of mappings, paths and what is off stay. Keys hold the names of sources and sets.

    Args:
        config: a config dataclass, nested ones included.
    """
    public: dict[str, Public] = {}
    for field in dataclasses.fields(config):
        is_named = _PUBLIC_UNIT.match(field.metadata.get("help", "")) is not None
        public.update(_public(getattr(config, field.name), f"{prefix}{field.name}", is_named=is_named))
    return public


def _html_row(tag: str, cells: Sequence[Any]) -> str:
    texts = ("" if cell is None else f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in cells)
    return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"


def _public(value: Any, key: str, *, is_named: bool) -> dict[str, Public]:
    if dataclasses.is_dataclass(value):
        return public_settings(value, f"{key}.")
    if isinstance(value, Mapping):
        entries = (_public(item, f"{key}.{name}", is_named=False) for name, item in value.items())
        return {name: item for entry in entries for name, item in entry.items()}
    if isinstance(value, list):
        kept = [item for one in value for item in _public(one, key, is_named=is_named).values()]
        return {key: json.dumps(kept)} if kept else {}
    if isinstance(value, Enum):
        return {key: value.name}
    if isinstance(value, str):
        return {key: value} if is_named and not _LOOKS_LIKE_A_PATH.search(value) else {}
    return {} if value is None else {key: value}
