"""Owns where a run's figures go: always `metrics.jsonl`, on request wandb or tensorboard through Accelerate's trackers.

What leaves the machine is decided here: numbers and settings; no path, and no transcript unless `allow_text` says so.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from qasr_train.errors import ConfigError
from qasr_train.settings import check_settings, setting

_PATH_KEYS = frozenset({"path", "base", "run_dir", "audio_root", "manifest", "dir"})


class Backend(str, Enum):
    """Where figures go beside metrics.jsonl."""

    none = "none"
    wandb = "wandb"
    tensorboard = "tensorboard"


class WandbMode(str, Enum):
    """Whether wandb sends as the run goes, or keeps the run on disk for `wandb sync`."""

    online = "online"
    offline = "offline"


@dataclass
class TrackingConfig:
    """Tracking of a run."""

    backend: Backend = setting(Backend.none, help="tracker fed beside metrics.jsonl")
    project: str = setting("qasr_train", help="name; the tracker's project")
    name: str | None = setting(None, help="name of the run in the tracker. null: the tracker chooses")
    mode: WandbMode = setting(WandbMode.online, help="wandb only: send at once, or keep on disk")
    allow_text: bool = setting(False, help="whether sample transcripts may go to the tracker")

    def __post_init__(self) -> None:
        check_settings(self, "tracking")


class Tracker:
    """Writes metrics of a run; on processes other than the first it does nothing."""

    def __init__(self, config: TrackingConfig, accelerator: Accelerator, run_dir: Path) -> None:
        self.config, self.accelerator = config, accelerator
        self.is_writer = accelerator.is_main_process
        self.path = run_dir / "metrics.jsonl"

    def start(self, settings: Mapping[str, Any]) -> None:
        """Open the tracker with the run's settings, paths left out."""
        if self.config.backend is Backend.none:
            return
        flat = flatten_settings(settings)
        try:
            self.accelerator.init_trackers(self.config.project, config=flat, init_kwargs=self._init_kwargs())
        except Exception as error:
            raise ConfigError(
                f"tracking={self.config.backend.value}: the tracker did not start ({type(error).__name__}: {error}); log in, "
                "or set tracking.mode=offline or tracking=none"
            ) from error

    def log(self, metrics: Mapping[str, float | None], *, step: int) -> None:
        """Append figures to metrics.jsonl and hand them to the tracker."""
        if not self.is_writer:
            return
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(json.dumps({"step": step, "time": round(time.time(), 3), **metrics}) + "\n")
        if self.config.backend is not Backend.none:
            self.accelerator.log({k: v for k, v in metrics.items() if v is not None}, step=step)

    def forget_after(self, step: int) -> None:
        """Drop the lines of steps that a resume will take again, so that no step stands twice."""
        if not (self.is_writer and self.path.exists()):
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        part = self.path.with_suffix(".part")
        part.write_text("".join(kept), encoding="utf-8")
        part.replace(self.path)

    def log_transcripts(self, rows: list[tuple[str, str, str]], *, step: int) -> None:
        """Hand (id, reference, hypothesis) samples to the tracker, if that is allowed."""
        if not (self.is_writer and self.config.allow_text and self.config.backend is Backend.wandb):
            return
        import wandb

        table = wandb.Table(columns=["id", "reference", "hypothesis"], data=[list(row) for row in rows])
        self.accelerator.get_tracker("wandb").log({"dev/samples": table}, step=step)

    def close(self) -> None:
        """Flush and close the tracker."""
        if self.config.backend is not Backend.none:
            self.accelerator.end_training()

    def _init_kwargs(self) -> dict[str, dict[str, Any]]:
        if self.config.backend is not Backend.wandb:
            return {}
        import wandb

        # Paths, host name, command line and code of the machine stay here.
        settings = wandb.Settings(
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


def flatten_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Nested settings as `a.b.c: value`, without paths, nulls and empty lists."""
    flat: dict[str, str | int | float | bool] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten_settings(value, name + "."))
        elif key in _PATH_KEYS or value is None:
            continue
        elif isinstance(value, Enum):
            flat[name] = value.value
        elif isinstance(value, list):
            flat[name] = json.dumps([v.value if isinstance(v, Enum) else v for v in value])
        else:
            flat[name] = value
    return flat
