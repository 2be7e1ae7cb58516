"""What one core makes of a batch, from files to tensors: ours, the official collator, and the native processor.

    taskset -c 0 python scripts/bench/bench_input.py --official OVERLAY --model DIR [--clips 32] [--repeats 9]

DIR is a Qwen3-ASR-0.6B in its original layout (tokenizer and settings, no weights); OVERLAY a folder for the official
package, installed with pip where it is empty. Without either the tiny model's tokenizer is used, and the row left out.
The ways are interleaved; medians and ratios are printed. Synthetic clips of 2 to 15 s, as FLAC and as WAV.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

from qasr_train.batch import Recording
from qasr_train.data.feature_cache import CachedMels
from qasr_train.data.settings import CacheConfig
from qasr_train.data.workers import load_recording
from qasr_train.manifest import Utterance
from qasr_train.models.locations import resolve_checkpoint
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.models.qwen3_asr.layouts import load_processor

OFFICIAL = ["qwen-asr==0.0.6", "transformers==4.57.6", "tokenizers==0.22.2", "huggingface-hub==0.36.2"]
WORDS = "the patient was given two small doses of a new drug on monday and felt better by the next morning".split()


def main() -> None:
    """Parse the command line, measure, print one line a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled:tiny", help="directory; original layout where --official is given")
    parser.add_argument("--official", type=Path, help="directory of the official package; made where it is missing")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        utterances = make_clips(Path(folder), arguments.clips)
        processor = load_processor(resolve_checkpoint(arguments.model, None))
        ways = our_ways(processor, utterances, Path(folder)) | native_ways(processor, utterances)
        if arguments.official:
            ways |= official_ways(arguments.official, arguments.model, utterances, Path(folder))
        show(measure(ways, arguments.repeats), audio_s=sum(u.duration_s or 0.0 for u in utterances["flac"]))


def make_clips(folder: Path, num_clips: int) -> dict[str, list[Utterance]]:
    """The same clips as FLAC and as WAV, 16 kHz mono PCM16: noise of a speech-like slope, loud and quiet by syllables."""
    rng = np.random.default_rng(0)
    made: dict[str, list[Utterance]] = {"flac": [], "wav": []}
    for number, duration_s in enumerate(rng.uniform(2, 15, num_clips)):
        noise = rng.standard_normal(int(16_000 * duration_s))
        spectrum = np.fft.rfft(noise)
        spectrum /= 1.0 + np.arange(len(spectrum)) / len(spectrum) * 8000 / 500  # falls by 6 dB an octave above 500 Hz
        syllables = 0.02 + np.square(np.sin(np.pi * 2.0 * np.arange(len(noise)) / 16_000))
        waveform = np.fft.irfft(spectrum, len(noise)) * syllables
        waveform *= 0.5 / np.abs(waveform).max()
        text = " ".join(rng.choice(WORDS, int(2.5 * duration_s)))
        for kind, rows in made.items():
            path = folder / f"{number}.{kind}"
            soundfile.write(path, waveform, 16_000, subtype="PCM_16")
            duration = len(noise) / 16_000
            rows.append(Utterance(str(number), str(path), text=text, language="English", duration_s=duration))
    return made


def our_ways(processor, utterances: dict[str, list[Utterance]], folder: Path) -> dict[str, Callable[[], float]]:  # type: ignore[no-untyped-def]
    """Whole batches, and their parts: decoding, features and text, alone."""
    collator = Qwen3ASRCollator(processor)
    decoded: list[Recording] = [load_recording(one) for one in utterances["wav"]]
    cached = CachedMels.open(CacheConfig(dir=str(folder / "cache")), collator)
    cached(utterances["wav"])
    for_device = Qwen3ASRCollator(processor, makes_features=False)
    return {
        "ours, FLAC": _timed(lambda: collator.for_training([load_recording(one) for one in utterances["flac"]])),
        "ours, WAV": _timed(lambda: collator.for_training([load_recording(one) for one in utterances["wav"]])),
        "ours, cached mels": _timed(lambda: collator.for_training(cached(utterances["wav"])[0])),
        "ours, FLAC, features on the device": _timed(
            lambda: for_device.for_training([load_recording(one) for one in utterances["flac"]])
        ),
        "  of it: decoding FLAC": _timed(lambda: [load_recording(one) for one in utterances["flac"]]),
        "  of it: decoding WAV": _timed(lambda: [load_recording(one) for one in utterances["wav"]]),
        "  of it: features, text, padding": _timed(lambda: collator.for_training(decoded)),
    }


