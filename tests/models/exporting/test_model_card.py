"""The model card: what the Hub reads of it, figures, intervals and guards of this very model, its snippet; no path, blanks."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import EvalResultEntry, ModelCard, parse_eval_result_entries

from qasr_train.errors import ConfigError
from qasr_train.jobs.export import export
from qasr_train.jobs.settings.export import ExportConfig, ExportDtype, ExportLayout, HubConfig
from qasr_train.models.digest import checkpoint_digest
from qasr_train.models.families import load_model
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.qwen3_asr.layouts import save_native
from tests.helpers import tone, write_wav
from tests.helpers_model import tiny_model, tiny_processor

COMMIT = "5ac4e1fcae6fcb5ad4b0f9c1d5a7b4c0f0a7c001"
SOURCES = {
    "own": {"path": "/secret/clinic/train.jsonl", "passes_per_epoch": 2.0, "new_languages": ["Welsh"]},
    "talks": {"path": "owner/talks", "passes_per_epoch": 0.5, "subset": "en_us", "split": "train"},
    "stream": {"path": "owner/stream", "streaming": True, "language": "fr"},
}


def save_model(folder: Path, seed: int | None = None) -> Path:
    """The tiny model; with a seed, all weights moved."""
    model = tiny_model()
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    save_native(model, tiny_processor(), folder)
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base/, and a run over it with one checkpoint, as finetune.py leaves them."""
    folder = tmp_path_factory.mktemp("work")
    save_model(folder / "base")
    save_model(folder / "run/checkpoints/step_1", seed=3)
    config = {
        "model": {"path": "Qwen/Qwen3-ASR-0.6B-hf"},
        "data": {"train": SOURCES, "batch_seconds": 120.0},
        "optim": {"lr": 2e-4, "name": "adamw", "schedule": "cosine"},
        "augment": {"speed": {"probability": 0.5}, "silence": {"share": 0.0}, "noise": {"path": "/secret/noise"}},
        "seed": 7,
    }
    sources = {
        "own": {"dataset": None, "hours": {"Welsh": 1.25, "English": 0.5}},
        "talks": {"dataset": "owner/talks", "hours": {"English": 2.0, "unknown": 0.1}},
        "stream": {"dataset": "owner/stream", "hours": None},
    }
    model = {"path": "Qwen/Qwen3-ASR-0.6B-hf", "commit": COMMIT, "weights": "0123"}
    record = {"recipe": "finetune", "config": config, "sources": sources, "model": model}
    (folder / "run" / "run.json").write_text(json.dumps(record))
    return folder


def evaluated(folder: Path, checkpoint: Path, **record: Any) -> Path:
    """A folder as evaluate.py leaves it after it evaluated a model."""
    found = load_model(Qwen3ASRConfig(path=str(checkpoint)), device="cpu").origin  # type: ignore[attr-defined]
    group = {
        "num_utterances": 1200,
        "wer_percent": 12.345,
        "cer_percent": 4.0,
        "primary_metric": "wer",
        "interval": {"low_percent": 11.0, "high_percent": 13.5, "confidence": 0.95},
        "cer_interval": {"low_percent": 3.0, "high_percent": 5.0, "confidence": 0.95},
    }
    run = {
        "model": found.record(),
        "inputs": {"model": {"weights": None, "precision": "float32"}},
        "started_at": "2026-11-28T12:00:00+00:00",
    }
    sets = {"medical": group, "chinese": group | {"primary_metric": "cer"}, "empty": {"wer_percent": None}}
    folder.mkdir(parents=True)
    content = {"normalizer": "qasr-2", "sets": sets, "provenance": {"run": run | record}}
    (folder / "scores.json").write_text(json.dumps(content))
    return folder


def compared(folder: Path, baseline: Path, candidate: Path) -> Path:
    """A folder as compare.py leaves it; runs are named as they were given."""
    test = {"baseline_percent": 20.0, "candidate_percent": 12.0}
    group = {"metric": "wer", "num_utterances": 1200, "test": test}
    better = test | {"interval": {"low_percent": -9.0, "high_percent": -7.0, "confidence": 0.95}}
    content = {
        "baseline": str(baseline),
        "candidate": str(candidate),
        "normalizer": "qasr-2",
        "roles": {"medical": "target", "general": "guard"},
        "sets": {"medical": group | {"test": better}, "general": group, "void": group | {"test": None}},
        "verdict": {"word": "undecided", "checks": [{"set": "general", "sentence": "cannot be told | yet"}]},
    }
    folder.mkdir(parents=True)
    (folder / "comparison.json").write_text(json.dumps(content))
    return folder


