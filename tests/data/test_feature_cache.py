"""The cache of features: equal to what it stands for, whole or absent, bounded, safe for several processes, never stale."""

import logging
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qasr_train.audio.arrow import arrow_reference
from qasr_train.augment.augmenter import make_augmenter
from qasr_train.augment.clip_changes import Changes
from qasr_train.augment.settings import AugmentConfig, SpecAugmentConfig, SpeedConfig
from qasr_train.data.buckets import BatchBudget
from qasr_train.data.feature_cache import CachedClip, CachedMels, FeatureCache, kind_of
from qasr_train.data.mixture import ListPool
from qasr_train.data.settings import CacheConfig, DataConfig, FeaturesOn
from qasr_train.data.training_data import TrainingData
from qasr_train.data.workers import load_recording
from qasr_train.errors import AudioError, ConfigError, DataError
from qasr_train.jobs.settings.finetune import FinetuneConfig
from qasr_train.manifest import Utterance
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.objectives.settings import CrossEntropyConfig
from qasr_train.sources.settings import SourceConfig
from tests.helpers import tone, utterance, write_wav
from tests.helpers_model import tiny_processor
from tests.helpers_trainer import tiny_learner


@pytest.fixture(scope="module")
def collator() -> Qwen3ASRCollator:
    return Qwen3ASRCollator(tiny_processor())


@pytest.fixture
def rows(tmp_path: Path) -> list[Utterance]:
    """Eight clips of 0.6 to 2.0 s."""
    made = []
    for i in range(8):
        path = write_wav(tmp_path / f"c{i}.wav", tone(0.6 + 0.2 * i, frequency_hz=200 + 90 * i))
        made.append(utterance(id=f"c{i}", audio=str(path), text=f"clip {i}", duration_s=0.6 + 0.2 * i))
    return made


