"""Owns what is measured of training and where it is seen: the figures of a step, their means over a window, bar and log.

Input: steps with their timings. Output: figures by name in metrics.jsonl, the terminal and the tracker. What is not known
(the peak rate of an unlisted device, the operations of a family that does not count them) is None, never a guess.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from qasr_train.data.hearing import Heard
from qasr_train.models.blocks.compiled import num_compilations
from qasr_train.run.tracking import Tracker
from qasr_train.training.checkpoint import TrainState
from qasr_train.training.deepspeed_zero import ZeroOptimizer

# Dense bfloat16 matrix products with float32 sums, in TFLOP/s, from NVIDIA's data sheets (the figures there marked "with
# sparsity" are twice these). Matched against the device's name, the longer names first.
PEAK_TFLOPS_BF16 = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L40": 181.0,
    "A10G": 70.0,
    "A10": 125.0,
    "L4": 121.0,
}
_DRIFT = 1.2  # the slowest process over the mean of all: above it each one's time is written down


@dataclass(frozen=True, slots=True)
class StepResult:
    """Figures of one optimizer step, over all processes. loss_nats: per supervised token.

    num_flops: operations of the model, forward and backward; None where the family does not count them. is_skipped: loss
    or gradient was not finite and nothing was updated. own_s: seconds this process computed before it met the others.
    token_accuracy: None where the objective does not tell. others: the objective's own figures by name, per target.
    pooled: figures with counts of their own, name -> (sum, how many things it is of). rollout_s: seconds this process drew
    hypotheses and judged them; None: it drew none. heard: of clips of this process, where the run asks for it.
    """

    loss_nats: float
    token_accuracy: float | None
    grad_norm: float
    num_targets: int
    audio_s: float
    num_utterances: int
    padded_fraction: float
    num_flops: float | None = None
    is_skipped: bool = False
    own_s: float = 0.0
    others: Mapping[str, float] = field(default_factory=dict)
    pooled: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rollout_s: float | None = None
    heard: Sequence[Heard] = ()


@dataclass
class Window:
    """Figures since the last line of the log; time spent validating is left out. peak_tflops: of all devices together."""

    peak_tflops: float | None = None
    results: list[StepResult] = field(default_factory=list)
    num_skipped: int = 0
    wait_s: float = 0.0
    own_s: float = 0.0
    began_s: float = field(default_factory=time.perf_counter)

    def add(self, result: StepResult, wait_s: float) -> None:
        """Count a step and the seconds it waited for data."""
        if result.is_skipped:  # its loss would make every mean not a number
            self.num_skipped += 1
        else:
            self.results.append(result)
        self.wait_s += wait_s
        self.own_s += wait_s + result.own_s

    def skip_time_since(self, paused_s: float) -> None:
        """Leave out the time since a reading of the clock: it was spent validating, not training."""
        self.began_s += time.perf_counter() - paused_s

    def figures(self) -> dict[str, float | None]:
        """Means over the window; rates in seconds of audio, and in tokens, per second of wall-clock."""
        elapsed_s = max(time.perf_counter() - self.began_s, 1e-9)
        figures: dict[str, float | None] = {"train/data_wait_fraction": self.wait_s / elapsed_s}
        if self.num_skipped:
            figures["train/skipped_steps"] = self.num_skipped
        if not self.results:
            return figures
        num_targets = max(1, sum(r.num_targets for r in self.results))
        for name in self.results[0].others:
            figures[f"train/{name}"] = sum(r.others[name] * r.num_targets for r in self.results) / num_targets
        figures |= self._rollout_figures(elapsed_s)
        correct = [r.token_accuracy * r.num_targets for r in self.results if r.token_accuracy is not None]
        return figures | {
            "train/loss_nats": sum(r.loss_nats * r.num_targets for r in self.results) / num_targets,
            **({"train/token_accuracy": sum(correct) / num_targets} if correct else {}),
            "train/grad_norm": sum(r.grad_norm for r in self.results) / len(self.results),
            "train/audio_s_per_s": sum(r.audio_s for r in self.results) / elapsed_s,
            "train/targets_per_s": num_targets / elapsed_s,
            "train/padded_fraction": sum(r.padded_fraction for r in self.results) / len(self.results),
            "train/model_flop_utilisation": self._utilisation(elapsed_s),
        }

    def _rollout_figures(self, elapsed_s: float) -> dict[str, float | None]:
        """Of rollouts, where there are any: means over their own counts (None where nothing was counted), share of the time."""
        figures: dict[str, float | None] = {}
        for name in self.results[0].pooled:
            total, count = (sum(part) for part in zip(*(r.pooled[name] for r in self.results), strict=True))
            figures[f"train/{name}"] = total / count if count else None
        seconds = [r.rollout_s for r in self.results if r.rollout_s is not None]
        return figures | ({"train/rollout_fraction": sum(seconds) / elapsed_s} if seconds else {})

    def _utilisation(self, elapsed_s: float) -> float | None:
        counts = [r.num_flops for r in self.results]
        if self.peak_tflops is None or None in counts:
            return None
        return sum(count for count in counts if count is not None) / elapsed_s / (self.peak_tflops * 1e12)


@dataclass(frozen=True)
class Monitor:
    """Where the figures of a run are seen: a bar in the terminal, lines of metrics.jsonl, the tracker.

    peak_tflops: of all devices together; None: not known. counts_graphs: whether layers are compiled, and how often is told.
    """

    accelerator: Accelerator
    optimizer: torch.optim.Optimizer | ZeroOptimizer
    tracker: Tracker
    peak_tflops: float | None = None
    counts_graphs: bool = False

    def window(self) -> Window:
        """A window that begins now."""
        return Window(self.peak_tflops)

    def bar(self, num_done: int, num_steps: int) -> "tqdm[NoReturn]":
        """The bar of the steps, on the first process."""
        is_shown = self.accelerator.is_main_process
        return tqdm(total=num_steps, initial=num_done, unit="step", disable=not is_shown, mininterval=0.5)

    def show(self, bar: "tqdm[NoReturn]", window: Window) -> None:
        """Move the bar on by a step."""
        figures = window.figures()
        if window.results:
            bar.set_postfix_str(
                f"loss {figures['train/loss_nats']:.3f}, lr {self.lr:.1e}, {figures['train/audio_s_per_s']:.0f} audio-s/s",
                refresh=False,
            )
        bar.update()

    def log(self, window: Window, state: TrainState) -> None:
        """Write a window down; all processes must call it."""
        figures = window.figures() | drift_figures(self.accelerator, window)
        figures |= {"train/lr": self.lr, "train/epoch": state.epoch, "train/audio_s": state.audio_s}
        figures |= self.lr_of_parts() | {"train/host_memory_gib": psutil.Process().memory_info().rss / 2**30}
        if (peak_gib := peak_memory_gib(self.accelerator)) is not None:
            figures["train/peak_memory_gib"] = peak_gib
        if self.counts_graphs:
            figures["train/num_compiled_graphs"] = num_compilations()
        self.tracker.log(figures, step=state.step)

    @property
    def lr(self) -> float:
        """The highest learning rate of the groups at the step just done."""
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def lr_of_parts(self) -> dict[str, float]:
        """The learning rate of each part at the step just done, where parts have several; {} where all have one."""
        rates = {str(group["part"]): float(group["lr"]) for group in self.optimizer.param_groups}
        return {f"train/lr/{part}": rate for part, rate in rates.items()} if len(set(rates.values())) > 1 else {}


def drift_figures(accelerator: Accelerator, window: Window) -> dict[str, float]:
    """How unevenly the processes work; all must call it. Seconds a step of own work: waiting for data, and forward passes.

    The wall-clock of a step is the same everywhere, since they wait for each other. Under FSDP a forward pass gathers
    weights, so it contains waiting too and the ratio is smaller than the truth.
    """
    num_steps = max(1, len(window.results) + window.num_skipped)
    if accelerator.num_processes == 1:
        return {}
    own_s = gather_object([window.own_s / num_steps])
    ratio = max(own_s) / max(sum(own_s) / len(own_s), 1e-9)
    figures = {"train/slowest_process_ratio": ratio}
    if ratio > _DRIFT:
        figures |= {f"train/own_s_per_step/process_{rank}": value for rank, value in enumerate(own_s)}
    return figures


def peak_memory_gib(accelerator: Accelerator) -> float | None:
    """The most memory held on the fullest device since the start, in GiB; None on a CPU. All processes must call it."""
    if accelerator.device.type != "cuda":
        return None
    peak = torch.tensor(torch.cuda.max_memory_allocated() / 2**30, device=accelerator.device)
    return float(accelerator.gather(peak.reshape(1)).max())


def peak_tflops(accelerator: Accelerator, per_device: float | None) -> float | None:
    """The rate all devices could reach together, in TFLOP/s: from the setting, or the table for bfloat16 on known GPUs."""
    if per_device is None and accelerator.device.type == "cuda" and accelerator.mixed_precision == "bf16":
        name = torch.cuda.get_device_name(accelerator.device)
        known = sorted(PEAK_TFLOPS_BF16, key=len, reverse=True)
        per_device = next((PEAK_TFLOPS_BF16[key] for key in known if key in name), None)
    return None if per_device is None else per_device * accelerator.num_processes


class Stopwatch:
    """Seconds of the marked stretches of work, on a GPU by its own clock and without waiting for it until they are read."""

    def __init__(self, device: torch.device) -> None:
        self.is_cuda = device.type == "cuda"
        self._stretches: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._total_s, self._began_s = 0.0, 0.0

    def __enter__(self) -> "Stopwatch":
        if self.is_cuda:
            self._stretches.append((torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)))
            self._stretches[-1][0].record()
        self._began_s = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        if self.is_cuda:
            self._stretches[-1][1].record()
        else:
            self._total_s += time.perf_counter() - self._began_s

    def read_s(self) -> float:
        """The sum; on a GPU the stretches must be over, as they are once a loss was read."""
        return self._total_s + sum(begin.elapsed_time(end) for begin, end in self._stretches) / 1000