def make(work: Path, out: Path, **settings: Any) -> str:
    """The card of an export of the run's checkpoint."""
    checkpoint = settings.pop("checkpoint", work / "run/checkpoints/step_1")
    return (export(ExportConfig(checkpoint=str(checkpoint), out=str(out), **settings)) / "README.md").read_text()


def test_the_hub_reads_base_languages_datasets_and_figures(work: Path, tmp_path: Path) -> None:
    run = evaluated(tmp_path / "tuned", work / "run/checkpoints/step_1")
    text = make(work, tmp_path / "out", results=[str(run)], license="cc-by-4.0")
    data = ModelCard(text).data
    assert (data.base_model, data.base_model_relation) == ("Qwen/Qwen3-ASR-0.6B-hf", "finetune")
    assert (data.license, data.pipeline_tag, data.library_name) == (
        "cc-by-4.0",
        "automatic-speech-recognition",
        "transformers",
    )
    assert data.language == ["en", "cy", "fr"] and data.datasets == ["owner/talks", "owner/stream"]
    figures = {one.dataset_name: one for one in data.eval_results}
    assert figures.keys() == {"medical", "chinese"}  # a set without reference words has no figure
    assert (figures["medical"].metric_type, figures["medical"].metric_value) == ("wer", 12.345)
    assert (figures["chinese"].metric_type, figures["chinese"].metric_value) == ("cer", 4.0)
    assert figures["medical"].metric_args == {
        "normalizer": "qasr-2",
        "num_utterances": 1200,
        "precision": "float32",
        "interval": {"low": 11.0, "high": 13.5, "confidence": 0.95},
    }
    assert "| tuned | medical | 1,200 | 12.35 | 4.00 | 11.00 to 13.50 (95 %) | qasr-2 |" in text
    assert "| tuned | empty | 0 | – | – | – | qasr-2 |" in text


def test_the_card_states_commit_hours_settings_and_no_path(work: Path, tmp_path: Path) -> None:
    text = make(work, tmp_path / "out")
    assert f"| Its commit | {COMMIT} |" in text
    assert "| Hours by language, as declared | English 2.50 h, Welsh 1.25 h, unknown 0.10 h |" in text
    assert "- source `talks`: passes an epoch 0.5, language as its rows say, dataset owner/talks (en_us, train)" in text
    assert "optimizer adamw, schedule cosine, seconds of audio a batch 120.0" in text
    assert "clips changed from epoch to epoch, by share: speed 0.5\n" in text
    for file in (tmp_path / "out").iterdir():
        content = file.read_bytes()
        assert b"secret" not in content and str(work).encode() not in content and str(tmp_path).encode() not in content


def test_what_is_not_known_is_blank(work: Path, tmp_path: Path) -> None:
    text = make(work, tmp_path / "out", checkpoint=work / "base")
    head = yaml.safe_load(text.split("---")[1])
    assert head == {"pipeline_tag": "automatic-speech-recognition", "library_name": "transformers"}
    for blank in ("Base model", "Its commit", "Licence", "Languages trained on", "Datasets of the Hub"):
        assert f"| {blank} |  |" in text
    assert "- No results are stated.\n- Other limits:\n" in text and "## Training" not in text


def test_guards_stand_in_the_card_with_what_the_gate_found(work: Path, tmp_path: Path) -> None:
    candidate = evaluated(tmp_path / "tuned", work / "run/checkpoints/step_1")
    base = evaluated(tmp_path / "base", work / "base", model={"path": "bundled:tiny"})
    text = make(work, tmp_path / "out", results=[str(compared(tmp_path / "compared", base, candidate))])
    assert "## Compared with `bundled:tiny`" in text and "the gate's verdict: **undecided**" in text
    assert (
        "| medical | target | 1,200 | 20.00 | 12.00 | -8.00 WER points, 95 %: -9.00 to -7.00 |  |\n"
        "| general | guard | 1,200 | 20.00 | 12.00 | -8.00 WER points | cannot be told \\| yet |\n"
    ) in text
    assert "measured on the guard sets above (general), nowhere else" in text
    assert "| tuned | medical | 1,200 |" in text  # the candidate's own figures come with it


def test_a_comparison_whose_candidate_is_gone_is_refused(work: Path, tmp_path: Path) -> None:
    folder = compared(tmp_path / "compared", tmp_path / "base", tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"results: .*compared compares .*gone, which holds no scores.json here"):
        make(work, tmp_path / "out", results=[str(folder)])
    assert not (tmp_path / "out").exists()


