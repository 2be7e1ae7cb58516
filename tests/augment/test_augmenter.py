"""Augmentation in a run: the same draws for any number of workers and processes and after a resume, and what is said of them."""

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qasr_train.augment.augmenter import Augmenter, make_augmenter
from qasr_train.augment.clip_changes import Changes
from qasr_train.augment.settings import (
    AugmentConfig,
    Codec,
    GainConfig,
    JoinConfig,
    NoiseConfig,
    PrefixConfig,
    ReverbConfig,
    SilenceConfig,
    SpecAugmentConfig,
    SpeedConfig,
    TelephoneConfig,
)
from qasr_train.augment.spectrum import Axis, Mask, cover, draw_masks
from qasr_train.batch import Batch, Recording
from qasr_train.data.buckets import BatchBudget
from qasr_train.data.training_data import ListPool, TrainingData
from qasr_train.data.workers import load_recording
from qasr_train.errors import ConfigError, DataError
from qasr_train.jobs.recipes import load_config
from qasr_train.manifest import Utterance
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.run.processes import Processes
from qasr_train.timed.base import TimedWord
from tests.helpers import tone, utterance, write_wav
from tests.helpers_model import tiny_processor
from tests.helpers_trainer import tiny_learner

SEED = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clips/u0.wav ... u11.wav of 0.6 to 1.7 s, noise/, rir/."""
    folder = tmp_path_factory.mktemp("augment")
    for i in range(12):
        write_wav(folder / f"clips/u{i}.wav", tone(0.6 + 0.1 * i, frequency_hz=300 + 50 * i))
    rng = np.random.default_rng(0)
    for i in range(3):
        write_wav(folder / f"noise/n{i}.wav", 0.1 * rng.normal(size=9_000).astype(np.float32))
    rooms = rng.normal(size=(4_000, 2)) * np.exp(-np.arange(4_000) / 500.0)[:, None]
    write_wav(folder / "rir/two_channels.wav", 0.2 * rooms.astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def utterances(folder: Path) -> list[Utterance]:
    return [
        utterance(
            id=f"u{i}",
            audio=str(folder / f"clips/u{i}.wav"),
            text=f"word {i}",
            duration_s=0.6 + 0.1 * i,
            words=(TimedWord("word", 0.1, 0.4), TimedWord(str(i), 0.4, 0.6)),
        )
        for i in range(12)
    ]


@pytest.fixture(scope="module")
def collator() -> Qwen3ASRCollator:
    return Qwen3ASRCollator(tiny_processor())


def everything(folder: Path) -> AugmentConfig:
    return AugmentConfig(
        speed=SpeedConfig(0.6),
        prefix=PrefixConfig(0.4, [0.3, 0.5]),
        join=JoinConfig(0.2, max_duration_s=4.0),
        silence=SilenceConfig(0.15, max_duration_s=2.0),
        reverb=ReverbConfig(0.5, str(folder / "rir")),
        noise=NoiseConfig(0.5, str(folder / "noise")),
        gain=GainConfig(0.5),
        telephone=TelephoneConfig(0.5),
        spec_augment=SpecAugmentConfig(0.7),
    )


def augmenter(config: AugmentConfig) -> Augmenter:
    made = make_augmenter(config, seed=SEED, max_duration_s=5.0, max_target_tokens=500)
    assert made is not None
    return made


def training_data(folder: Path, rows: list[Utterance], collator: Qwen3ASRCollator, **fields: Any) -> TrainingData:
    return TrainingData(
        pools={"main": ListPool("main", rows, 2.0, (SEED, 0))},
        collator=collator,
        budget=BatchBudget(5.0, None),
        seed=SEED,
        changes=Changes(augmenter(everything(folder))),
        **fields,
    )


def flat(data: TrainingData, epoch: int, first_step: int = 0) -> list[Batch]:
    return [loaded.batch for step in data.steps(epoch, first_step) for loaded in step]


def digest(batch: Batch) -> tuple[Any, ...]:
    tensors = (batch.input_features, batch.input_features_mask, batch.input_ids, batch.labels, batch.duration_s)
    return (tuple(batch.ids), *(tensor.numpy().tobytes() for tensor in tensors if tensor is not None))


def test_a_resumed_run_sees_the_same_bytes_whatever_the_number_of_workers(folder: Path, utterances, collator) -> None:
    straight = [digest(b) for b in flat(training_data(folder, utterances, collator), epoch=1)]
    assert len(straight) > 6
    resumed = training_data(folder, utterances, collator, num_workers=2)  # a new object, as a new process would have it
    assert [digest(b) for b in flat(resumed, epoch=1, first_step=3)] == straight[3:]


def test_two_processes_together_see_the_rows_of_one(folder: Path, utterances, collator) -> None:
    def rows(data: TrainingData) -> dict[tuple[str, bytes], int]:
        seen: dict[tuple[str, bytes], int] = {}
        for batch in flat(data, epoch=0):
            for row, name in enumerate(batch.ids):
                num_frames = int(batch.input_features_mask[row].sum())
                key = (name, batch.input_features[row, :, :num_frames].numpy().tobytes())
                seen[key] = seen.get(key, 0) + 1
        return seen

    alone = rows(training_data(folder, utterances, collator))
    shared = [rows(training_data(folder, utterances, collator, processes=Processes(r, 2))) for r in (0, 1)]
    assert alone == {**shared[0], **shared[1]} and sum(alone.values()) == len(
        alone
    )  # no two rows are alike, copies included


def test_epochs_differ_and_planned_durations_are_true(folder: Path, utterances, collator) -> None:
    data = training_data(folder, utterances, collator)
    first, second = (flat(data, epoch) for epoch in (0, 1))
    assert {digest(b) for b in first}.isdisjoint(digest(b) for b in second)
    planned_s = sorted(u.duration_s or 0.0 for u in data.plan(0)[0])
    heard_s = sorted(chain.from_iterable(b.duration_s.tolist() for b in first))
    assert heard_s == pytest.approx(planned_s, abs=1e-3)
    # So the budget of padded seconds holds for the clips as they are heard.
    assert max(float(b.duration_s.max()) * len(b) for b in first) <= 5.0 + 1e-2


def test_silence_is_taught_as_no_language_and_no_text(folder: Path, utterances, collator) -> None:
    batches = flat(training_data(folder, utterances, collator), epoch=0)
    silent = [(b, row) for b in batches for row, name in enumerate(b.ids) if name.startswith("silence-")]
    assert len(silent) >= 3
    for batch, row in silent:
        assert batch.labels is not None
        target = b"".join(collator.token_bytes(int(t)) for t in batch.labels[row] if t >= 0)
        assert target == b"language None<asr_text><|im_end|>"


def test_nothing_is_done_unless_it_is_switched_on(utterances) -> None:
    assert not AugmentConfig().is_on
    assert make_augmenter(AugmentConfig(), seed=0, max_duration_s=30.0, max_target_tokens=99) is None
    only_masks = augmenter(AugmentConfig(spec_augment=SpecAugmentConfig(1.0)))
    assert only_masks.plan(utterances, 0, source="main") is utterances
    recording = Recording(utterances[0], tone())
    assert np.array_equal(only_masks.recording(recording, 0).waveform, recording.waveform)
    assert not only_masks.config.changes_sound and AugmentConfig(gain=GainConfig(0.1)).changes_sound


def test_switching_one_on_leaves_the_draws_of_the_others(folder: Path, utterances) -> None:
    config = AugmentConfig(noise=NoiseConfig(0.5, str(folder / "noise")), telephone=TelephoneConfig(0.5))
    before, after = augmenter(config), augmenter(replace(config, gain=GainConfig(1.0)))
    for one in utterances:
        said = [str(change) for change in after.changes(one, 0) if not str(change).startswith("gain")]
        assert said == [str(change) for change in before.changes(one, 0)]


def test_the_room_comes_before_the_noise_and_the_telephone_last(folder: Path, utterances) -> None:
    config = AugmentConfig(
        reverb=ReverbConfig(1.0, str(folder / "rir")),
        noise=NoiseConfig(1.0, str(folder / "noise"), min_snr_db=10.0, max_snr_db=10.0),
        gain=GainConfig(1.0, min_db=-3.0, max_db=-3.0),
        telephone=TelephoneConfig(1.0, [Codec.gsm]),
    )
    said = augmenter(config).describe(utterances[0], 0, num_frames=60, num_bins=128)
    assert said[0] in ("reverb two_channels.wav channel 0", "reverb two_channels.wav channel 1")
    assert [one.split(".wav")[-1] for one in said[1:]] == [" at 10.0 dB", "gain -3.0 dB", "telephone gsm"]


@pytest.mark.parametrize("family", ["qwen3_asr", "whisper"])
def test_masks_cover_only_the_rows_own_frames_with_its_mean(utterances, family: str) -> None:
    """Against features collated without masks: changed values are the row's mean, and all lie under a drawn mask."""
    masks = augmenter(AugmentConfig(spec_augment=SpecAugmentConfig(1.0, max_time_fraction=0.5)))
    recordings = [load_recording(u) for u in utterances[:6]]
    collator = tiny_learner(family).collator
    plain, batch = collator.for_training(recordings), collator.for_training(recordings)
    batch = masks.features(batch, utterances[:6], 0)
    for row, one in enumerate(utterances[:6]):
        num_frames = int(batch.input_features_mask[row].sum())
        expected = plain.input_features[row].clone()
        for mask in masks.masks(one, 0, num_frames=num_frames, num_bins=len(expected)):
            stretch = slice(mask.begin, mask.begin + mask.width)
            where = (slice(None), stretch) if mask.axis is Axis.time else (stretch, slice(0, num_frames))
            expected[where] = plain.input_features[row, :, :num_frames].mean()
        torch.testing.assert_close(batch.input_features[row], expected)
        assert torch.equal(batch.input_features[row, :, num_frames:], plain.input_features[row, :, num_frames:])


