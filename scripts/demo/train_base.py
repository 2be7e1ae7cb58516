"""Trains the tiny base model from nothing on synthetic speech.  docs/tiny_model.md gives the commands that were run.

Three stages.  CTC alone on clean one- and two-word clips, through a head that is thrown away: without it the decoder
learns word statistics and never listens, and with every clip distorted from the start the loss stays where it is.
CTC alone on all clips, more and more of them distorted: half the price of a step with the decoder.
Then next-token cross entropy + 0.4 CTC on everything, to a learning rate of zero.
Under torchrun each process takes one core and its own clips; gradients are averaged.
"""

import argparse
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from transformers import Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.demo.clips import ClipStore, plan_short_clips, plan_test_clips, plan_training_clips, synthesise_store
from scripts.demo.examples import BARE, IGNORED_LABEL, WITH_EXTRAS, TinyBatch, iterate_batches
from scripts.demo.measure import measure_wer
from scripts.demo.synthesis import require_espeak
from scripts.demo.tiny_model import WIDTH, build_model, build_processor, save_checkpoint

CTC_DISTORTED_SHARE = 0.35  # of the clips, at the end of CTC alone
# With the decoder: from few to half.  It finds out what to listen to on clean speech, as CTC does.
FIRST_DISTORTED_SHARE, LAST_DISTORTED_SHARE, RAMP_STEPS = 0.1, 0.5, 3_000
# CTC spells in letters, not tokens: 50 classes instead of 1,040, each with one sound, align within 200 steps where tokens
# needed thousands.  Letters come faster than the encoder's 13 positions a second, so its head gives three guesses each.
CTC_RATE = 3
LETTERS = " '-abcdefghijklmnopqrstuvwxyzßàáâäçèéêëíîïñóôöùúûüœæ"
CTC_BLANK = len(LETTERS)
LOG_EVERY_STEPS = 50


def main() -> None:
    """Parses the command line, trains, writes the checkpoint and a log of JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory of the finished checkpoint")
    parser.add_argument("--work", type=Path, required=True, help="directory for audio, log and checkpoints so far")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-clips", type=int, default=60_000, help="clips of every kind")
    parser.add_argument("--num-short-clips", type=int, default=16_000, help="clips of one or two words")
    parser.add_argument("--short-steps", type=int, default=800, help="CTC alone, short clips")
    parser.add_argument("--ctc-steps", type=int, default=4_000, help="CTC alone, all clips")
    parser.add_argument("--steps", type=int, default=8_500, help="CTC and cross entropy, all clips")
    parser.add_argument("--after-ctc", type=Path, help="after_ctc.pt of an earlier run: skips both stages of CTC alone")
    parser.add_argument("--batch-size", type=int, default=16, help="clips a step")
    parser.add_argument("--ctc-learning-rate", type=float, default=2e-3)
    parser.add_argument("--learning-rate", type=float, default=2.5e-3)
    parser.add_argument("--validate-every", type=int, default=800, help="steps")
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument("--num-processes", type=int, default=2, help="for the synthesis before training")
    arguments = parser.parse_args()
    try:
        require_espeak()
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    if "RANK" in os.environ:  # under torchrun; each process on its own core
        dist.init_process_group("gloo", timeout=timedelta(minutes=20))
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[dist.get_rank()]})
    torch.set_num_threads(arguments.num_threads)
    torch.set_flush_denormal(True)  # denormals make the CPU several times slower
    train(arguments)


def train(arguments: argparse.Namespace) -> None:
    """All stages, one optimizer; see the module's first lines for why there are three."""
    # 1. processor, model, and the CTC head that is not kept
    rank = dist.get_rank() if dist.is_initialized() else 0
    arguments.work.mkdir(parents=True, exist_ok=True)
    processor = build_processor(arguments.seed)
    model = build_model(processor, arguments.seed).train()
    ctc_head = nn.Linear(WIDTH, CTC_RATE * (len(LETTERS) + 1))
    optimizer = build_optimizer([*model.named_parameters(), *ctc_head.named_parameters()])

    # 2. speech: trained clips, and two small sets to look at on the way
    short, full, dev = synthesise_speech(arguments, rank)

    # 3. the loop: clean clips first, then more and more distorted ones
    if arguments.after_ctc is not None:
        arguments.short_steps = arguments.ctc_steps = 0
        state = torch.load(arguments.after_ctc)
        model.load_state_dict(state["model"])
        ctc_head.load_state_dict(state["ctc_head"])
    work, num_before = arguments.work, arguments.short_steps + arguments.ctc_steps
    batches = draw_batches(arguments, processor, short, full, rank)
    started_s, running = time.time(), {}
    for step, batch in enumerate(batches, start=1):
        is_ctc_stage = step <= num_before
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, arguments)
        losses = compute_losses(model, ctc_head, batch, has_decoder=not is_ctc_stage)
        update(optimizer, model, ctc_head, losses, ctc_share=1.0 if is_ctc_stage else ctc_weight(step - num_before))
        for name, value in losses.items():
            running[name] = running.get(name, 0.0) + value.item() / LOG_EVERY_STEPS
        if rank != 0:
            continue
        if step % LOG_EVERY_STEPS == 0:
            log_record(work, {"step": step, "seconds": round(time.time() - started_s, 1), **_rounded(running)})
            running = {}
        if step == num_before:
            torch.save({"model": model.state_dict(), "ctc_head": ctc_head.state_dict()}, work / "after_ctc.pt")
        if not is_ctc_stage and step % arguments.validate_every == 0:
            wer_percent = {name: measure_wer(model, processor, store).total for name, store in dev.items()}
            log_record(work, {"step": step, **_rounded(wer_percent)})
            save_checkpoint(model, processor, work / "so_far")

    # 4. done
    if rank != 0:
        return
    save_checkpoint(model, processor, arguments.out)
    log_record(work, {"step": step, "seconds": round(time.time() - started_s, 1), "saved": str(arguments.out)})


