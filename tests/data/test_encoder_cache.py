"""The cache of encoder outputs: the same training to half precision, made once, for frozen encoders of one model alone."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from qasr_train.data.buckets import BatchBudget
from qasr_train.data.encoder_cache import CachedEncodings, EncodingRun, fill_encodings, open_cache, open_encodings
from qasr_train.data.mixture import ListPool
from qasr_train.data.settings import CacheConfig
from qasr_train.data.training_data import TrainingData
from qasr_train.errors import ConfigError
from qasr_train.manifest import Utterance
from qasr_train.models.adapt import apply_adaptation
from qasr_train.models.base import TokenLogits, Trainable
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.settings import AdaptConfig
from qasr_train.models.whisper.config import Window
from qasr_train.run.processes import Processes
from tests.helpers import tone, utterance, write_wav
from tests.helpers_model import tiny_model, tiny_processor
from tests.helpers_trainer import tiny_learner

RUN = EncodingRun(
    budget=BatchBudget(5.0, None),
    num_workers=0,
    device=torch.device("cpu"),
    precision="no cpu",
    autocast=nullcontext,
)


@pytest.fixture
def rows(tmp_path: Path) -> list[Utterance]:
    """Six clips of 0.3 to 2.3 s; two of them go by one id, as clips of two sources may."""
    made = []
    for i in range(6):
        path = write_wav(tmp_path / f"c{i}.wav", tone(0.3 + 0.4 * i, frequency_hz=200 + 90 * i))
        made.append(utterance(id=f"c{i % 5}", audio=str(path), text=f"clip {i}", duration_s=0.3 + 0.4 * i))
    return made


def frozen_model(family: str = "qwen3_asr", **settings: object) -> Any:
    model = tiny_learner(family, **settings)
    model.module = apply_adaptation(model.module, AdaptConfig(trainable=["decoder.*"]), model.parts)
    return model


def config(folder: Path, **fields: object) -> CacheConfig:
    return CacheConfig(dir=str(folder), encoder_outputs=True, **fields)


def encodings_of(folder: Path, model: Trainable, rows: list[Utterance]) -> CachedEncodings:
    found = open_cache(config(folder), model, {"main": ListPool("main", rows, 1.0, (0, 0))}, RUN)
    assert isinstance(found, CachedEncodings)
    return found


def batches(rows: list[Utterance], model: Trainable, **fields) -> list:  # type: ignore[no-untyped-def]
    pools = {"main": ListPool("main", rows, 1.0, (0, 0))}
    data = TrainingData(pools, model.collator, budget=BatchBudget(5.0, None), seed=0, **fields)
    return [step[0].batch for step in data.steps(0)]


@pytest.mark.parametrize(
    ("num_workers", "family", "settings"),
    [(0, "qwen3_asr", {}), (1, "qwen3_asr", {}), (0, "whisper", {}), (0, "whisper", {"window": Window.full})],
)
def test_a_step_from_the_cache_is_the_step_from_the_audio_to_half_precision(
    tmp_path: Path, rows, num_workers: int, family: str, settings: dict[str, Any]
):
    model = frozen_model(family, **settings)
    cached = encodings_of(tmp_path / "cache", model, rows)
    plain, held = batches(rows, model), batches(rows, model, load=cached, num_workers=num_workers)
    assert [b.ids for b in plain] == [b.ids for b in held] and all(b.encoded is not None for b in held)
    for one, other in zip(plain, held, strict=True):
        assert torch.equal(one.duration_s, other.duration_s) and torch.equal(one.labels, other.labels)
        expected, got = model.encode(one), model.encode(other)
        if family == "qwen3_asr":
            assert torch.equal(expected.half(), got)
        else:  # other rows beside a clip change the last digit of half precision
            torch.testing.assert_close(got, expected.half(), rtol=1e-3, atol=1e-3)
        made: TokenLogits = model(one)
        assert (model(other).logits - made.logits).abs().max() <= 2e-3 * made.logits.abs().max()


def test_the_two_windows_of_whisper_never_see_an_entry_of_each_other(tmp_path: Path, rows):
    short, full = (frozen_model("whisper", window=window) for window in (Window.clip, Window.full))
    kinds = {open_encodings(config(tmp_path / "cache"), one, precision="no cpu").cache.kind for one in (short, full)}
    assert len(kinds) == 2
    held = [batches(rows, one, load=encodings_of(tmp_path / "cache", one, rows))[0] for one in (short, full)]
    assert [len(one.encoded) for one in held] == [sum(short.num_encoded(held[0])), 1500 * len(held[1])]


def test_a_share_of_full_windows_is_refused(tmp_path: Path):
    """Also where someone only asks what the model can do, which reads its properties before Python 3.12."""
    model = frozen_model("whisper", full_window_fraction=0.25)
    with pytest.raises(
        ConfigError, match=r"^model.full_window_fraction=0.25: gives the encoder another window in some"
    ):
        open_encodings(config(tmp_path), model, precision="no cpu")


def test_each_clip_is_encoded_once(tmp_path: Path, rows):
    model = frozen_model()
    cache = open_encodings(config(tmp_path / "cache"), model, precision="no cpu").cache
    assert fill_encodings(cache, model, rows[:4], RUN) == 4
    assert fill_encodings(cache, model, [*rows, *rows], RUN) == 2
    assert len(list((tmp_path / "cache").glob("*/*/*.f16"))) == 6


def test_two_processes_encode_each_clip_once_between_them(tmp_path: Path, rows):

    model = frozen_model()
    cache = open_encodings(config(tmp_path / "cache"), model, precision="no cpu").cache
    num_made = [fill_encodings(cache, model, rows, replace(RUN, processes=Processes(rank, 2))) for rank in range(2)]
    assert sum(num_made) == 6 == len(list((tmp_path / "cache").glob("*/*/*.f16")))


def test_other_weights_or_precision_never_see_an_entry(tmp_path: Path):
    model = frozen_model()
    kinds = {open_encodings(config(tmp_path), model, precision=p).cache.kind for p in ("no cpu", "bf16 cuda")}
    with torch.no_grad():
        next(model.audio_modules.parameters()).view(-1)[0] += 1e-3
    kinds.add(open_encodings(config(tmp_path), model, precision="no cpu").cache.kind)
    assert len(kinds) == 3
    with torch.no_grad():  # the decoder decides nothing of an encoding
        model.core.lm_head.weight += 1.0
    assert open_encodings(config(tmp_path), model, precision="no cpu").cache.kind in kinds


def test_a_damaged_entry_sends_its_batch_to_the_files(tmp_path: Path, rows, caplog):
    model = frozen_model()
    cached = encodings_of(tmp_path / "cache", model, rows)
    sorted((tmp_path / "cache").glob("*/*/*.f16"))[0].write_bytes(b"damaged")
    held = batches(rows, model, load=cached)
    assert sorted(b.encoded is None for b in held) == [False] * (len(held) - 1) + [True]
    assert "damaged entry of the feature cache" in caplog.text
    assert sorted(i for b in held for i in b.ids) == sorted(one.id for one in rows)


def test_a_clip_that_cannot_be_read_is_left_to_the_loader_which_names_it(tmp_path: Path, rows):
    model = frozen_model()
    Path(str(rows[2].audio)).write_bytes(b"RIFF")
    cached = encodings_of(tmp_path / "cache", model, rows)
    pools = {"main": ListPool("main", rows, 1.0, (0, 0))}
    data = TrainingData(pools, model.collator, budget=BatchBudget(5.0, None), seed=0, load=cached)
    assert [one.id for step in data.steps(0) for one in step[0].failed] == ["c2"]


def test_a_trained_encoder_is_refused_by_name(tmp_path: Path):
    model = Qwen3ASR(tiny_model(), tiny_processor())
    model.module = apply_adaptation(model.module, AdaptConfig(trainable=["*"]), PARTS)
    with pytest.raises(ConfigError, match=r"tensors of encoder and projector are trained \(e.g. audio_tower"):
        open_encodings(config(tmp_path), model, precision="no cpu")


def test_too_little_room_is_told_before_the_work(tmp_path: Path, rows):
    with pytest.raises(ConfigError, match=r"data.cache.max_gb=1e-06: the encodings of these clips take some .* GB"):
        fill_encodings(
            open_encodings(config(tmp_path, max_gb=1e-6), frozen_model(), precision="no cpu").cache,
            frozen_model(),
            rows,
            RUN,
        )


def test_a_streamed_source_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"data.train.web is streamed"):
        open_cache(config(tmp_path), frozen_model(), {"web": object()}, RUN)


def test_encoder_outputs_want_a_directory():
    with pytest.raises(ConfigError, match=r"encoder_outputs=true needs a directory; set data.cache.dir"):
        CacheConfig(encoder_outputs=True)