def test_masks_stay_within_their_widest_and_vary() -> None:
    config = SpecAugmentConfig(1.0, max_time_frames=50, max_time_fraction=0.1, max_frequency_bins=27)
    drawn = [draw_masks(config, num_frames=200, num_bins=128, rng=np.random.default_rng(i)) for i in range(300)]
    time = [m for masks in drawn for m in masks if m.axis is Axis.time]
    frequency = [m for masks in drawn for m in masks if m.axis is Axis.frequency]
    assert {m.width for m in time} == set(range(1, 21)) and max(m.begin + m.width for m in time) <= 200
    assert {m.width for m in frequency} == set(range(1, 28)) and max(m.begin + m.width for m in frequency) <= 128


def test_a_mask_by_hand() -> None:
    features = torch.arange(12.0).reshape(3, 4)  # mean 5.5
    cover(features, [Mask(Axis.time, 1, 1), Mask(Axis.frequency, 2, 1)])
    assert features.tolist() == [[0, 5.5, 2, 3], [4, 5.5, 6, 7], [5.5] * 4]


@pytest.mark.parametrize("name", ["none", "standard", "telephone", "long_form"])
def test_presets_load(name: str) -> None:
    config = load_config("finetune", [f"augment={name}", "data.train.main.path=x.jsonl", "run_dir=x"])
    assert config.augment.is_on == (name != "none")