def update(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    ctc_head: nn.Module,
    losses: dict[str, torch.Tensor],
    *,
    ctc_share: float,
) -> None:
    """One step down the cross entropy, where there is one, and this share of the CTC loss."""
    loss = ctc_share * losses["ctc"]
    if "cross_entropy" in losses:
        loss = losses["cross_entropy"] + loss
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    average_gradients(model, ctc_head)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def synthesise_speech(arguments: argparse.Namespace, rank: int) -> tuple[ClipStore, ClipStore, dict[str, ClipStore]]:
    """(short clips, training clips, small test sets by name); the first process writes the audio files, the others open them."""
    if rank != 0:
        dist.barrier()
    work, seed, num_processes = arguments.work, arguments.seed, arguments.num_processes
    short = synthesise_store(plan_short_clips(arguments.num_short_clips, seed + 1), work / "short", num_processes)
    full = synthesise_store(plan_training_clips(arguments.num_clips, seed + 2), work / "full", num_processes)
    dev = {
        "trained_timbres": synthesise_store(plan_test_clips(12, seed + 3, False), work / "dev_trained", 1),
        "new_timbres": synthesise_store(plan_test_clips(12, seed + 4, True), work / "dev_new", 1),
    }
    if rank == 0 and dist.is_initialized():
        dist.barrier()
    return short, full, dev


def draw_batches(
    arguments: argparse.Namespace, processor: Qwen3ASRProcessor, short: ClipStore, full: ClipStore, rank: int
) -> Iterator[TinyBatch]:
    """Short clips, then clean ones, then more and more distorted ones; every process draws its own."""
    seed, batch_size = arguments.seed + 1000 * rank, arguments.batch_size
    ramp = [CTC_DISTORTED_SHARE * step / arguments.ctc_steps for step in range(arguments.ctc_steps)]
    return itertools.chain(
        iterate_batches(short, processor, batch_size, seed + 5, [0.0] * arguments.short_steps, forms=BARE),
        iterate_batches(full, processor, batch_size, seed + 6, ramp, forms=BARE),
        iterate_batches(full, processor, batch_size, seed + 7, decoder_ramp(arguments.steps), forms=WITH_EXTRAS),
    )


