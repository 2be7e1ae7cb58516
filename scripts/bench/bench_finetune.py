"""`recipes/finetune.py` itself, from files to updated weights: its own figures of speed, memory and waiting for data.

    python scripts/bench/bench_finetune.py [--shape 0.6b|1.7b|tiny] [--clips 512] [--steps 30] [-- trainer.compile=true ...]

Random weights of a published architecture at its whole depth and synthetic clips, both written to a folder that is removed in the
end. What follows `--` goes to the recipe as it is. Printed are medians of what it logged after its first half, in which layers
are compiled and workers started.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.models.qwen3_asr.layouts import save_native
from scripts.bench.random_model import SHAPES, random_model
from scripts.bench.train_step import MIXES, synthetic_utterances

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ["audio_s_per_s", "model_flop_utilisation", "data_wait_fraction", "padded_fraction", "peak_memory_gib"]
FIGURES += ["num_compiled_graphs", "loss_nats"]


def main() -> None:
    """Write model and clips, run the recipe, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["tiny", *SHAPES], default="0.6b")
    parser.add_argument("--mix", choices=list(MIXES), default="librispeech")
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("settings", nargs="*", help="of recipes/finetune.py")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = random_model(arguments.shape)
        save_native(model.core, model.processor, folder / "model")
        del model
        settings = [f"model.path={folder / 'model'}", f"data.train.main.path={write_clips(folder, arguments)}"]
        settings += [f"run_dir={folder / 'run'}", "trainer.num_epochs=null", f"trainer.max_steps={arguments.steps}"]
        settings += ["trainer.log_every=1", "trainer.save_every=1000000", "data.num_workers=2", *arguments.settings]
        subprocess.run([sys.executable, str(ROOT / "recipes" / "finetune.py"), *settings], check=True)
        show(folder / "run" / "metrics.jsonl", arguments.steps)


def write_clips(folder: Path, arguments: argparse.Namespace) -> Path:
    """The manifest of the clips."""
    manifest = folder / "clips.jsonl"
    rows = [
        {"id": one.id, "audio": one.audio, "text": one.text, "language": one.language, "duration": one.duration_s}
        for one in synthetic_utterances(folder, arguments.clips, MIXES[arguments.mix])
    ]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest


def show(metrics: Path, num_steps: int) -> None:
    """A line a figure."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    late = [line for line in lines if line["step"] > num_steps // 2 and "train/loss_nats" in line]
    for name in FIGURES:
        values = [line[f"train/{name}"] for line in late if line.get(f"train/{name}") is not None]
        if values:
            print(f"{name:24}{statistics.median(values):12.4f}  ({min(values):.4f} to {max(values):.4f})")


if __name__ == "__main__":
    main()