def test_a_preset_that_needs_recordings_asks_for_them(folder: Path) -> None:
    given = ["augment=noisy_room", "data.train.main.path=x.jsonl", "run_dir=x"]
    with pytest.raises(ConfigError, match=r"augment\.reverb\.path is missing: .* give a folder, glob or manifest"):
        load_config("finetune", given)
    paths = [f"augment.noise.path={folder / 'noise'}", f"augment.reverb.path={folder / 'rir'}"]
    assert load_config("finetune", [*given, *paths]).augment.silence.share > 0


def test_a_wrong_path_is_told_before_a_model_is_loaded(folder: Path, tmp_path: Path) -> None:
    from qasr_train.jobs.finetune import finetune

    (tmp_path / "m.jsonl").write_text(json.dumps({"audio": "a.wav", "text": "x"}) + "\n")
    given = [f"data.train.main.path={tmp_path / 'm.jsonl'}", f"run_dir={tmp_path / 'run'}", "model.path=/nowhere/model"]
    config = load_config("finetune", [*given, "augment.noise.probability=0.5", "augment.noise.path=/nowhere/noise"])
    with pytest.raises(DataError, match=r"augment\.noise\.path=/nowhere/noise: no such file or folder"):
        finetune(config)
    assert not (tmp_path / "run").exists()
