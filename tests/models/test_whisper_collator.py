"""Whisper's batches: windows of features, what pads rows, frames of a clip by itself, caches, lengths that do not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from qasr_train.batch import IGNORED, Batch, Precomputed, Recording
from qasr_train.errors import ConfigError, DataError
from qasr_train.models.families import load_training_collator
from qasr_train.models.whisper.collator import CONV_FRAMES, WhisperCollator
from qasr_train.models.whisper.config import WhisperConfig, Window
from tests.helpers import tone, utterance

DURATIONS_S = [0.4, 0.0, 1.3]
FULL, CLIP = 3000, 150 + CONV_FRAMES  # frames of a batch of these: 1.3 s and a frame or two are 1.5 s


def collator_of(folder: Path, **settings: Any) -> WhisperCollator:
    return load_training_collator(WhisperConfig(path=str(folder), **settings))


def recordings() -> list[Recording]:
    texts = ["two small pills a day", "", "fox"]
    return [
        Recording(utterance(id=f"u{i}", text=text), tone(seconds, frequency_hz=300.0 * (i + 1)))
        for i, (text, seconds) in enumerate(zip(texts, DURATIONS_S, strict=True))
    ]


@pytest.fixture(scope="module")
def full(tiny_whisper: Path) -> WhisperCollator:
    return collator_of(tiny_whisper)


@pytest.fixture(scope="module")
def clip(tiny_whisper: Path) -> WhisperCollator:
    return collator_of(tiny_whisper, window=Window.clip)


def test_labels_are_transcript_and_end_and_the_end_token_that_pads_is_none(full: WhisperCollator):
    """Whisper pads with its end token; only the one that ends the transcript is learnt."""
    batch = full.for_training(recordings())
    assert batch.labels is not None
    end = full.tokens.end_id
    for row, one in enumerate(recordings()):
        own = full.tokens.training_row("English", one.utterance.text or "", None)
        num_own = len(own.prompt) + len(own.target)
        assert batch.input_ids[row, :num_own].tolist() == own.prompt + own.target
        assert batch.labels[row, : len(own.prompt)].eq(IGNORED).all()
        assert batch.labels[row, len(own.prompt) : num_own].tolist() == own.target and own.target[-1] == end
        assert batch.input_ids[row, num_own:].eq(end).all() and batch.labels[row, num_own:].eq(IGNORED).all()
        assert batch.attention_mask[row].tolist() == [1] * num_own + [0] * (batch.input_ids.shape[1] - num_own)
        assert full.num_target_tokens(one.utterance) == len(own.target)


def test_prompts_of_a_transcription_are_padded_before_them(full: WhisperCollator):
    clips = [Recording(utterance(id=str(i), context=c), tone(0.5)) for i, c in enumerate(["fox", None])]
    batch = full.for_transcription(clips, language="German")
    end = full.tokens.end_id
    prompt = full.tokens.training_row("German", "a", None).prompt
    context = full.tokens.context_ids("fox", beside=4)
    assert batch.input_ids.tolist() == [context + prompt, [end] * len(context) + prompt]
    assert batch.attention_mask.sum(1).tolist() == [len(context) + 4, 4]
    assert full.for_transcription(clips, use_context=False).input_ids.tolist() == [[full.tokens.sot_id]] * 2


def test_the_full_window_is_what_transformers_extracts(full: WhisperCollator):
    batch = full.for_training(recordings())
    waveforms = [one.waveform if len(one.waveform) else np.zeros(1, np.float32) for one in recordings()]
    expected = WhisperFeatureExtractor(feature_size=80)(waveforms, sampling_rate=16_000, return_tensors="pt")
    assert batch.input_features.shape == (3, 80, FULL)
    torch.testing.assert_close(batch.input_features, expected.input_features, rtol=0, atol=1e-5)


def test_a_clip_alone_is_its_beginning_cut_at_the_half_second(full: WhisperCollator, clip: WhisperCollator):
    wide, narrow = full.for_training(recordings()), clip.for_training(recordings())
    assert torch.equal(narrow.input_features, wide.input_features[..., :CLIP])
    assert torch.equal(narrow.input_features_mask, wide.input_features_mask[..., :CLIP])
    assert full.num_positions(wide.input_features_mask) == [1500] * 3
    # 6,400 samples reach into frame (6,400 + 199) // 160 = 41, with one of silence 43 frames: of 50, two a position.
    assert clip.num_positions(narrow.input_features_mask) == [25, 25, 75]
    assert (full.windows_s, clip.windows_s) == (((1.0, 30.0),), ((1.0, 0.5),))


@pytest.mark.parametrize("num_samples, num_positions", [(7_640, 25), (7_641, 50), (479_999, 1500), (480_000, 1500)])
def test_where_a_window_ends(clip: WhisperCollator, num_samples: int, num_positions: int):
    """Frame 48 hears samples up to 7,879; 50 frames hold it and one of silence."""
    batch = clip.for_training([Recording(utterance(), np.ones(num_samples, np.float32))])
    assert clip.num_positions(batch.input_features_mask) == [num_positions]


def made_on_device(folder: Path, clips: list[Recording], **settings: Any) -> tuple[Batch, Batch]:
    """A training batch with its features, and the same made of its waveforms."""
    processor_of = WhisperConfig(path=str(folder), **settings)
    collator = load_training_collator(processor_of)
    expected = collator.for_training(clips)
    collator.makes_features = False
    batch = collator.for_training(clips)
    assert batch.waveforms is not None and batch.input_features.shape[-1] == 0
    return expected, collator.with_features(batch)


@pytest.mark.parametrize("window", list(Window))
def test_features_made_on_the_device_are_the_same(tiny_whisper: Path, window: Window):
    clips = [*recordings(), Recording(utterance(id="whole"), tone(30.0))]
    expected, found = made_on_device(tiny_whisper, clips, window=window)
    assert found.waveforms is None
    torch.testing.assert_close(found.input_features, expected.input_features, rtol=0, atol=1e-5)
    assert torch.equal(found.input_features_mask, expected.input_features_mask)


def test_past_the_window_of_30_s_stands_what_pads_a_convolution(clip: WhisperCollator):
    batch = clip.for_training([Recording(utterance(), tone(30.0))])
    assert batch.input_features.shape[-1] == FULL + CONV_FRAMES
    assert not batch.input_features[..., FULL:].any() and batch.input_features[..., FULL - 1].any()


@pytest.mark.parametrize("window", list(Window))
def test_what_a_cache_holds_stands_for_the_sound(tiny_whisper: Path, window: Window):
    collator = collator_of(tiny_whisper, window=window)
    expected = collator.for_training(recordings())
    held = []
    for one in recordings():
        mel = Precomputed(one.num_samples, mel=collator.log_mel(one.waveform).half())
        held.append(Recording(one.utterance, np.zeros(0, np.float32), precomputed=mel))
    found = collator.for_training(held)
    torch.testing.assert_close(found.input_features, expected.input_features, rtol=1e-3, atol=1e-3)
    assert torch.equal(found.duration_s, expected.duration_s)
    assert torch.equal(found.input_features_mask, expected.input_features_mask)


def test_a_share_of_the_clips_has_the_full_window_and_the_same_ones_again(tiny_whisper: Path):
    collator = collator_of(tiny_whisper, window=Window.clip, full_window_fraction=0.15)
    assert collator.windows_s == ((0.85, 0.5), (0.15, 30.0))
    batches = [[Recording(utterance(id=f"{i}-{row}"), tone(0.2)) for row in range(5)] for i in range(100)]

    def heard(batch: list[Recording]) -> list[int]:
        return collator.num_positions(collator.for_training(batch).input_features_mask)

    positions = [heard(batch) for batch in batches]
    assert {one for batch in positions for one in batch} == {25, 1500}
    num_full = [batch.count(1500) for batch in positions]
    assert set(num_full) == {0, 1}, "of 5 rows a share of 0.75: none or one"
    assert 60 <= sum(num_full) <= 90
    assert {batch.index(1500) for batch in positions if 1500 in batch} == set(range(5))
    assert positions[:20] == [heard(batch) for batch in batches[:20]]
    transcribed = [collator.for_transcription(batch).input_features.shape[-1] for batch in batches[:20]]
    assert set(transcribed) == {50 + CONV_FRAMES}


def test_beside_a_clip_alone_the_full_window_holds_what_it_holds_alone(
    tiny_whisper: Path, full: WhisperCollator, clip: WhisperCollator
):
    """Features of a row of each kind, as those of a batch of its kind."""
    clips = recordings()
    batch = collator_of(tiny_whisper, window=Window.clip, full_window_fraction=0.5).for_training(clips)
    positions = clip.num_positions(batch.input_features_mask)
    assert 0 < positions.count(1500) < len(clips)
    for row, (one, own) in enumerate(zip(clips, positions, strict=True)):
        alone = (full if own == 1500 else clip).for_training([one]).input_features[0]
        assert torch.equal(batch.input_features[row, :, : alone.shape[-1]], alone)


def test_a_transcript_past_the_positions_names_its_row(full: WhisperCollator):
    long = utterance(id="long", text="Z" * 60, origin="rows.jsonl:3")
    with pytest.raises(
        DataError,
        match=r"^rows.jsonl:3: utterance 'long' takes 66 tokens, more than the 64 positions of Whisper's decoder; cut the "
        r"clip, or set data.too_long=drop$",
    ):
        full.for_training([Recording(long, tone(0.5))])
    assert full.num_target_tokens(long) > full.max_target_tokens, "a plan can tell without its sound"


def test_a_share_of_full_windows_is_beside_windows_of_clips():
    with pytest.raises(
        ConfigError, match="^model.full_window_fraction=0.1 is a share of clips beside window=clip, and"
    ):
        WhisperConfig(path="x", full_window_fraction=0.1)
    assert WhisperConfig(path="x", window=Window.clip, full_window_fraction=0.1).trained_windows == ["clip", "full"]
    assert WhisperConfig(path="x", window=Window.clip).trained_windows == ["clip"]
    assert WhisperConfig(path="x").trained_windows == ["full"]
