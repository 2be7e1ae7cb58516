"""Every experiment for a published model, end to end on a random one: from a manifest, and from a local copy of its public
stand-in in that dataset's layout; what its settings say is what the run does.
"""

import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from transformers import Qwen3ASRForConditionalGeneration

from qasr_train.batch import IGNORED
from qasr_train.jobs import finetune as job
from qasr_train.jobs.export import export
from qasr_train.jobs.recipes import load_config
from qasr_train.models.lora_files import ADAPTER_NAME
from qasr_train.objectives.kl_to_base import KLToBase
from qasr_train.text.languages import LANGUAGES
from qasr_train.training.checkpoint import checkpoint_path
from qasr_train.training.trainer import Trainer
from tests.config.conftest import TEXTS
from tests.helpers import tone

datasets = pytest.importorskip("datasets")
datasets.disable_progress_bars()


@dataclass(frozen=True)
class StandIn:
    """How a public dataset lies on the hub: file of each split in the folder of its subset, columns beside the audio."""

    source: str
    files: dict[str, str]
    columns: dict[str, Any]
    card: bool = True  # whether its README names the subsets; the hub's own Parquet copies have none


FLEURS = {"id": 7, "transcription": "unused", "raw_transcription": "TEXT", "language": "a name of its own"}
STAND_INS = {
    "medical": StandIn("multimed_english_train", {"train": "train", "dev": "eval"}, {"text": "TEXT", "duration": 0.5}),
    "legal": StandIn(
        "voxpopuli_english_train",
        {"train": "train", "dev": "validation"},
        {"audio_id": "ID", "language": 0, "raw_text": "", "normalized_text": "TEXT", "speaker_id": "1"},
    ),
    "contact_centre": StandIn(
        "ami_headset_train",
        {"train": "train", "dev": "validation"},
        {"audio_id": "ID", "meeting_id": "EN2001a", "text": "TEXT", "begin_time": 1.0, "speaker_id": "MEE068"},
    ),
    "new_language": StandIn("fleurs_welsh_train", {"train": "train", "dev": "validation"}, FLEURS, card=False),
    "low_resource": StandIn("fleurs_macedonian_train", {"train": "train", "dev": "validation"}, FLEURS, card=False),
}
# What each says of learning rates by part: LoRA in the encoder, other LoRA; whole weights.
RATES = {
    "medical": {"adapters_encoder": 3e-4, "adapters": 2e-4},
    "legal": {"adapters_encoder": 5e-4, "adapters": 2e-4},
    "contact_centre": {"adapters_encoder": 5e-4, "adapters": 1e-4},
    "new_language": {"encoder": 5e-5, "projector": 5e-5, "decoder": 2e-5},
    "low_resource": {"adapters_encoder": 2e-4, "adapters": 1e-4},
}
RANKS = {"medical": 32, "legal": 32, "contact_centre": 16, "low_resource": 8}


def copy_of_hub(folder: Path, stand_in: StandIn, subset: str) -> Path:
    """A few rows of a public dataset in its own layout."""
    for split, name in stand_in.files.items():
        shard = f"{name}-00000-of-00001.parquet" if stand_in.card else f"{name}/0000.parquet"
        path = folder / subset / shard
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = []
        for i in range(8 if split == "train" else 2):
            sound = io.BytesIO()
            soundfile.write(sound, tone(0.5, frequency_hz=220 + 40 * i), 16_000, format="FLAC")
            values = {"TEXT": TEXTS[i % 4], "ID": f"{split}-{i}"}
            columns = {k: values.get(v, v) if isinstance(v, str) else v for k, v in stand_in.columns.items()}
            rows.append({**columns, "audio": {"bytes": sound.getvalue(), "path": f"{i}.flac"}})
        pq.write_table(pa.Table.from_pylist(rows), path)
    if stand_in.card:
        files = [{"split": name, "path": f"{subset}/{name}-*"} for name in stand_in.files.values()]
        card = json.dumps([{"config_name": subset, "data_files": files}])
        (folder / "README.md").write_text(f"---\nconfigs: {card}\n---\n")
    return folder


def run(experiment: str, model_dir: Path, manifests: dict[str, Path], run_dir: Path, *settings: str) -> Trainer:
    """The job as the recipe runs it, with replay and guard, cut to three small steps."""
    given = [
        f"experiment={experiment}",
        f"model.path={model_dir}",
        f"data.train.replay.path={manifests['general']}",
        "data.train.replay.split=train",
        "data.train.replay.passes_per_epoch=0.5",
        f"data.dev.guard.path={manifests['general']}",
        "data.dev.guard.split=dev",
        f"run_dir={run_dir}",
        "data.max_duration_s=2.0",
        "data.batch_seconds=3.0",
        "data.num_workers=0",
        "trainer.device=cpu",
        "trainer.max_steps=3",
        "trainer.log_every=1",
        "trainer.validate_every=3",
        "decode.max_new_tokens=4",
        "decode.num_workers=1",
        *settings,
    ]
    trainers: list[Trainer] = []
    build = job.build_trainer

    def kept(*arguments: Any, **named: Any) -> Trainer:
        trainers.append(build(*arguments, **named))
        return trainers[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "build_trainer", kept)
        job.finetune(load_config("finetune", given))
    return trainers[0]


