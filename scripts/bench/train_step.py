"""Owns what the ways of bench_train.py share across processes: the clips, a step's figures, the weighing of memory.

Imports neither transformers nor this project, so that the official package's environment can import it.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass
class StepResult:
    """Figures of one optimizer step.

    seconds, input_s: as `clock` counts them. saved_bytes: most that autograd kept of a microbatch; peak_bytes: of a GPU, else 0.
    """

    seconds: float
    input_s: float
    loss_nats: float
    num_targets: int
    padded_fraction: float
    saved_bytes: int = 0
    peak_bytes: int = 0


@dataclass(frozen=True)
class Clock:
    """Seconds, when the device has done all it was given: of the wall, or of this process on its core, which a busy machine
    does not stretch much."""

    device: torch.device
    is_wall: bool

    def __call__(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() if self.is_wall else time.process_time()


def saved_bytes(run: Callable[[], torch.Tensor], model: torch.nn.Module) -> tuple[torch.Tensor, int]:
    """What `run` returns, and the bytes of the storages kept for its backward pass, parameters not counted."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    return result, sum(kept.values())


# Laws that lengths of clips follow, by mix: (median in seconds, spread of a log-normal law); cut at 30 s.
MIXES = {"long-tail": (5.5, 0.87), "librispeech": (12.9, 0.35), "commonvoice": (5.0, 0.4)}


def synthetic_utterances(folder: Path, num_clips: int, mix: tuple[float, float] = MIXES["long-tail"]) -> list[Any]:
    """Clips of a mix on disk as FLAC, 2.5 words a second: even quantiles of its law."""
    import numpy as np
    import soundfile

    from qasr_train.manifest import Utterance
    from scripts.bench.bench_input import WORDS

    rng = np.random.default_rng(0)
    normal = statistics.NormalDist()
    quantiles = [normal.inv_cdf((number + 0.5) / num_clips) for number in range(num_clips)]
    durations_s = np.clip(mix[0] * np.exp(mix[1] * np.array(quantiles)), 0.5, 30.0)
    utterances = []
    for number, duration_s in enumerate(durations_s):
        waveform = 0.1 * rng.standard_normal(int(16_000 * duration_s))
        path = folder / f"{number}.flac"
        soundfile.write(path, waveform.clip(-1, 1), 16_000, subtype="PCM_16")
        text = " ".join(rng.choice(WORDS, max(1, int(2.5 * duration_s))))
        utterances.append(
            Utterance(str(number), str(path), text=text, language="English", duration_s=len(waveform) / 16_000)
        )
    return utterances


def target_text(utterance: Any) -> str:
    """What the model is to say, without the end token."""
    return f"language English<asr_text>{utterance.text}"