def open_cache(folder: Path, *, max_gb: float = 1.0, kind: str = "mel-0") -> FeatureCache:
    return FeatureCache.open(CacheConfig(dir=str(folder), max_gb=max_gb), kind)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*/*.f16"))


def some_clip(seed: int = 0, num_frames: int = 50) -> CachedClip:
    values = np.random.default_rng(seed).standard_normal((128, num_frames)).astype(np.float16)
    return CachedClip(values, num_samples=160 * num_frames + seed)


def test_what_is_read_is_what_was_written(tmp_path: Path):
    open_cache(tmp_path).write("ab12", some_clip(3))
    found = open_cache(tmp_path).read("ab12")
    assert found is not None and found.num_samples == 8003 and np.array_equal(found.values, some_clip(3).values)
    assert open_cache(tmp_path).read("ab13") is None
    assert open_cache(tmp_path, kind="mel-1").read("ab12") is None


@pytest.mark.parametrize("family", ["qwen3_asr", "whisper"])
def test_batches_from_the_cache_equal_those_of_the_audio_rounded_to_half(tmp_path: Path, rows, family: str):
    collator = tiny_learner(family).collator

    def batches(**fields) -> list:  # type: ignore[no-untyped-def]
        pools = {"main": ListPool("main", rows, 1.0, (0, 0))}
        data = TrainingData(pools, collator, budget=BatchBudget(5.0, None), seed=0, **fields)
        return [step[0].batch for step in data.steps(0)]

    plain = batches()
    cached = CachedMels.open(CacheConfig(dir=str(tmp_path / "cache")), collator)
    filled = batches(load=cached)
    assert len(entries(tmp_path / "cache")) == len(rows)
    for one in rows:
        keep = Path(str(one.audio)).stat()
        Path(str(one.audio)).write_bytes(b"x" * keep.st_size)  # what is not read from the cache cannot be read at all
        os.utime(str(one.audio), ns=(keep.st_atime_ns, keep.st_mtime_ns))
    for made in (filled, batches(load=cached, num_workers=2)):
        for one, other in zip(plain, made, strict=True):
            assert torch.equal(other.input_features, one.input_features.half().float())
            for name in ("input_ids", "attention_mask", "labels", "input_features_mask", "duration_s"):
                assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_a_changed_file_or_span_is_another_clip(tmp_path: Path, rows):
    cache, one = open_cache(tmp_path / "cache"), rows[0]
    keys = {cache.key(one), cache.key(replace(one, start_s=0.1)), cache.key(replace(one, start_s=0.1, end_s=0.3))}
    keys |= {cache.key(replace(one, channel=0)), cache.key(replace(one, channel=1))}
    os.utime(str(one.audio), ns=(1, 1))
    keys.add(cache.key(one))
    write_wav(Path(str(one.audio)), tone(0.9))
    os.utime(str(one.audio), ns=(1, 1))
    keys.add(cache.key(one))
    data = Path(str(one.audio)).read_bytes()
    keys |= {cache.key(replace(one, audio=data)), cache.key(replace(one, audio=data + b" "))}
    assert len(keys) == 9 and None not in keys
    assert cache.key(replace(one, id="other", text="other words")) == cache.key(one)


def test_other_settings_of_the_features_never_see_an_entry(tmp_path: Path):
    assert kind_of("mel", "ab", b"c") != kind_of("mel", "a", b"bc")
    config = CacheConfig(dir=str(tmp_path))
    other = tiny_processor()
    other.feature_extractor.mel_filters = other.feature_extractor.mel_filters * 2
    kinds = {CachedMels.open(config, Qwen3ASRCollator(p)).cache.kind for p in (tiny_processor(), other)}
    assert len(kinds) == 2


def test_a_missing_file_is_told_as_without_a_cache(tmp_path: Path, collator):
    cached = CachedMels.open(CacheConfig(dir=str(tmp_path / "cache")), collator)
    with pytest.raises(AudioError, match=r"gone.wav \(u1\): no such file"):
        cached.load(utterance(audio=str(tmp_path / "gone.wav")))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_entry_is_computed_again_with_a_warning(tmp_path: Path, rows, collator, caplog, damage: str):
    cached = CachedMels.open(CacheConfig(dir=str(tmp_path / "cache")), collator)
    expected = cached.load(rows[0]).precomputed.mel
    [path] = entries(tmp_path / "cache")
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes({"cut": bytes(data[:-100]), "flipped": bytes(data), "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        assert torch.equal(cached.load(rows[0]).precomputed.mel, expected)
    assert "damaged entry of the feature cache; the features are computed again" in caplog.text
    caplog.clear()
    assert torch.equal(cached.load(rows[0]).precomputed.mel, expected) and not caplog.text


def test_a_full_cache_keeps_what_it_has_says_so_once_and_training_goes_on(tmp_path: Path, rows, collator, caplog):
    entry_bytes = 2 * 128 * 200 + 24
    config = CacheConfig(dir=str(tmp_path / "cache"), max_gb=2 * entry_bytes / 1e9)
    cached = CachedMels.open(config, collator)
    with caplog.at_level(logging.WARNING):
        held = [cached.load(one).precomputed.mel for one in rows]
    assert [r.getMessage().split(";")[0] for r in caplog.records] == [
        f"data.cache.dir={tmp_path / 'cache'}: full, max_gb={config.max_gb:g}"
    ]
    kept = sum(path.stat().st_size for path in entries(tmp_path / "cache"))
    assert 0 < kept == cached.cache.num_bytes() <= 2 * entry_bytes
    for mel, one in zip(held, rows, strict=True):
        assert torch.equal(mel, collator.log_mel(load_recording(one).waveform).half())


def _fill(folder: str, number: int, num_clips: int) -> None:
    cache = FeatureCache(Path(folder), "mel-0", 10 * (2 * 128 * 50 + 24))
    for i in range(num_clips):
        cache.write(f"{(number + i) % num_clips:04x}", some_clip((number + i) % num_clips))


def test_several_processes_share_a_folder_within_its_bound(tmp_path: Path):
    open_cache(tmp_path)
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(_fill, [str(tmp_path)] * 4, [0, 5, 10, 15], [20] * 4))
    paths = entries(tmp_path)
    assert 5 <= len(paths) <= 10  # two that write one clip at a time count it twice until the folder is opened again
    cache = open_cache(tmp_path)
    assert cache.num_bytes() == sum(path.stat().st_size for path in paths)
    for path in paths:
        found = cache.read(path.stem)
        assert found is not None and np.array_equal(found.values, some_clip(int(path.stem, 16)).values)
    assert not list(tmp_path.glob("*/*/*.part"))


def test_a_full_disk_is_told_once_and_training_goes_on(tmp_path: Path, rows, collator, caplog, monkeypatch):
    cached = CachedMels.open(CacheConfig(dir=str(tmp_path / "cache")), collator)

    def refuse(**kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qasr_train.data.feature_cache.tempfile.mkstemp", refuse)
    recordings, failed = cached(rows)
    assert len(recordings) == len(rows) and not failed
    assert caplog.text.count("cannot be written (No space left on device); going on without") == 1
    assert cached.cache.num_bytes() == 0


def test_the_folder_is_for_its_owner_alone(tmp_path: Path):
    open_cache(tmp_path / "cache").write("ab12", some_clip())
    [path] = entries(tmp_path / "cache")
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0 and path.stat().st_mode & 0o077 == 0


def test_leftovers_of_a_killed_writer_are_removed(tmp_path: Path):
    open_cache(tmp_path).write("ab12", some_clip())
    old, fresh = (entries(tmp_path)[0].with_name(name) for name in ("tmp1.part", "tmp2.part"))
    old.write_bytes(b"half"), fresh.write_bytes(b"half of another process")
    os.utime(old, (0, 0))
    open_cache(tmp_path)
    assert not old.exists() and fresh.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match=r"data.cache.dir=.*file/cache: cannot be used \(Not a directory\); name another"
    ):
        open_cache(tmp_path / "file" / "cache")


def test_features_on_the_device_and_a_cache_exclude_each_other(tmp_path: Path):
    with pytest.raises(ConfigError, match="set one of the two"):
        DataConfig(features_on=FeaturesOn.device, cache=CacheConfig(dir=str(tmp_path)))


def finetune_config(**fields: Any) -> FinetuneConfig:
    model = Qwen3ASRConfig(path="bundled:tiny")
    data = DataConfig(train={"main": SourceConfig(path="train.jsonl")}, **fields.pop("data", {}))
    return FinetuneConfig(model=model, objective=CrossEntropyConfig(), data=data, run_dir="runs/x", **fields)


def test_a_cache_is_refused_where_augmentation_changes_what_it_keeps():
    sound = AugmentConfig(speed=SpeedConfig(probability=0.5))
    cover = AugmentConfig(spec_augment=SpecAugmentConfig(probability=0.5))
    mels, encodings = CacheConfig(dir="x"), CacheConfig(dir="x", encoder_outputs=True)
    with pytest.raises(ConfigError, match=r"augment changes its sound in every epoch; set data.cache.dir=null"):
        finetune_config(data={"cache": mels}, augment=sound)
    with pytest.raises(ConfigError, match=r"encoder_outputs=true keeps what the encoder makes"):
        finetune_config(data={"cache": encodings}, augment=cover)
    with pytest.raises(ConfigError, match=r"spec_augment covers up features in the loader workers"):
        finetune_config(data={"features_on": FeaturesOn.device}, augment=cover)
    finetune_config(data={"cache": mels}, augment=cover)


def test_spec_augment_covers_up_features_of_a_cache_and_leaves_the_cache_as_it_is(tmp_path: Path, rows, collator):
    cached = CachedMels.open(CacheConfig(dir=str(tmp_path / "cache")), collator)
    before = [cached.load(one).precomputed.mel for one in rows]
    config = AugmentConfig(spec_augment=SpecAugmentConfig(probability=1.0))
    changes = Changes(make_augmenter(config, seed=0, max_duration_s=30.0, max_target_tokens=100))
    pools = {"main": ListPool("main", rows, 2.0, (0, 0))}  # two passes: every clip stands there twice
    data = TrainingData(pools, collator, budget=BatchBudget(5.0, None), seed=0, load=cached, changes=changes)
    batches = [step[0].batch for step in data.steps(0)]
    assert sum(len(b) for b in batches) == 2 * len(rows) == 2 * len(entries(tmp_path / "cache"))
    plain = TrainingData(pools, collator, budget=BatchBudget(5.0, None), seed=0, load=cached)
    assert not all(
        torch.equal(one.input_features, step[0].batch.input_features)
        for one, step in zip(batches, plain.steps(0), strict=True)
    )
    assert all(torch.equal(mel, cached.load(one).precomputed.mel) for mel, one in zip(before, rows, strict=True))


def test_a_row_of_an_arrow_file_goes_by_file_and_row(tmp_path: Path):
    cache = open_cache(tmp_path / "cache")
    path = tmp_path / "a:b.arrow"
    path.write_bytes(b"anything")
    one, other = (cache.key(utterance(audio=arrow_reference(str(path), "audio", row))) for row in (0, 1))
    assert one is not None and other is not None and one != other
    os.utime(path, ns=(1, 1))
    assert cache.key(utterance(audio=arrow_reference(str(path), "audio", 0))) != one