def compute_losses(
    model: Qwen3ASRForConditionalGeneration, ctc_head: nn.Linear, batch: TinyBatch, has_decoder: bool
) -> dict[str, torch.Tensor]:
    """Mean CTC loss per letter and, with the decoder, mean cross entropy per supervised token (both scalars)."""
    if not has_decoder:
        audio = model.model.get_audio_features(batch.features, batch.features_mask, return_dict=True)
        return {"ctc": _ctc_loss(ctc_head(audio.last_hidden_state), batch, model.config.audio_token_id)}
    logits, heard = predict_targets(model, batch)
    next_labels = batch.labels[:, 1:]
    return {
        "ctc": _ctc_loss(ctc_head(heard), batch, model.config.audio_token_id),
        "cross_entropy": functional.cross_entropy(logits, next_labels[next_labels != IGNORED_LABEL]),
    }


def predict_targets(model: Qwen3ASRForConditionalGeneration, batch: TinyBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [supervised tokens, V] (the others are never needed) and the encoder's output [all audio tokens, W]."""
    audio = model.model.get_audio_features(batch.features, batch.features_mask, return_dict=True)
    embeddings = model.get_input_embeddings()(batch.input_ids)
    is_audio = (batch.input_ids == model.config.audio_token_id).unsqueeze(-1)
    embeddings = embeddings.masked_scatter(is_audio.expand_as(embeddings), audio.pooler_output)
    hidden = model.model.language_model(
        inputs_embeds=embeddings, attention_mask=batch.attention_mask, use_cache=False
    ).last_hidden_state
    is_supervised = batch.labels[:, 1:] != IGNORED_LABEL
    return model.lm_head(hidden[:, :-1][is_supervised]), audio.last_hidden_state


def decoder_ramp(num_steps: int) -> list[float]:
    """Share of distorted clips at each step of the stage with the decoder."""
    rise = LAST_DISTORTED_SHARE - FIRST_DISTORTED_SHARE
    return [FIRST_DISTORTED_SHARE + rise * min(1.0, step / RAMP_STEPS) for step in range(num_steps)]


def average_gradients(*modules: nn.Module) -> None:
    """Mean of the gradients over all processes of torchrun; a parameter without one counts as zero."""
    if not dist.is_initialized():
        return
    parameters = [parameter for module in modules for parameter in module.parameters()]
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.flatten() for parameter in parameters])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad.copy_(part.view_as(parameter))


def learning_rate(step: int, arguments: argparse.Namespace) -> float:
    """Warm-up then constant for CTC alone; for the main stage a new warm-up, then half a cosine to zero."""
    done = step - arguments.short_steps - arguments.ctc_steps
    if done <= 0:
        return arguments.ctc_learning_rate * min(1.0, step / 100)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done / arguments.steps)))
    return arguments.learning_rate * min(1.0, done / 200) * cosine


def ctc_weight(done: int) -> float:
    """1 for the first 500 steps with the decoder, whose gradient is noise until it can read, then 0.4."""
    return 1.0 if done <= 500 else 0.4


def _ctc_loss(logits: torch.Tensor, batch: TinyBatch, audio_token_id: int) -> torch.Tensor:
    """`logits` [all audio tokens of the batch, 3 * (letters + 1)] in order -> scalar, per letter.

    Rows without text have the empty target."""
    num_positions = (batch.input_ids == audio_token_id).sum(-1) * CTC_RATE
    log_probabilities = functional.log_softmax(logits.view(-1, CTC_BLANK + 1), -1)
    padded = nn.utils.rnn.pad_sequence(log_probabilities.split(num_positions.tolist()))
    spelled = [[LETTERS.index(letter) for letter in text.lower() if letter in LETTERS] for text in batch.texts]
    targets = torch.tensor([letter for row in spelled for letter in row])
    target_lengths = torch.tensor([len(row) for row in spelled])
    total = functional.ctc_loss(
        padded, targets, num_positions, target_lengths, blank=CTC_BLANK, reduction="sum", zero_infinity=True
    )
    return total / target_lengths.sum().clamp(min=1)


def build_optimizer(named_parameters: list[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
    """AdamW; norms and biases are not decayed."""
    parameters = [parameter for _, parameter in named_parameters]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": 0.02},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), fused=True)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def log_record(work: Path, record: dict[str, object]) -> None:
    """A line of JSON in the work folder's log, and on the screen."""
    with (work / "log.jsonl").open("a") as log_file:
        log_file.write(json.dumps(record) + "\n")
    print(record, flush=True)


if __name__ == "__main__":
    main()