def native_ways(processor, utterances: dict[str, list[Utterance]]) -> dict[str, Callable[[], float]]:  # type: ignore[no-untyped-def]
    """The processor of transformers over the batch, called once (no labels) and twice (the official way to labels)."""
    messages = [
        {"role": "system", "content": [{"type": "text", "text": ""}]},
        {"role": "user", "content": [{"type": "audio", "audio": np.zeros(1)}]},
    ]
    prompt = processor.apply_chat_template([messages], tokenize=False, add_generation_prompt=True)[0]
    texts = [prompt + target for target in _targets(utterances)]

    def run(kind: str, num_calls: int) -> None:
        audio = [soundfile.read(one.audio, dtype="float32")[0] for one in utterances[kind]]
        for _ in range(num_calls):
            processor(text=texts, audio=audio, sampling_rate=16_000, return_tensors="pt", padding=True)

    return {
        f"native processor {'once' if num_calls == 1 else 'twice'}, {kind.upper()}": _timed(
            lambda kind=kind, num_calls=num_calls: run(kind, num_calls)  # type: ignore[misc]
        )
        for kind in ("flac", "wav")
        for num_calls in (1, 2)
    }


def official_ways(
    overlay: Path, model: str, utterances: dict[str, list[Utterance]], folder: Path
) -> dict[str, Callable[[], float]]:
    """The official collator in a process of its own, which measures itself; the core is the same where taskset says so."""
    if not overlay.is_dir():
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(overlay), *OFFICIAL], check=True
        )
    paths = {kind: [str(one.audio) for one in rows] for kind, rows in utterances.items()}
    (folder / "batch.json").write_text(json.dumps(paths | {"targets": _targets(utterances)}), encoding="utf-8")
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("official_collator.py")), model, str(folder / "batch.json")],
        env=os.environ | {"PYTHONPATH": str(overlay), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin and server.stdout
    if server.stdout.readline().strip() != "ready":
        raise SystemExit("the official collator did not start; its message stands above")

    def ask(kind: str) -> float:
        assert server.stdin and server.stdout
        print(kind, file=server.stdin, flush=True)
        return float(server.stdout.readline())

    return {f"official collator, {kind.upper()}": lambda kind=kind: ask(kind) for kind in ("flac", "wav")}  # type: ignore[misc]


def measure(ways: dict[str, Callable[[], float]], num_repeats: int) -> dict[str, float]:
    """Median seconds of each way, run in turns after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(num_repeats + 1):
        for name, run in ways.items():
            value = run()
            if repeat:
                seconds[name].append(value)
    return {name: statistics.median(values) for name, values in seconds.items()}


def show(medians: dict[str, float], *, audio_s: float) -> None:
    """One line a way: milliseconds a batch, seconds of audio a second, and how many times ours from the same format."""
    for name, seconds in medians.items():
        ratio = ""
        for kind in ("FLAC", "WAV"):
            if name.endswith(kind) and not name.startswith((" ", "ours")):
                ratio = f"{seconds / medians[f'ours, {kind}']:5.1f} x ours"
                ratio += f", {seconds / medians['ours, cached mels']:5.1f} x ours with cached mels"
        print(f"{name:36}{1000 * seconds:9.1f} ms {audio_s / seconds:9.0f} audio-s/s  {ratio}")


def _targets(utterances: dict[str, list[Utterance]]) -> list[str]:
    return [f"language {one.language}<asr_text>{one.text}" for one in utterances["flac"]]


def _timed(run: Callable[[], object]) -> Callable[[], float]:
    def seconds() -> float:
        began_s = time.perf_counter()
        run()
        return time.perf_counter() - began_s

    return seconds


if __name__ == "__main__":
    main()
