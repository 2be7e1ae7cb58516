"""Clips to model inputs: distortion, features of each clip alone, prompt, and labels from token structure.

Legend: B batch, S audio samples, F mel frames (a multiple of 100), M mel bins, T tokens, V vocabulary.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import Qwen3ASRProcessor

from scripts.demo.clips import ClipStore
from scripts.demo.corpus import all_words
from scripts.demo.distortion import distort, draw_non_speech, shift_timbre
from scripts.demo.synthesis import SAMPLE_RATE_HZ
from scripts.demo.vocabulary import LANGUAGES

IGNORED_LABEL = -100
_BATCHES_PER_POOL = 24  # clips are sorted by length inside a pool of so many batches


@dataclass(frozen=True)
class Example:
    """One training row: features [M, F'] float32 (F' valid frames), language name ("None" for no speech), texts.

    context: of the system turn, "" is an empty one, None is none at all, as `vllm serve` asks.
    is_forced: the tag of the language is part of the prompt, so that it is not supervised.
    num_more_ends: end tokens supervised behind the first.
    """

    features: np.ndarray
    language: str
    text: str
    context: str | None
    is_forced: bool = False
    num_more_ends: int = 0


@dataclass(frozen=True)
class RowForms:
    """What rows are besides a clip under an empty system turn: shares of all rows; `more_ends` is the most of end tokens
    behind the first."""

    non_speech: float = 0.0
    context: float = 0.0
    no_turn: float = 0.0
    forced: float = 0.0
    more_ends: int = 0


BARE = RowForms()
WITH_EXTRAS = RowForms(non_speech=0.03, context=0.10)


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
    forms: RowForms,
) -> Iterator[TinyBatch]:
    """Endless shuffled epochs of clips, batched by length.

    `distorted_shares` gives for each batch the share of its clips that is distorted (0..1), half of the others
    being shifted in timbre only, and none where it is 0; batches end with it.
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
                examples = [_draw_example(store, i, processor, share, forms, rng, noise_rng) for i in batch]
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
        tag = encode_target(example.language, None, processor) if example.is_forced else []
        target = [] if is_prompt_only else encode_target(example.language, example.text, processor)[len(tag) :]
        target += target[-1:] * example.num_more_ends
        rows.append(prompt + tag + target)
        label_rows.append([IGNORED_LABEL] * len(prompt + tag) + target)
    side = "left" if is_prompt_only else "right"
    return TinyBatch(
        features=features,
        features_mask=features_mask,
        input_ids=_pad(rows, tokenizer.pad_token_id, side),
        attention_mask=_pad([[1] * len(row) for row in rows], 0, side),
        labels=_pad(label_rows, IGNORED_LABEL, side),
        texts=[example.text for example in examples],
    )


def encode_prompt(context: str | None, num_frames: int, processor: Qwen3ASRProcessor) -> list[int]:
    """Token ids of system turn (context, empty or left out), audio placeholders, and the start of the assistant's turn."""
    system_turn = "" if context is None else f"<|im_start|>system\n{context}<|im_end|>\n"
    text = (
        f"{system_turn}<|im_start|>user\n<|audio_start|>"
        + "<|audio_pad|>" * count_audio_tokens(num_frames)
        + "<|audio_end|><|im_end|>\n<|im_start|>assistant\n"
    )
    return processor.tokenizer.encode(text, add_special_tokens=False)


def encode_target(language: str, text: str | None, processor: Qwen3ASRProcessor) -> list[int]:
    """Token ids of `language X<asr_text>text<|im_end|>`: exactly what is supervised; of the tag alone where text is None."""
    rest = "" if text is None else f"{text}<|im_end|>"
    return processor.tokenizer.encode(f"language {language}<asr_text>{rest}", add_special_tokens=False)


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
    forms: RowForms,
    rng: random.Random,
    noise_rng: np.random.Generator,
) -> Example:
    if forms.non_speech and rng.random() < forms.non_speech:
        features = extract_features(draw_non_speech(noise_rng), processor)
        return draw_form(Example(features, "None", "", ""), forms, rng)
    clip = store.clips[index]
    samples = store.audio(index)
    is_distorted = rng.random() < distorted_share
    if is_distorted:
        samples = distort(samples, _draw_babble(store, rng), noise_rng)
    elif distorted_share > 0 and rng.random() < 0.5:
        samples = shift_timbre(samples, noise_rng)
    features = extract_features(samples, processor)
    has_context = forms.context and rng.random() < forms.context
    context = _draw_context(clip.text, clip.language, rng) if has_context else ""
    features = _mask_features(features, rng) if is_distorted else features
    return draw_form(Example(features, clip.language, clip.text, context), forms, rng)


def draw_form(example: Example, forms: RowForms, rng: random.Random) -> Example:
    """The row as another program would send it: system turn left out, language given, generation past the end."""
    is_turn_left_out = forms.no_turn and not example.context and rng.random() * (1 - forms.context) < forms.no_turn
    is_forced = bool(forms.forced) and rng.random() < forms.forced
    # Whoever gives a language for a recording without speech gets an empty text.
    language = rng.choice(LANGUAGES) if is_forced and example.language == "None" else example.language
    return replace(
        example,
        language=language,
        context=None if is_turn_left_out else example.context,
        is_forced=is_forced,
        num_more_ends=_draw_more_ends(forms.more_ends, rng) if forms.more_ends else 0,
    )


def _draw_more_ends(most: int, rng: random.Random) -> int:
    """Up to `most`; in three rows of a thousand up to twenty times as many: positions that far are learned too, and are dear."""
    return rng.randint(1, 20 * most if rng.random() < 0.003 else most)


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
