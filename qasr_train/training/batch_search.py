"""Owns `trainer.find_batch_seconds`: the largest `data.batch_seconds` that a GPU's memory holds, searched once before training.

Input: a learner and a budget. Output: the budget with other seconds, kept in the run directory, so that a resumed run has the
same batches.
"""

import gc
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import Recording
from qasr_train.data.buckets import BatchBudget
from qasr_train.errors import ConfigError
from qasr_train.files import parse_json
from qasr_train.manifest import Utterance
from qasr_train.run.directory import write_record
from qasr_train.training.learner import Learner
from qasr_train.training.state import generator_state, set_generator_state

log = logging.getLogger(__name__)

FOUND_FILE = "batch_seconds.json"
MARGIN = 0.9  # of what fitted is used: memory fragments as batches of other shapes come
_MAX_ROWS = 4096
_WORDS_PER_S = 4.0  # of a made-up transcript, faster than most speech


def refuse_batch_search(device: torch.device, *, is_sharded: bool) -> None:
    """Refuse the search where it cannot be done.

    Raises:
        ConfigError: there is no GPU, or FSDP or DeepSpeed shards the weights.
    """
    if device.type != "cuda":
        raise ConfigError(
            "trainer.find_batch_seconds=true: on a CPU the system kills what asks for too much, so nothing can be searched; "
            "set data.batch_seconds"
        )
    if is_sharded:
        raise ConfigError(
            "trainer.find_batch_seconds=true: with FSDP or DeepSpeed every process needs the others in each trial, and one "
            "that is out of memory would leave them waiting; set data.batch_seconds"
        )


def find_budget(run_dir: Path, learner: Learner, budget: BatchBudget, *, max_duration_s: float) -> BatchBudget:
    """The budget with the seconds found before in this run, or found now; the smallest of all processes, each of which searches
    alone.

    Raises:
        ConfigError: not even one clip of `max_duration_s` fits.
    """
    accelerator = learner.accelerator
    path = run_dir / FOUND_FILE
    known = parse_json(path.read_text())["batch_seconds"] if path.exists() else None
    if known is None:
        generators = generator_state()
        trial = Trial(learner, max_duration_s)
        known = search(trial, max_duration_s=max_duration_s, max_rows=budget.max_rows or _MAX_ROWS)
        del trial
        set_generator_state(generators)
        known = known if accelerator.num_processes == 1 else min(gather_object([known]))
        if accelerator.is_main_process:
            write_record(path, {"batch_seconds": known})
    accelerator.print(f"data.batch_seconds={known:g}, found by trainer.find_batch_seconds")
    return replace(budget, seconds=known)


def search(try_rows: Callable[[int], None], *, max_duration_s: float, max_rows: int) -> float:
    """Seconds of the largest batch that fits, less a margin: rows are doubled until they do not fit, then bisected.

    Args:
        try_rows: trains on so many clips of `max_duration_s`; raises what torch raises when memory is out.

    Raises:
        ConfigError: one row does not fit.
    """
    fits, too_many = 0, max_rows + 1
    while too_many - fits > max(1, fits // 16):
        rows = min(max(1, 2 * fits), max_rows) if too_many > max_rows else (fits + too_many) // 2
        if _does_fit(try_rows, rows):
            fits = rows
        else:
            too_many = rows
        if fits == max_rows:
            break
    if fits == 0:
        raise ConfigError(
            f"trainer.find_batch_seconds: one clip of data.max_duration_s={max_duration_s:g} does not fit in memory; lower "
            "data.max_duration_s, set trainer.gradient_checkpointing=all, or train less with adapt=lora"
        )
    return max(max_duration_s, float(int(MARGIN * fits * max_duration_s)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: CUDA has a class for it, torch's CPU allocator only a text."""
    is_told = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return is_told or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))


def _does_fit(try_rows: Callable[[int], None], rows: int) -> bool:
    try:
        try_rows(rows)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        fits = False
    else:
        fits = True
    gc.collect()  # the error's frames hold the activations
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    log.info("a batch of %d of the longest clips %s", rows, "fits" if fits else "does not fit")
    return fits


class Trial:
    """Forward and backward passes on noise, with as much memory held as optimizer and processes will need."""

    def __init__(self, learner: Learner, max_duration_s: float) -> None:
        self.learner, self.max_duration_s = learner, max_duration_s
        self.trained = [p for p in learner.model.module.parameters() if p.requires_grad]
        # AdamW keeps two numbers a weight; data parallelism a second copy of the gradient.
        num_copies = 2 + (learner.accelerator.num_processes > 1)
        self.held = [torch.zeros_like(p) for p in self.trained for _ in range(num_copies)]

    def __call__(self, num_rows: int) -> None:
        """One pass on so many of the longest clips; gradients are dropped, weights never change."""
        noise = np.random.default_rng(0).normal(0, 0.1, int(self.max_duration_s * SAMPLE_RATE_HZ)).astype(np.float32)
        text = "word " * int(_WORDS_PER_S * self.max_duration_s)
        rows = [
            Utterance(
                id=f"trial{i}", audio="noise", text=text.strip(), language="English", duration_s=self.max_duration_s
            )
            for i in range(num_rows)
        ]
        accelerator, model = self.learner.accelerator, self.learner.model
        model.module.train()
        try:
            batch = model.collator.for_training([Recording(row, noise) for row in rows])
            with accelerator.autocast():
                loss = self.learner.objective(model, batch.to(accelerator.device))
            (loss.total / max(1, loss.num_targets)).backward()
        finally:
            for parameter in self.trained:
                parameter.grad = None