def test_results_of_other_weights_are_refused(work: Path, tmp_path: Path) -> None:
    checkpoint = work / "run/checkpoints/step_1"
    of_base = evaluated(tmp_path / "of_base", work / "base")
    with pytest.raises(ConfigError, match=r"of_base evaluated other weights than this export of .*step_1 holds"):
        make(work, tmp_path / "out", results=[str(of_base)])
    of_none = evaluated(tmp_path / "of_none", checkpoint, model=None)
    with pytest.raises(ConfigError, match=r"of_none does not record which weights it evaluated.*evaluate again"):
        make(work, tmp_path / "out", results=[str(of_none)])
    mine = evaluated(tmp_path / "mine", checkpoint)
    with pytest.raises(ConfigError, match=r"mine evaluated other weights than this export"):
        make(work, tmp_path / "out", results=[str(mine)], strength=0.5, base=str(work / "base"))
    (tmp_path / "mine" / "scores.json").write_text('{"sets": 3}')
    with pytest.raises(ConfigError, match=r"scores.json is not a scores.json of ours"):
        make(work, tmp_path / "out", results=[str(mine)])
    assert not (tmp_path / "out").exists()


def test_an_older_evaluation_is_known_by_the_files_it_opened(work: Path, tmp_path: Path) -> None:
    """It recorded no digest of weights: model=None."""

    def of(name: str, checkpoint: Path) -> str:
        files = checkpoint_digest(Qwen3ASRConfig(path=str(checkpoint)))
        return str(evaluated(tmp_path / name, checkpoint, model=None, inputs={"model": {"weights": files}}))

    assert "| older | medical |" in make(work, tmp_path / "out", results=[of("older", work / "run/checkpoints/step_1")])
    with pytest.raises(ConfigError, match=r"of_base evaluated other weights than this export"):
        make(work, tmp_path / "other", results=[of("of_base", work / "base")])


@pytest.mark.parametrize("layout", [ExportLayout.native, ExportLayout.original])
def test_results_of_a_copy_in_another_form_are_this_model_s(work: Path, tmp_path: Path, layout: ExportLayout) -> None:
    weakened = {"strength": 0.5, "base": str(work / "base")}
    make(work, tmp_path / "copy", dtype=ExportDtype.float32, **weakened)
    run = evaluated(tmp_path / "half", tmp_path / "copy")
    assert "| half | medical |" in make(work, tmp_path / "out", results=[str(run)], layout=layout, **weakened)


def test_a_set_that_is_a_benchmark_of_the_hub_goes_to_eval_results(work: Path, tmp_path: Path) -> None:
    run = evaluated(tmp_path / "tuned", work / "run/checkpoints/step_1")
    benchmarks = {"medical": "owner/bench/test.clean"}
    text = make(work, tmp_path / "out", results=[str(run)], benchmarks=benchmarks)
    file = tmp_path / "out" / ".eval_results" / "owner__bench__test.clean.yaml"
    assert parse_eval_result_entries(yaml.safe_load(file.read_text())) == [
        EvalResultEntry(
            dataset_id="owner/bench",
            task_id="test.clean",
            value=12.345,
            date="2026-11-28T12:00:00+00:00",
            notes="WER in percent, 1200 utterances, normalizer qasr-2, 95 % interval 11.00 to 13.50",
        )
    ]
    assert {one.dataset_type for one in ModelCard(text).data.eval_results} == {"owner/bench", "chinese"}
    with pytest.raises(
        ConfigError, match=r"benchmarks.empty: has no figure in the results; they have chinese, empty, medical"
    ):
        make(work, tmp_path / "out2", results=[str(run)], benchmarks={"empty": "owner/bench/task"})


def test_the_snippet_of_the_card_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    out = export(ExportConfig(checkpoint="bundled:tiny", out=str(tmp_path / "out"), dtype=ExportDtype.float32))
    snippet = re.search(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
    assert snippet is not None and "THIS_FOLDER" in snippet[1]
    write_wav(tmp_path / "speech.wav", tone(0.6))
    monkeypatch.chdir(tmp_path)
    exec(snippet[1].replace("THIS_FOLDER", str(out)), {})
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_the_card_names_the_repository_it_is_for(work: Path, tmp_path: Path) -> None:
    text = make(work, tmp_path / "out", hub=HubConfig(repo_id="me/tuned"))
    assert 'from_pretrained("me/tuned"' in text and "THIS_FOLDER" not in text
    assert 'pipeline("automatic-speech-recognition")` fails' in text
