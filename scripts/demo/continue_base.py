"""Stage 4: trains the tiny base on, for other programs' sake (bundled:tiny-2).  docs/tiny_model.md gives the command.

Wider heads (the same function), end tokens that absorb, prompts with and without a system turn, and voices that eSpeak NG
does not have.  Cross entropy alone, to a learning rate of zero.  The run is saved every chunk of steps and goes on from
there; each chunk draws its clips anew from its own seed, so that a run that was stopped sees what it would have seen.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.demo.clips import ClipStore, plan_test_clips, plan_training_clips, synthesise_store
from scripts.demo.examples import IGNORED_LABEL, RowForms, TinyBatch, iterate_batches
from scripts.demo.measure import measure_wer
from scripts.demo.synthesis import TRAINED_TIMBRES, require_espeak
from scripts.demo.tiny_model import build_processor, save_checkpoint, widen_heads
from scripts.demo.train_base import LAST_DISTORTED_SHARE, build_optimizer, log_record, predict_targets
from scripts.demo.voices import write_voices

STAGE_3_SEED = 0
HEAD_DIM = 64  # the narrowest that vLLM's attention on a CPU takes and that is not below the 40 of stage 3
FORMS = RowForms(non_speech=0.03, context=0.12, no_turn=0.35, forced=0.25, more_ends=12)
# Ends behind the first end are one easy answer repeated; by number alone they would drown the transcripts.
MORE_ENDS_WEIGHT = 0.3
WARM_UP_STEPS = 60


def main() -> None:
    """Parses the command line, trains, writes the checkpoint and a log of JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="of stage 3, e.g. qasr_train/assets/tiny")
    parser.add_argument("--out", type=Path, required=True, help="directory of the finished checkpoint")
    parser.add_argument("--work", type=Path, required=True, help="directory for audio, log and the run so far")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-clips", type=int, default=40_000)
    parser.add_argument("--num-voices", type=int, default=150, help="drawn ones, beside eSpeak's own")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--chunk", type=int, default=100, help="steps between two savings")
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--learning-rate", type=float, default=8e-4)
    arguments = parser.parse_args()
    try:
        require_espeak()
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    train(arguments)


def train(arguments: argparse.Namespace) -> None:
    """All chunks that are not done yet, then the checkpoint."""
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    processor = build_processor(
        STAGE_3_SEED
    )  # a processor that was read and is written again has marks of where it lay
    base = Qwen3ASRForConditionalGeneration.from_pretrained(arguments.checkpoint, dtype=torch.float32)
    model = widen_heads(base, HEAD_DIM).train()
    optimizer = build_optimizer(list(model.named_parameters()))
    store, dev = synthesise_speech(arguments)
    step, so_far = 0, work / "stage4.pt"
    if so_far.exists():
        state = torch.load(so_far)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    while step < arguments.steps:
        step = train_chunk(model, optimizer, processor, store, step, arguments)
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, so_far)
        if step % (3 * arguments.chunk) == 0 or step >= arguments.steps:
            rates = {name: measure_wer(model, processor, one).total for name, one in dev.items()}
            log_record(work, {"step": step, **{name: round(rate, 2) for name, rate in rates.items()}})
    save_checkpoint(model, processor, arguments.out)


def train_chunk(
    model: Qwen3ASRForConditionalGeneration,
    optimizer: torch.optim.Optimizer,
    processor: Qwen3ASRProcessor,
    store: ClipStore,
    step: int,
    arguments: argparse.Namespace,
) -> int:
    """The next `chunk` steps after `step`; returns the number of steps done then."""
    num_steps = min(arguments.chunk, arguments.steps - step)
    shares = [LAST_DISTORTED_SHARE] * num_steps
    started_s, running = time.time(), np.zeros(2)
    for batch in iterate_batches(store, processor, arguments.batch_size, arguments.seed + 10 + step, shares, FORMS):
        step += 1
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, arguments.steps, arguments.learning_rate)
        of_text, of_more_ends = compute_losses(model, batch, processor.tokenizer.eos_token_id)
        optimizer.zero_grad(set_to_none=True)
        (of_text + MORE_ENDS_WEIGHT * of_more_ends).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        running += [of_text.item(), of_more_ends.item()]
    text, more_ends = (round(float(loss), 4) for loss in running / num_steps)
    seconds = round(time.time() - started_s, 1)
    log_record(arguments.work, {"step": step, "seconds": seconds, "cross_entropy": text, "of_more_ends": more_ends})
    return step


def compute_losses(
    model: Qwen3ASRForConditionalGeneration, batch: TinyBatch, end: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross entropy of the tokens up to the first `end`, and of the ends behind it (both scalars, nats a token)."""
    labels, next_labels = batch.labels[:, :-1], batch.labels[:, 1:]
    is_more = (next_labels == end) & (labels == end)
    logits, _ = predict_targets(model, batch)
    losses = functional.cross_entropy(logits, next_labels[next_labels != IGNORED_LABEL], reduction="none")
    is_more = is_more[next_labels != IGNORED_LABEL]
    return losses[~is_more].mean(), losses[is_more].mean()


def synthesise_speech(arguments: argparse.Namespace) -> tuple[ClipStore, dict[str, ClipStore]]:
    """Training clips, more than half of them in drawn voices, and two small test sets by name."""
    work, seed = arguments.work, arguments.seed
    voices = work / "espeak"
    timbres = TRAINED_TIMBRES + write_voices(voices, arguments.num_voices, seed + 7)
    store = synthesise_store(plan_training_clips(arguments.num_clips, seed + 8, timbres), work / "stage4", 1, voices)
    dev = {
        "trained_timbres": synthesise_store(plan_test_clips(12, seed + 3, False), work / "dev_trained", 1),
        "new_timbres": synthesise_store(plan_test_clips(24, seed + 4, True), work / "dev_new", 1),
    }
    return store, dev


def learning_rate(step: int, num_steps: int, peak: float) -> float:
    """Warm-up, then half a cosine to zero."""
    return peak * min(1.0, step / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / num_steps))


if __name__ == "__main__":
    main()
