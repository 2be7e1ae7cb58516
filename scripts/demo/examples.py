"""Clips to model inputs: distortion, features of each clip alone, prompt, and labels from token structure.

Legend: B batch, S audio samples, F mel frames (a multiple of 100), M mel bins, T tokens, V vocabulary.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from transformers import Qwen3ASRProcessor

from scripts.demo.clips import ClipStore
from scripts.demo.corpus import all_words
from scripts.demo.distortion import distort, draw_non_speech, shift_timbre
from scripts.demo.synthesis import SAMPLE_RATE_HZ

IGNORED_LABEL = -100
_NON_SPEECH_SHARE = 0.03
_CONTEXT_SHARE = 0.10
_BATCHES_PER_POOL = 24  # clips are sorted by length inside a pool of so many batches


@dataclass(frozen=True)
class Example:
    """One training row: features [M, F'] float32 (F' valid frames), language name ("None" for no speech), texts."""

    features: np.ndarray
    language: str
    text: str
    context: str


@dataclass(frozen=True)
class TinyBatch:
    """features [B, M, F] float32, features_mask [B, F] int64, input_ids / attention_mask / labels [B, T] int64;
    texts: the bare text of each row, what CTC spells."""

    features: torch.Tensor
    features_mask: torch.Tensor
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor
    texts: list[str]


def iterate_batches(
    store: ClipStore,
    processor: Qwen3ASRProcessor,
    batch_size: int,
    seed: int,
    distorted_shares: Iterable[float],
    has_extras: bool,
) -> Iterator[TinyBatch]:
    """Endless shuffled epochs of clips, batched by length.

    `distorted_shares` gives for each batch the share of its clips that is distorted (0..1), half of the others
    being shifted in timbre only, and none where it is 0; batches end with it.
    `has_extras`: also non-speech and contexts.
    """
    shares = iter(distorted_shares)
    rng, noise_rng = random.Random(seed), np.random.default_rng(seed)
    indices = list(range(len(store.clips)))
    pool_size = batch_size * _BATCHES_PER_POOL
    if len(indices) < pool_size:
        raise ValueError(f"{len(indices)} clips are fewer than one pool of {pool_size}: ask for more clips")
    while True:
        rng.shuffle(indices)
        for start in range(0, len(indices) - pool_size + 1, pool_size):
            pool = sorted(indices[start : start + pool_size], key=store.num_samples)
            batches = [pool[i : i + batch_size] for i in range(0, pool_size, batch_size)]
            rng.shuffle(batches)
            for batch in batches:
                share = next(shares, None)
                if share is None:
                    return
                examples = [_draw_example(store, i, processor, share, has_extras, rng, noise_rng) for i in batch]
                yield collate(examples, processor)


def extract_features(samples: np.ndarray, processor: Qwen3ASRProcessor) -> np.ndarray:
    """[S] float32 -> [M, F'] float32 log-mel of this clip alone, without padding frames."""
    extracted = processor.feature_extractor(
        samples, sampling_rate=SAMPLE_RATE_HZ, padding=True, return_attention_mask=True, return_tensors="np"
    )
    num_frames = int(extracted["attention_mask"][0].sum())
    return extracted["input_features"][0][:, :num_frames]


def collate(examples: list[Example], processor: Qwen3ASRProcessor, is_prompt_only: bool = False) -> TinyBatch:
    """Pads on the right for training, on the left for generation (`is_prompt_only`); padded frames are exactly zero."""
    tokenizer = processor.tokenizer
    num_frames = [example.features.shape[1] for example in examples]
    num_padded = -(-max(num_frames) // 100) * 100
    features = torch.zeros(len(examples), examples[0].features.shape[0], num_padded)
    features_mask = torch.zeros(len(examples), num_padded, dtype=torch.long)
    rows, label_rows = [], []
    for i, example in enumerate(examples):
        features[i, :, : num_frames[i]] = torch.from_numpy(example.features)
        features_mask[i, : num_frames[i]] = 1
        prompt = encode_prompt(example.context, num_frames[i], processor)
        target = [] if is_prompt_only else encode_target(example.language, example.text, processor)
        rows.append(prompt + target)
        label_rows.append([IGNORED_LABEL] * len(prompt) + target)
    side = "left" if is_prompt_only else "right"
    return TinyBatch(
        features=features,
        features_mask=features_mask,
        input_ids=_pad(rows, tokenizer.pad_token_id, side),
        attention_mask=_pad([[1] * len(row) for row in rows], 0, side),
        labels=_pad(label_rows, IGNORED_LABEL, side),
        texts=[example.text for example in examples],
    )


def encode_prompt(context: str, num_frames: int, processor: Qwen3ASRProcessor) -> list[int]:
    """Token ids of system turn (context or empty), audio placeholders, and the start of the assistant's turn."""
    text = (
        f"<|im_start|>system\n{context}<|im_end|>\n<|im_start|>user\n<|audio_start|>"
        + "<|audio_pad|>" * count_audio_tokens(num_frames)
        + "<|audio_end|><|im_end|>\n<|im_start|>assistant\n"
    )
    return processor.tokenizer.encode(text, add_special_tokens=False)


def encode_target(language: str, text: str, processor: Qwen3ASRProcessor) -> list[int]:
    """Token ids of `language X<asr_text>text<|im_end|>`: exactly what is supervised."""
    return processor.tokenizer.encode(f"language {language}<asr_text>{text}<|im_end|>", add_special_tokens=False)


def count_audio_tokens(num_frames: int) -> int:
    """13 for each full 100 frames, and what three stride-2 convolutions leave of the rest."""
    rest = num_frames % 100
    for _ in range(3):
        rest = (rest + 1) // 2
    return num_frames // 100 * 13 + rest


def _draw_example(
    store: ClipStore,
    index: int,
    processor: Qwen3ASRProcessor,
    distorted_share: float,
    has_extras: bool,
    rng: random.Random,
    noise_rng: np.random.Generator,
) -> Example:
    if has_extras and rng.random() < _NON_SPEECH_SHARE:
        return Example(extract_features(draw_non_speech(noise_rng), processor), "None", "", "")
    clip = store.clips[index]
    samples = store.audio(index)
    is_distorted = rng.random() < distorted_share
    if is_distorted:
        samples = distort(samples, _draw_babble(store, rng), noise_rng)
    elif distorted_share > 0 and rng.random() < 0.5:
        samples = shift_timbre(samples, noise_rng)
    features = extract_features(samples, processor)
    has_context = has_extras and rng.random() < _CONTEXT_SHARE
    context = _draw_context(clip.text, clip.language, rng) if has_context else ""
    return Example(_mask_features(features, rng) if is_distorted else features, clip.language, clip.text, context)


def _draw_babble(store: ClipStore, rng: random.Random) -> np.ndarray:
    """[S] float32: three other clips at once."""
    voices = [store.audio(rng.randrange(len(store.clips))) for _ in range(3)]
    num_samples = min(len(voice) for voice in voices)
    return voices[0][:num_samples] + voices[1][:num_samples] + voices[2][:num_samples]


def _draw_context(text: str, language: str, rng: random.Random) -> str:
    """Two to five words, comma separated: some are spoken in this clip, the others are distractors."""
    words = list(dict.fromkeys(text.split()))
    num_spoken = rng.randint(0, min(3, len(words)))
    chosen = rng.sample(words, num_spoken)
    chosen += rng.sample(all_words(language), rng.randint(max(0, 2 - num_spoken), 5 - num_spoken))
    rng.shuffle(chosen)
    return ", ".join(chosen)


def _mask_features(features: np.ndarray, rng: random.Random) -> np.ndarray:
    """[M, F] -> [M, F] float32: in two clips of five, one band (<= 14 bins) and one moment (<= 8 frames) at the mean."""
    if rng.random() > 0.4:
        return features
    features, fill = features.copy(), features.mean()
    lowest = rng.randrange(features.shape[0] - 14)
    features[lowest : lowest + rng.randint(0, 14)] = fill
    first = rng.randrange(max(1, features.shape[1] - 8))
    features[:, first : first + rng.randint(0, 8)] = fill
    return features


def _pad(rows: list[list[int]], value: int, side: str) -> torch.Tensor:
    """Lists of ids -> [B, T] int64."""
    longest = max(len(row) for row in rows)
    padding = [[value] * (longest - len(row)) for row in rows]
    return torch.tensor([row + pad if side == "right" else pad + row for row, pad in zip(rows, padding, strict=True)])
