"""Owns `recipes/finetune.py` as a process of its own, on a random two-layer model and a dozen clips, for tests that kill it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from qasr_train.models.qwen3_asr.layouts import save_native
from tests.helpers import ROOT
from tests.helpers_copies import Copy
from tests.helpers_model import tiny_model, tiny_processor
from tests.helpers_trainer import make_clips
from tests.models.tiny_families import tiny_whisper

START_S = 240  # on a busy machine


def make_inputs(folder: Path, family: str = "qwen3_asr") -> list[str]:
    """A model, clips and their manifest in a folder; the recipe's arguments for them, without run_dir."""
    named = []
    if family == "whisper":
        for part in tiny_whisper():
            part.save_pretrained(folder / "model")
        named = ["model=whisper_tiny", "model.window=clip", "model.full_window_fraction=0.3"]
    else:
        save_native(tiny_model(), tiny_processor(), folder / "model")
    (folder / "clips").mkdir()
    rows = [
        {"id": u.id, "audio": u.audio, "text": u.text, "language": u.language, "duration_s": u.duration_s}
        for u in make_clips(folder / "clips")
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        *named,
        f"model.path={folder / 'model'}",
        f"data.train.main.path={folder / 'manifest.jsonl'}",
        "data.batch_seconds=5",
        "data.max_duration_s=5",
        "data.num_workers=0",
        "adapt.lora.dropout=0.1",
        "trainer.num_epochs=null",
        "trainer.device=cpu",
        "trainer.log_every=1",
        "optim.lr=0.01",
    ]


def start(arguments: list[str], env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """The recipe in a process; its standard error is kept."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "recipes" / "finetune.py"), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | dict(env or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def last_step(run_dir: Path) -> int:
    """The last step whose figures are written down, 0 before the first."""
    path = run_dir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def wait_until(
    condition: Callable[[], bool], process: "subprocess.Popen[str] | Copy", *, poll_s: float = 0.002
) -> bool:
    """Wait for a condition while a process runs; False where the process has ended before."""
    end_s = time.monotonic() + START_S
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end_s, "nothing happened"
        time.sleep(poll_s)
    return True
