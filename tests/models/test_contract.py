"""What every family of `FAMILIES` keeps to in its role; a new one adds a line to TINY and is tested by all of this."""

import copy
import pickle
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qasr_train.batch import IGNORED, Recording
from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.jobs.recipes import CONFIG_DIR, SCHEMAS, load_config
from qasr_train.models.base import AudioEncoder, Hypothesis, Recogniser, Trainable
from qasr_train.models.families import FAMILIES, load_collator, load_model, load_trainable, load_training_collator
from qasr_train.models.settings import Recompute, Role
from qasr_train.objectives.cross_entropy import CrossEntropy
from tests.helpers import tone, utterance, write_wav
from tests.helpers_transcription import transcribe_all
from tests.models.tiny_families import TINY

LEARNERS = sorted(name for name, family in FAMILIES.items() if family.role is Role.TRAINABLE)
# What aligners keep to stands in test_qwen3_aligner.py.
HEARERS = sorted(name for name, family in FAMILIES.items() if family.role is not Role.ALIGNER)
every_family = pytest.mark.parametrize("family", HEARERS)
trainable = pytest.mark.parametrize("family", LEARNERS)
not_trainable = pytest.mark.parametrize("family", sorted(set(HEARERS) - set(LEARNERS)))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The checkpoint of a family, made once: to copy it takes a tenth of the time."""

    @cache
    def make(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family) / "model"
        TINY[family](folder)
        return folder

    return make


@pytest.fixture
def config(family: str, tiny: Callable[[str], Path], tmp_path: Path) -> Any:
    shutil.copytree(tiny(family), tmp_path / "model")
    return FAMILIES[family].config(path=str(tmp_path / "model"))


@pytest.fixture
def model(config: Any) -> Recogniser:
    return load_model(config, device="cpu")


@pytest.fixture
def learner(config: Any) -> Trainable:
    return load_trainable(config, device="cpu")


def recordings() -> list[Recording]:
    """Clips of unequal lengths, one of them with no speech and one in no known language."""
    fields = [{"text": "two small pills", "language": "English"}, {"text": ""}, {"text": "quick fox", "language": None}]
    return [Recording(utterance(id=f"u{i}", **row), tone(0.6 + 0.8 * i)) for i, row in enumerate(fields)]


def odd_clips() -> list[Recording]:
    """Noise instead of speech, a clip of 30 ms and one of no sample at all."""
    noise = np.random.default_rng(0).normal(0.0, 0.1, 24_000).astype(np.float32)
    waveforms = {"noise": noise, "short": tone(0.03), "empty": np.zeros(0, dtype=np.float32)}
    return [Recording(utterance(id=name), waveform) for name, waveform in waveforms.items()]


def transcribe(model: Recogniser, clips: list[Recording]) -> list[Hypothesis]:
    batch = model.collator.for_transcription(clips, language=None, use_context=False)
    return model.transcribe(batch, max_new_tokens=6)


def model_file(family: str) -> str:
    """The name of a file of configs/model that loads as this family."""
    files = sorted((CONFIG_DIR / "model").glob("*.yaml"))
    return next(file.stem for file in files if f"[{family}_schema" in file.read_text(encoding="utf-8"))


@every_family
def test_the_config_is_a_schema_and_knows_its_family(family: str, config: Any):
    assert config.family == family
    assert SCHEMAS["model", family] is FAMILIES[family].config


@every_family
def test_what_it_claims_it_has(family: str, model: Recogniser):
    assert model.family == family
    assert model.capabilities <= FAMILIES[family].capabilities
    assert isinstance(model, torch.nn.Module)
    assert not model.module.training


@every_family
def test_the_collator_needs_no_weights_and_travels_to_workers(family: str, config: Any, model: Recogniser):
    for path in Path(config.path).glob("*.safetensors"):
        path.unlink()
    travelled = pickle.loads(pickle.dumps(load_collator(config)))
    expected = model.collator.for_transcription(recordings(), language=None, use_context=False)
    batch = travelled.for_transcription(recordings(), language=None, use_context=False)
    assert torch.equal(batch.input_ids, expected.input_ids)
    assert torch.equal(batch.input_features, expected.input_features)
    assert batch.labels is expected.labels is None


@trainable
def test_the_training_collator_travels_as_well(family: str, config: Any, learner: Trainable):
    expected = learner.collator.for_training(recordings())
    batch = pickle.loads(pickle.dumps(load_training_collator(config))).for_training(recordings())
    for name in ("input_ids", "input_features", "labels"):
        assert torch.equal(getattr(batch, name), getattr(expected, name)), name


@not_trainable
def test_a_family_that_does_not_train_says_so_before_anything_is_read(family: str):
    config = FAMILIES[family].config(path="nowhere")
    sentence = (
        f"^model.family={family}: models of this family can be evaluated but not trained; train a Qwen3-ASR or a "
        "Whisper, such as model=qwen3_asr_0.6b or model=whisper_small$"
    )
    for load in (lambda: load_trainable(config, device="cpu"), lambda: load_training_collator(config)):
        with pytest.raises(ConfigError, match=sentence):
            load()
    with pytest.raises(ConfigError, match=sentence):
        load_config("finetune", [f"model={model_file(family)}", "model.path=x", "data.train.main.path=x"])


@trainable
def test_a_training_batch_keeps_its_contract(family: str, learner: Trainable):
    model = learner
    batch = model.collator.for_training(recordings())
    assert batch.ids == ["u0", "u1", "u2"]
    assert batch.duration_s.tolist() == pytest.approx([0.6, 1.4, 2.2])
    assert batch.labels is not None
    is_target = batch.labels != IGNORED
    assert torch.equal(batch.labels[is_target], batch.input_ids[is_target])
    assert (batch.attention_mask[is_target] == 1).all()
    for row, one in enumerate(recordings()):
        assert model.collator.num_target_tokens(one.utterance) == int(is_target[row].sum()) > 0
    assert b"two small pills" in b"".join(map(model.collator.token_bytes, batch.labels[0][is_target[0]].tolist()))
    for row in range(3):
        silence = batch.input_features[row].T[batch.input_features_mask[row] == 0]
        assert torch.equal(silence, silence[:1].expand_as(silence)), (
            "past a row's own frames stands nothing of the sound"
        )


@every_family
def test_a_transcription_batch_has_no_labels_and_one_hypothesis_a_row(family: str, model: Recogniser):
    batch = model.collator.for_transcription(recordings(), language=None, use_context=True)
    assert batch.labels is None
    heard = model.transcribe(batch, max_new_tokens=3)
    assert [h.id for h in heard] == ["u0", "u1", "u2"]
    assert all(isinstance(h, Hypothesis) and h.num_tokens >= 1 for h in heard)
    if not getattr(model, "is_ctc", False):  # which says no more than it has frames
        assert all(h.num_tokens <= 3 for h in heard)


@every_family
def test_alone_and_in_a_batch_it_hears_the_same_in_order(family: str, model: Recogniser):
    """Unequal clips, one without speech, a very short and an empty one; the batch is reversed too."""
    clips = [*recordings(), *odd_clips()]
    alone = [transcribe(model, [clip])[0] for clip in clips]
    assert transcribe(model, clips) == alone
    assert transcribe(model, clips[::-1]) == alone[::-1]
    assert len({one.raw_text for one in alone}) > 1, "clips that all sound alike would hide a mixed-up order"


@every_family
def test_it_transcribes_in_bfloat16_as_on_a_gpu(family: str, config: Any):
    model = load_model(config, device="cpu", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.bfloat16}
    assert [one.id for one in transcribe(model, recordings())] == ["u0", "u1", "u2"]


@every_family
def test_a_long_clip_is_heard_whole_through_the_evaluation(family: str, config: Any, model: Recogniser, tmp_path: Path):
    audio = write_wav(tmp_path / "long.wav", tone(42.0))
    rows = [utterance(id="long", audio=str(audio), duration_s=42.0), utterance(id="gone", audio="none.wav")]
    long, gone = transcribe_all(
        model, rows, max_new_tokens=3, max_duration_s=min(config.max_duration_s, 30.0), max_failed_fraction=0.5
    )
    assert (long.id, long.failed, round(long.duration_s, 3)) == ("long", None, 42.0)
    assert (gone.id, bool(gone.failed)) == ("gone", True)


@trainable
def test_a_step_of_the_loss_lowers_it(family: str, learner: Trainable):
    batch = learner.collator.for_training(recordings())
    optimizer = torch.optim.SGD(learner.module.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        loss = CrossEntropy()(learner, batch)
        assert loss.num_targets == batch.num_targets
        losses.append(float(loss.total.detach()))
        optimizer.zero_grad()
        (loss.total / loss.num_targets).backward()
        optimizer.step()
    assert losses[1] < losses[0]


def loss_and_gradient(model: Trainable) -> tuple[float, torch.Tensor]:
    """Cross entropy of a fixed batch, and its gradient at all weights in one vector."""
    loss = CrossEntropy()(model, model.collator.for_training(recordings())).total
    model.module.train().zero_grad()
    loss.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.module.parameters()]
    return float(loss.detach()), torch.cat([gradient.flatten() for gradient in gradients])


@trainable
def test_what_is_recomputed_changes_no_loss_and_no_gradient(family: str, learner: Trainable):
    expected_nats, expected = loss_and_gradient(learner)
    for recompute in Recompute:
        learner.set_gradient_checkpointing(recompute)
        loss_nats, gradient = loss_and_gradient(learner)
        assert loss_nats == pytest.approx(expected_nats, rel=1e-6), recompute
        assert (gradient - expected).norm() <= 1e-5 * expected.norm(), recompute


@trainable
def test_features_made_by_the_model_give_the_same_loss(family: str, config: Any, learner: Trainable):
    on_device = load_trainable(config, device="cpu", makes_features=False)
    batch = on_device.collator.for_training(recordings())
    assert batch.waveforms is not None and not batch.input_features.numel()
    assert loss_and_gradient(on_device)[0] == pytest.approx(loss_and_gradient(learner)[0], rel=1e-4)


@trainable
def test_operations_are_counted_by_what_is_trained(family: str, learner: Trainable):
    batch = learner.collator.for_training(recordings())
    count_all = learner.flop_counter()
    if count_all is None:
        pytest.skip(f"the operations of {family} are not worked out")
    learner.module.requires_grad_(False)
    count_none = learner.flop_counter()
    assert count_none is not None
    assert count_all(batch) == pytest.approx(3 * count_none(batch)), "two backward products for one forward"


@trainable
def test_what_it_encodes_can_stand_for_the_sound(family: str, learner: Trainable):
    if not isinstance(learner, AudioEncoder):
        pytest.skip(f"{family} does not encode apart from decoding")
    learner.module.eval()
    batch = learner.collator.for_training(recordings())
    encoded = learner.encode(batch)
    assert sum(learner.num_encoded(batch)) == len(encoded) and len(learner.num_encoded(batch)) == 3
    given = copy.copy(batch)
    given.encoded, given.input_features = encoded.half(), torch.zeros_like(batch.input_features)
    expected, from_cache = (float(CrossEntropy()(learner, one).total.detach()) for one in (batch, given))
    assert from_cache == pytest.approx(expected, rel=1e-2), "half precision, no more"
    assert any(p is q for p in learner.audio_modules.parameters() for q in learner.module.parameters())


@every_family
def test_it_comes_back_as_it_was_saved(family: str, model: Recogniser, tmp_path: Path):
    model.save(tmp_path / "again")
    again = load_model(FAMILIES[family].config(path=str(tmp_path / "again")), device="cpu")
    expected = model.module.state_dict()
    state = again.module.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


@every_family
def test_a_folder_without_a_model_is_refused_by_name(family: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="empty"):
        load_model(FAMILIES[family].config(path=str(tmp_path / "empty")), device="cpu")


@every_family
def test_an_unknown_family_lists_those_there_are(family: str):
    config = load_config("show_batch", ["data.train.main.path=x", "model.path=x", "model.family=whisperer"])
    with pytest.raises(ConfigError, match=rf"model.family='whisperer' is not a family; choose one of .*{family}"):
        load_model(config.model, device="cpu")
