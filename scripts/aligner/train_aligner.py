"""Trains `bundled:tiny-aligner` on synthetic speech whose word times eSpeak NG tells.  docs/alignment.md gives the command.

It starts from bundled:tiny-2.  The encoder stays as it is, so every clip is encoded once; the decoder learns to name slots of
80 ms, of short clips first.  The head's rows start as sines of their slot, so that neighbours are alike before it learns.  The
run is saved every chunk of steps and goes on from there.
"""

import argparse
import math
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import Qwen3ASRConfig, Qwen3ASRForConditionalGeneration, Qwen3ASRForTokenClassification

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from qasr_train.models.blocks.sound import Sound
from qasr_train.models.qwen3_asr.encoder import encode_audio
from qasr_train.models.qwen3_asr.original import native_chat_template
from qasr_train.models.qwen3_asr.packing import use_packed_attention
from scripts.aligner.speech import TimedClip, draw_joined, join, speak_clips
from scripts.demo.clips import plan_test_clips, plan_training_clips
from scripts.demo.synthesis import TRAINED_TIMBRES, require_espeak
from scripts.demo.tiny_model import build_processor
from scripts.demo.train_base import log_record
from scripts.demo.vocabulary import LANGUAGES
from scripts.demo.voices import write_voices

NUM_SLOTS = 80  # 6.4 s: what it is trained on, and no more; of 14.4 s it had learned little after 800 steps
SLOT_S = 0.08
CHUNK_FRAMES = 100
WARM_UP_STEPS = 60
NUM_STEPS = 2400


@dataclass(frozen=True)
class Phase:
    """Steps from `begin` to `end`; their rate rises to `peak` and would reach zero at `horizon`."""

    begin: int
    end: int
    horizon: int
    peak: float


def phases(num_steps: int) -> tuple[Phase, Phase]:
    """Short clips first, then clips of all lengths."""
    half = num_steps // 2
    return Phase(0, half, num_steps, 2e-3), Phase(half, num_steps, num_steps, 1.2e-3)


@dataclass(frozen=True)
class Example:
    """encoded: float16 [A, D].  words: ids of each.  slots: (start, end) of each, -100 where it is not known."""

    encoded: torch.Tensor
    words: list[list[int]]
    slots: list[tuple[int, int]]


