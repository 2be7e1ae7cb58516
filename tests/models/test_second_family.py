"""A second family trains by its line in the table alone: the fine-tuning job, its checkpoints and its dev sets know no family."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from qasr_train.data.settings import CacheConfig, DataConfig, FeaturesOn
from qasr_train.errors import ConfigError
from qasr_train.jobs.finetune import finetune
from qasr_train.jobs.settings.finetune import FinetuneConfig
from qasr_train.models.families import FAMILIES, Family, load_model, load_training_collator
from qasr_train.models.settings import AdaptConfig, Capability, Card, LoraSettings, Recompute, Role
from qasr_train.objectives.settings import CrossEntropyConfig
from qasr_train.sources.settings import SourceConfig
from qasr_train.training.settings import OptimConfig, TrainerConfig
from tests.helpers import tone, utterance, write_wav
from tests.models.toy.config import ToyConfig
from tests.models.toy.model import Toy, ToyModel

TEXTS = ["one small step", "two", "three steps more", "for now"]


@pytest.fixture(autouse=True)
def _toy_is_in_the_table(monkeypatch: pytest.MonkeyPatch):
    card = Card("two linear layers", "ASCII", None)
    line = Family(ToyConfig, "tests.models.toy.model", Role.TRAINABLE, frozenset({Capability.TOKEN_LOSS}), card)
    monkeypatch.setitem(FAMILIES, "toy", line)


@pytest.fixture
def toy(tmp_path: Path) -> ToyConfig:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Toy(ToyModel()).save(tmp_path / "toy")
    return ToyConfig(str(tmp_path / "toy"))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = []
    for i, text in enumerate(TEXTS):
        path = write_wav(tmp_path / f"c{i}.wav", tone(0.5 + 0.3 * i, peak=0.2 + 0.2 * i))
        rows.append({"id": f"c{i}", "audio": str(path), "text": text, "duration_s": 0.5 + 0.3 * i})
    file = tmp_path / "manifest.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def config(toy: ToyConfig, manifest: Path, data: dict[str, Any] | None = None, **sections: Any) -> FinetuneConfig:
    source = SourceConfig(path=str(manifest))
    given: dict[str, Any] = {
        "adapt": AdaptConfig(trainable=["*"]),
        "objective": CrossEntropyConfig(),
        "optim": OptimConfig(lr=0.02),
        "trainer": TrainerConfig(
            max_steps=6, num_epochs=None, log_every=1, validate_every=3, save_every=3, device="cpu"
        ),
        **sections,
    }
    sets = {"train": {"main": source}, "dev": {"main": source}}
    data_config = DataConfig(**{**sets, "num_workers": 0, "batch_seconds": 30.0, **(data or {})})
    return FinetuneConfig(model=toy, data=data_config, run_dir=str(manifest.parent / "run"), **given)


def test_it_learns_and_its_checkpoint_is_read_again(toy: ToyConfig, manifest: Path):
    finetune(config(toy, manifest))
    run = manifest.parent / "run"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [row["train/loss_nats"] for row in rows if "train/loss_nats" in row]
    dev = [row["dev/loss_nats"] for row in rows if "dev/loss_nats" in row]
    assert len(losses) == 6 and losses[-1] < 0.8 * losses[0]
    assert len(dev) == 3 and dev[-1] < dev[0]
    before = load_model(toy, device="cpu").module.state_dict()
    after = load_model(ToyConfig(str(run / "checkpoints" / "last")), device="cpu").module.state_dict()
    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_only_what_is_chosen_by_part_is_trained(toy: ToyConfig, manifest: Path):
    finetune(config(toy, manifest, adapt=AdaptConfig(trainable=["decoder.mix.*"])))
    before = load_model(toy, device="cpu").module.state_dict()
    trained = ToyConfig(str(manifest.parent / "run" / "checkpoints" / "last"))
    after = load_model(trained, device="cpu").module.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"writer.mix.weight", "writer.mix.bias"}


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        (
            {"adapt": AdaptConfig(lora=LoraSettings(projector=["linear"]))},
            "adapt.lora.projector: 'linear' matches nothing",
        ),
        (
            {"trainer": TrainerConfig(max_steps=1, gradient_checkpointing=Recompute.all)},
            "the toy keeps its activations",
        ),
        ({"data": {"features_on": FeaturesOn.device}}, "the toy makes its features in the loader workers"),
        (
            {"data": {"cache": CacheConfig(dir="cache")}},
            "data.cache.dir: models of this family make their own features",
        ),
        (
            {"data": {"cache": CacheConfig(dir="cache", encoder_outputs=True)}},
            "data.cache.encoder_outputs=true: this family does not encode apart from decoding",
        ),
    ],
)
def test_what_it_has_not_is_refused(toy: ToyConfig, manifest: Path, sections: dict[str, Any], sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        finetune(config(toy, manifest, **sections))


def test_a_family_whose_role_is_to_transcribe_is_refused_with_the_config(
    toy: ToyConfig, manifest: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(FAMILIES, "toy", replace(FAMILIES["toy"], role=Role.RECOGNISER))
    with pytest.raises(ConfigError, match="^model.family=toy: models of this family can be evaluated but not trained"):
        config(toy, manifest)


def test_its_collator_is_loaded_without_weights():
    collator = load_training_collator(ToyConfig("nowhere"))
    assert collator.num_target_tokens(utterance(text="abc")) == 4