def check_run(experiment: str, trainer: Trainer) -> list[dict[str, Any]]:
    """What every experiment promises; returns the lines of metrics.jsonl."""
    found = {group["part"]: group["peak_lr"] for group in trainer.step.shared.optimizer.param_groups}
    assert found == RATES[experiment]
    if experiment in RANKS:
        assert trainer.step.shared.model.module.peft_config[ADAPTER_NAME].r == RANKS[experiment]
    else:
        assert all(parameter.requires_grad for parameter in trainer.step.shared.model.module.parameters())
    utterances, _ = trainer.data.plan(0)
    names = [utterances.name_of(i) for i in range(len(utterances))]
    assert names.count("replay") >= 4 and names.count("target") >= 8
    augment = trainer.data.changes.augmenter
    assert augment is not None and augment.config.speed.probability > 0.6
    assert (augment.config.telephone.probability > 0) is (experiment == "contact_centre")
    assert augment.config.silence.share == (0.03 if experiment == "contact_centre" else 0.0)
    selection = trainer.selection
    assert selection is not None
    assert (selection.num_kept, selection.figure) == (
        {"low_resource": 5}.get(experiment, 3),
        "dev/error_rate",
    )
    assert selection.patience in (4, 5)
    rows = [json.loads(line) for line in (trainer.saver.run_dir / "metrics.jsonl").read_text().splitlines()]
    assert {"dev/target/wer_percent", "dev/guard/wer_percent"} <= rows[-1].keys() | rows[-2].keys()
    assert all(np.isfinite(row["train/loss_nats"]) for row in rows if "train/loss_nats" in row)
    Qwen3ASRForConditionalGeneration.from_pretrained(trainer.saver.run_dir / "checkpoints" / "best")
    return rows


@pytest.mark.parametrize("experiment", list(STAND_INS))
def test_each_runs_on_a_copy_of_its_public_stand_in(
    experiment: str, model_dir: Path, manifests: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    stand_in = STAND_INS[experiment]
    chosen = [f"+source@data.train.target={stand_in.source}", f"data.dev.target.split={stand_in.files['dev']}"]
    subset = load_config("finetune", [f"experiment={experiment}", *chosen, "run_dir=x"]).data.train["target"].subset
    folder = copy_of_hub(tmp_path / "hub", stand_in, subset)
    trainer = run(experiment, model_dir, manifests, tmp_path / "run", *chosen, f"data.train.target.path={folder}")
    check_run(experiment, trainer)
    target = trainer.data.pools["target"].utterances
    assert sorted({u.text for u in target}) == sorted(TEXTS)
    assert len({u.id for u in target}) == 8
    language = {"new_language": "Welsh", "low_resource": "Macedonian"}.get(experiment, "English")
    assert {u.language for u in target} == {language}


@pytest.mark.parametrize("experiment", ["medical", "new_language"])
def test_a_manifest_of_ones_own_is_one_setting(
    experiment: str, model_dir: Path, manifests: dict[str, Path], tmp_path: Path
) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text("two small pills\nquick\nmetformin\n")
    own = [f"data.train.target.path={manifests['target']}", "context=terms", f"context.terms={terms}"]
    if experiment == "new_language":
        rows = manifests["target"].read_text().replace("English", "Welsh")
        (tmp_path / "welsh.jsonl").write_text(rows)
        own = [f"data.train.target.path={tmp_path / 'welsh.jsonl'}", "data.train.target.new_languages=[Welsh]"]
    trainer = run(experiment, model_dir, manifests, tmp_path / "run", *own)
    check_run(experiment, trainer)
    drawn = trainer.data.changes.contexts.config
    assert (drawn.terms is not None) is (experiment == "medical")
    assert drawn.served > 0 or drawn.no_turn > 0  # a prompt without a system turn, as vllm serve sends it, is never new
    if experiment == "new_language":
        taught = {
            source: trainer.step.shared.model.collator.tokenizer.decode(labels[labels != IGNORED])
            for step in trainer.data.steps(0)
            for loaded in step
            for source, labels in zip(loaded.batch.sources, loaded.batch.labels, strict=True)
        }
        assert taught["target"].startswith("language Welsh<asr_text>")
        assert taught["replay"].startswith("language English<asr_text>")
        best, out = trainer.saver.run_dir / "checkpoints" / "best", tmp_path / "exported"
        export(load_config("export", [f"checkpoint={best}", "layout=original", f"out={out}"]))
        assert json.loads((out / "config.json").read_text())["support_languages"] == [*LANGUAGES, "Welsh"]


def test_held_to_the_base_and_resumed_gives_the_weights_of_a_run_left_alone(
    model_dir: Path, manifests: dict[str, Path], tmp_path: Path
) -> None:
    own = [
        f"data.train.target.path={manifests['target']}",
        "objective=kl_to_base",
        "objective.kl_weight=0.5",
        "adapt=full",
        "optim.lr=1e-2",
        "trainer.max_steps=4",
        "trainer.validate_every=2",
        "trainer.keep_last=9",
    ]
    trainer = run("low_resource", model_dir, manifests, tmp_path / "run", *own)
    assert (
        isinstance(trainer.step.objective, KLToBase)
        and trainer.step.objective.base.model is not trainer.step.shared.model
    )
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    divergences = [row["train/kl_nats"] for row in rows if "train/kl_nats" in row]
    assert abs(divergences[0]) < 1e-5 and max(divergences) > 1e-4
    last = checkpoint_path(tmp_path / "run", 4)
    shutil.move(last, tmp_path / "straight")
    run("low_resource", model_dir, manifests, tmp_path / "run", *own, "resume=true")
    found, expected = last, tmp_path / "straight"
    assert (found / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