def main() -> None:
    """Parses the command line, trains, writes the checkpoint and a log of JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="recogniser, e.g. qasr_train/assets/tiny-2")
    parser.add_argument("--out", type=Path, required=True, help="directory of the finished checkpoint")
    parser.add_argument(
        "--work", type=Path, required=True, help="directory for the log, the examples and the run so far"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-clips", type=int, default=6000, help="sentences spoken")
    parser.add_argument("--num-voices", type=int, default=100, help="drawn ones, beside eSpeak's own")
    parser.add_argument("--num-examples", type=int, default=5000, help="joined clips, encoded once")
    parser.add_argument("--num-steps", type=int, default=NUM_STEPS, help="in two phases of equal length")
    parser.add_argument("--chunk", type=int, default=200, help="steps between two savings")
    parser.add_argument("--batch-size", type=int, default=16)
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
    processor = build_processor(0)
    processor.chat_template = native_chat_template(of_aligner=True)
    model = build_aligner(arguments.base)
    training, dev = load_examples(model, processor, arguments)
    optimizer = build_optimizer(model)
    step, so_far = 0, work / "run.pt"
    if so_far.exists():
        state = torch.load(so_far)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    for phase in phases(arguments.num_steps):
        while phase.begin <= step < phase.end:
            if step == phase.begin:
                optimizer = build_optimizer(model)
            step = train_chunk(model, optimizer, training, step, phase, arguments)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, so_far)
            log_record(work, {"step": step, **{name: measure(model, one) for name, one in dev.items()}})
    save(model, processor, arguments.out)


def build_optimizer(model: Qwen3ASRForTokenClassification) -> torch.optim.Optimizer:
    """Of the decoder and the head."""
    learning = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(learning, betas=(0.9, 0.98), weight_decay=0.0)  # its rate is set at every step


def build_aligner(base: Path) -> Qwen3ASRForTokenClassification:
    """The recogniser with a head of slots in place of its own, float32."""
    recogniser = Qwen3ASRForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
    config = Qwen3ASRConfig.from_pretrained(base)
    config.num_labels, config.support_languages = NUM_SLOTS, list(LANGUAGES)
    config.architectures = ["Qwen3ASRForTokenClassification"]
    model = Qwen3ASRForTokenClassification(config).float()
    model.dropout.p = 0.0
    model.model.load_state_dict(recogniser.model.state_dict())
    width = config.text_config.hidden_size
    slot = torch.arange(NUM_SLOTS)[:, None]
    turns = 2 * math.pi * slot / torch.logspace(math.log10(3), math.log10(2 * NUM_SLOTS), width // 2)
    with torch.no_grad():
        model.score.weight.copy_(0.1 * torch.cat([turns.cos(), turns.sin()], 1))
        model.model.language_model.norm.weight.fill_(1.0)
    for part in (model.model.audio_tower, model.model.multi_modal_projector):
        part.requires_grad_(False)
    use_packed_attention(config.audio_config, config.text_config)
    model.model.audio_tower.config._attn_implementation = config.audio_config._attn_implementation
    return model


def load_examples(
    model: Qwen3ASRForTokenClassification, processor: object, arguments: argparse.Namespace
) -> tuple[list[Example], dict[str, list[Example]]]:
    """Training examples from short to long, and small sets by name: unseen sentences, in trained and in new timbres, alone
    and joined; kept in `work` for a run that goes on."""
    file: Path = arguments.work / "examples.pt"
    if file.exists():
        training, dev = torch.load(file, weights_only=False)
        return training, dev
    seed, started_s = arguments.seed, time.time()
    voices = arguments.work / "espeak"
    timbres = TRAINED_TIMBRES + write_voices(voices, arguments.num_voices, seed + 17)
    spoken = speak_clips(plan_training_clips(arguments.num_clips, seed + 18, timbres), voices)
    log_record(arguments.work, {"spoken": len(spoken), "seconds": round(time.time() - started_s)})
    joined = draw_joined(spoken, NUM_SLOTS * SLOT_S - 0.1, seed + 19)
    training = [encode(model, processor, next(joined)) for _ in range(arguments.num_examples)]
    dev = {}
    for name, is_new in (("trained_timbres", False), ("new_timbres", True)):
        clips = speak_clips(plan_test_clips(12, seed + 20 + is_new, is_new))
        dev[name] = [encode(model, processor, clip) for clip in clips]
        rng = random.Random(seed)
        together = [join(clips[i : i + 2], [rng.uniform(0.1, 0.6) for _ in range(3)]) for i in range(0, len(clips), 2)]
        dev[f"{name}_joined"] = [
            encode(model, processor, one) for one in together if one.duration_s < NUM_SLOTS * SLOT_S
        ]
    torch.save((training, dev), file)
    log_record(arguments.work, {"encoded": len(training), "seconds": round(time.time() - started_s)})
    return training, dev


@torch.inference_mode()
def encode(model: Qwen3ASRForTokenClassification, processor: object, clip: TimedClip) -> Example:
    """Log-mel and encoder, once; times to slots."""
    mel = Sound(processor.feature_extractor).log_mel(clip.samples)
    width = -(-mel.shape[1] // CHUNK_FRAMES) * CHUNK_FRAMES
    features = nn.functional.pad(mel, (0, width - mel.shape[1]))[None]
    encoded = encode_audio(model.model, features, [mel.shape[1]], recompute_convolutions=False)
    words = [processor.split_words_for_alignment(word) for word in clip.words]
    ids = processor.tokenizer(["".join(word) for word in words], add_special_tokens=False)["input_ids"]

    def slot(at_s: float | None) -> int:
        return -100 if at_s is None else min(NUM_SLOTS - 1, int(at_s / SLOT_S))

    slots = [(slot(start), slot(end)) for start, end in zip(clip.starts_s, clip.ends_s, strict=True)]
    return Example(encoded.to(torch.float16).clone(), ids, slots)


def train_chunk(
    model: Qwen3ASRForTokenClassification,
    optimizer: torch.optim.Optimizer,
    examples: list[Example],
    step: int,
    phase: Phase,
    arguments: argparse.Namespace,
) -> int:
    """The next `chunk` steps after `step`, as far as the phase has them; returns the number of steps done then."""
    rng, started_s = random.Random(arguments.seed + 1000 + step), time.time()
    before, last, running = step, min(phase.end, step + arguments.chunk), np.zeros(3)
    by_length = sorted(range(len(examples)), key=lambda i: len(examples[i].encoded))
    while step < last:
        step += 1
        # Short clips first: the longest that may be drawn grows over the first half.
        share = min(1.0, 0.25 + 0.75 * step / (arguments.num_steps // 2))
        first = rng.randrange(max(1, int(share * len(by_length)) - 32))
        chosen = [examples[i] for i in rng.sample(by_length[first : first + 32], arguments.batch_size)]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, phase)
        logits, targets = slot_logits(model, chosen, lambda: rng.choice((1.0, 1.0, 0.7, 0.4)), rng)
        loss = nn.functional.cross_entropy(logits, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        off = (logits.argmax(-1) - targets).abs()
        running += [loss.item(), (off <= 1).float().mean().item(), off.float().mean().item() * 1000 * SLOT_S]
    loss, near, shift_ms = (round(float(one), 3) for one in running / (step - before))
    seconds = round(time.time() - started_s, 1)
    log_record(
        arguments.work, {"step": step, "seconds": seconds, "loss": loss, "within_a_slot": near, "shift_ms": shift_ms}
    )
    return step


def slot_logits(
    model: Qwen3ASRForTokenClassification, examples: list[Example], draw_share, rng: random.Random | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """float [L, slots] logits at the slots whose time is known, int64 [L] targets.

    draw_share: called for every example, the share of its words that get slots; slots at random words, so that the times of
    one word do not lean on those of the others (arXiv 2601.18220).
    """
    config, embed = model.config, model.model.language_model.embed_tokens
    start, end = AUDIO_MARKS
    rows, labels = [], []
    for example in examples:
        ids, targets, share = [start, end], [-100, -100], draw_share()
        for word, slots in zip(example.words, example.slots, strict=True):
            has_slots = rng is None or rng.random() < share
            ids += [*word, *[config.timestamp_token_id] * (2 * has_slots)]
            targets += [-100] * len(word) + list(slots) * has_slots
        embedded = embed(torch.tensor(ids))
        audio = example.encoded.float()
        rows.append(torch.cat([embedded[:1], audio, embedded[1:]]))
        labels.append(torch.tensor([-100] * (1 + len(audio)) + targets[1:]))
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    targets = nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
    mask = torch.zeros(padded.shape[:2], dtype=torch.int64)
    for row, one in enumerate(rows):
        mask[row, : len(one)] = 1
    hidden = model.model.language_model(inputs_embeds=padded, attention_mask=mask, use_cache=False).last_hidden_state
    known = targets != -100
    return model.score(hidden[known]), targets[known]


@torch.inference_mode()
def measure(model: Qwen3ASRForTokenClassification, examples: list[Example]) -> dict[str, float]:
    """Slots off on average, in ms, and the share that is right or next to it; every word with slots."""
    off = []
    for first in range(0, len(examples), 8):
        logits, targets = slot_logits(model, examples[first : first + 8], lambda: 1.0, None)
        off.append((logits.argmax(-1) - targets).abs())
    all_off = torch.cat(off).float()
    return {
        "shift_ms": round(float(all_off.mean()) * 1000 * SLOT_S, 1),
        "right": round(float((all_off == 0).float().mean()), 3),
        "within_a_slot": round(float((all_off <= 1).float().mean()), 3),
    }


def learning_rate(step: int, phase: Phase) -> float:
    """Warm-up, then half a cosine towards zero."""
    done = step - phase.begin
    share = done / (phase.horizon - phase.begin)
    return phase.peak * min(1.0, done / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * share))


def save(model: Qwen3ASRForTokenClassification, processor: object, folder: Path) -> None:
    """A complete native checkpoint, bfloat16; `model` stays as it is."""
    rounded = Qwen3ASRForTokenClassification(Qwen3ASRConfig.from_dict(model.config.to_dict()))  # without its attention
    rounded.load_state_dict(model.state_dict())
    rounded.to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)


AUDIO_MARKS = tuple(build_processor(0).tokenizer.convert_tokens_to_ids(["<|audio_start|>", "<|audio_end|>"]))


if __name__ == "__main__":
    main()
