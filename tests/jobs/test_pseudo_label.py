"""Labelling by a model: what is kept, what is rejected for which reason, going on after a stop, and training on the result."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from qasr_train.errors import ConfigError, DataError, UserError
from qasr_train.jobs.finetune import finetune
from qasr_train.jobs.pseudo_label import pseudo_label
from qasr_train.jobs.recipes import load_config
from qasr_train.jobs.settings.pseudo_label import PseudoLabelConfig
from qasr_train.models.base import Hypothesis
from qasr_train.models.parakeet_tdt.config import ParakeetTDTConfig
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.qwen3_asr.layouts import save_native
from qasr_train.models.settings import Engine
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances
from qasr_train.transcription import run as transcription
from qasr_train.transcription.settings import DecodeConfig
from tests.helpers import tone, write_wav
from tests.helpers_fake_model import FakeModel
from tests.helpers_model import tiny_model, tiny_processor

Make = Callable[..., PseudoLabelConfig]


@dataclass
class SureModel(FakeModel):
    """A FakeModel that tells how sure it is. confidences: id -> 0 to 1, else 0.9; languages: id -> what it hears."""

    confidences: dict[str, float] = field(default_factory=dict)
    languages: dict[str, str | None] = field(default_factory=dict)

    def _hypothesis(self, utterance_id: str, max_new_tokens: int) -> Hypothesis:
        hypothesis = super()._hypothesis(utterance_id, max_new_tokens)
        sure = (math.log(self.confidences.get(utterance_id, 0.9)),) * hypothesis.num_tokens
        return replace(hypothesis, log_probs=sure, language=self.languages.get(utterance_id, "English"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`calls`: six recordings a ... f of 1 s, without transcripts."""
    for name in "abcdef":
        write_wav(tmp_path / "calls" / f"{name}.wav", tone(1.0))
    return tmp_path


@pytest.fixture
def make(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A config that labels `calls` by the model given, in batches of two."""

    def make_config(model: FakeModel, **fields: Any) -> PseudoLabelConfig:
        monkeypatch.setattr(transcription, "load_model", lambda config, **_: model)
        decode = DecodeConfig(max_batch_rows=2, num_warmup_batches=0, check_batch_invariance=0, max_failed_fraction=0.9)
        fields = {
            "decode": decode,
            "source": SourceConfig(path=str(folder / "calls")),
            "run_dir": str(folder / "run"),
        } | fields
        return PseudoLabelConfig(model=Qwen3ASRConfig(path=str(folder / "model")), **fields)

    return make_config


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def kinds_of(run_dir: Path) -> dict[str, str]:
    return {row["id"]: row["kind"] for row in rows_of(run_dir / "rejects.jsonl")}


def test_what_was_heard_well_is_a_manifest_and_the_rest_has_its_reason(
    make: Make, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {"a": "two small pills", "b": "so so so so so so so so so", "c": "", "d": "d " * 40, "e": "far away"}
    (folder / "calls" / "f.wav").write_bytes(b"no audio")
    pseudo_label(make(SureModel(texts, confidences={"a": 0.85, "e": 0.79})))
    [row] = rows_of(folder / "run" / "manifest.jsonl")
    assert row == {
        "version": 1,
        "id": "a",
        "audio": str(folder / "calls" / "a.wav"),
        "text": "two small pills",
        "language": "English",
        "duration_s": 1.0,
        "label": "pseudo",
        "confidence": 0.85,
    }
    assert kinds_of(folder / "run") == {
        "b": "loop",
        "c": "no speech",
        "d": "speaking rate",
        "e": "confidence",
        "f": "unreadable",
    }
    reasons = {row["id"]: row["reason"] for row in rows_of(folder / "run" / "rejects.jsonl")}
    assert reasons["e"] == "confidence 0.790, less than min_confidence=0.8"
    assert reasons["d"] == "79.0 characters a second, not 0.5 to 30"
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["kept"] == {"num_recordings": 1, "hours": pytest.approx(1 / 3600)}
    assert summary["all"]["num_recordings"] == 6
    assert summary["at_min_confidence"]["0.7"]["num_recordings"] == 2  # a and e; the others fail for other reasons
    shown = capsys.readouterr().out
    assert "rejected: loop" in shown and "manifest.jsonl: 1 recordings" in shown


def test_truncated_transcripts_are_rejected(make: Make, folder: Path) -> None:
    decode = DecodeConfig(max_new_tokens=3, check_batch_invariance=0, num_warmup_batches=0)
    pseudo_label(make(SureModel({"a": "one two three four"}), decode=decode))
    assert kinds_of(folder / "run") == {"a": "truncated"}


def test_the_language_comes_from_the_model_and_must_not_contradict_the_source(make: Make, folder: Path) -> None:
    model = SureModel({"c": ""}, languages={"b": "German", "c": None, "d": "Klingon"})
    source = SourceConfig(path=str(folder / "calls"), language="de")
    pseudo_label(make(model, source=source, keep_no_speech=True))
    kept = {row["id"]: (row["text"], row.get("language")) for row in rows_of(folder / "run" / "manifest.jsonl")}
    assert kept == {"b": ("b", "German"), "c": ("", None)}
    assert kinds_of(folder / "run") == dict.fromkeys("aef", "other language") | {"d": "unknown language"}


def test_a_forced_language_is_that_of_the_labels(make: Make, folder: Path) -> None:
    decode = DecodeConfig(language="fr", check_batch_invariance=0, num_warmup_batches=0)
    pseudo_label(make(SureModel(languages={"a": "French"}), decode=decode))
    assert {row["language"] for row in rows_of(folder / "run" / "manifest.jsonl")} == {"French"}


def test_other_limits_filter_a_finished_run_without_a_model(make: Make, folder: Path) -> None:
    model = SureModel(confidences={"a": 0.6, "b": 0.7})
    pseudo_label(make(model))
    assert sorted(kinds_of(folder / "run")) == ["a", "b"]
    num_batches = len(model.batches)
    pseudo_label(make(model, resume=True, min_confidence=0.65))
    assert kinds_of(folder / "run") == {"a": "confidence"}
    assert len(model.batches) == num_batches
    with pytest.raises(ConfigError, match=r"decode\.max_batch_rows: 2 -> 3"):
        pseudo_label(make(model, resume=True, decode=replace(make(model).decode, max_batch_rows=3)))


def test_stopped_and_resumed_it_transcribes_only_what_is_missing(make: Make, folder: Path) -> None:
    def stop(ids: list[str]) -> None:
        if "a" in ids:
            raise KeyboardInterrupt

    with pytest.raises(UserError, match="interrupted; 4 of 6 utterances .* resume=true goes on"):
        pseudo_label(make(SureModel(before_batch=stop)))
    assert not (folder / "run" / "manifest.jsonl").exists()
    model = SureModel()
    pseudo_label(make(model, resume=True))
    assert [sorted(batch) for batch in model.batches] == [["a", "b"]]
    assert [row["id"] for row in rows_of(folder / "run" / "manifest.jsonl")] == list("abcdef")


def test_two_models_must_agree(make: Make, folder: Path) -> None:
    pseudo_label(
        make(SureModel({"a": "red green blue", "b": "red green blue", "c": ""}), run_dir=str(folder / "other"))
    )
    second = SureModel({"a": "red green blue", "b": "red green grey", "c": "so"})
    pseudo_label(make(second, agree_with=str(folder / "other"), max_disagreement_percent=30))
    # b: one word of three differs, 33 %; c: the other heard nothing.
    assert kinds_of(folder / "run") == {"b": "disagreement", "c": "disagreement"}
    kinds = {row["id"]: row["reason"] for row in rows_of(folder / "run" / "rejects.jsonl")}
    assert kinds["b"] == "33 % apart, more than max_disagreement_percent=30"
    pseudo_label(make(second, agree_with=str(folder / "other"), max_disagreement_percent=34, resume=True))
    assert kinds_of(folder / "run") == {"c": "disagreement"}


def test_a_second_run_that_is_none_is_named_before_any_work(make: Make, folder: Path) -> None:
    with pytest.raises(DataError, match=r"agree_with=.*calls: holds no predictions\.jsonl; name the run_dir of"):
        pseudo_label(make(SureModel(), agree_with=str(folder / "calls")))
    assert not (folder / "run").exists()


def test_nothing_left_is_said_with_the_commonest_reason(make: Make, folder: Path) -> None:
    with pytest.raises(DataError, match=r"all 6 recordings were rejected, 6 of them like 'a': confidence 0\.900"):
        pseudo_label(make(SureModel(), min_confidence=0.99))
    assert not (folder / "run" / "manifest.jsonl").exists()


def test_confidence_is_not_asked_of_what_gives_none(make: Make, folder: Path) -> None:
    generate = replace(make(SureModel()).decode, engine=Engine.generate)
    with pytest.raises(ConfigError, match=r"decode\.engine=generate gives no confidence; set min_confidence=null"):
        pseudo_label(make(SureModel(), decode=generate))
    parakeet = replace(make(SureModel()), model=ParakeetTDTConfig(path="x"))
    with pytest.raises(ConfigError, match="models of family parakeet_tdt give no confidence"):
        pseudo_label(parakeet)
    assert not (folder / "run").exists()
    with pytest.raises(ConfigError, match="the model gives no confidence .*resume=true min_confidence=null"):
        pseudo_label(make(FakeModel()))
    pseudo_label(make(FakeModel(), resume=True, min_confidence=None))
    assert rows_of(folder / "run" / "manifest.jsonl")[0]["confidence"] is None


def test_transcripts_of_the_source_are_not_looked_at(make: Make, folder: Path) -> None:
    (folder / "known.csv").write_text("file,text,speaker\ncalls/a.wav,secret words,s1\n")
    pseudo_label(make(SureModel({"a": "heard words"}), source=SourceConfig(path=str(folder / "known.csv"))))
    [row] = rows_of(folder / "run" / "manifest.jsonl")
    assert (row["text"], row["speaker"]) == ("heard words", "s1")


def test_an_empty_folder_is_one_sentence(make: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no data; expected recordings"):
        pseudo_label(make(SureModel(), source=SourceConfig(path=str(tmp_path / "empty"))))
    with pytest.raises(DataError, match=r"nowhere: no such file or folder"):
        pseudo_label(make(SureModel(), source=SourceConfig(path=str(tmp_path / "nowhere"))))
    assert not (tmp_path / "run").exists()


def test_a_model_is_trained_on_what_it_labelled(folder: Path) -> None:
    """The real classes the whole way. The model has random weights, so whatever it says is accepted."""
    save_native(tiny_model(), tiny_processor(), folder / "model")
    common = [f"model.path={folder / 'model'}", "device=cpu", "decode.max_new_tokens=6", "min_confidence=0.0"]
    rows = [f"source.path={folder / 'calls'}", f"run_dir={folder / 'run'}", "max_characters_per_s=100"]
    with pytest.raises(DataError, match="'a': met the limit of new tokens"):
        pseudo_label(load_config("pseudo_label", ["model=tiny", *common, *rows]))
    predictions = rows_of(folder / "run" / "predictions.jsonl")
    assert all(0 < row["confidence"] < 1 for row in predictions)
    # A random model never ends; what it would have written had it ended is made here.
    changed = {"is_truncated": False, "pieces": None}
    ended = [row | changed | {"pred_text": f"two pills {row['id']}"} for row in predictions]
    (folder / "run" / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ended))
    pseudo_label(load_config("pseudo_label", ["model=tiny", *common, *rows, "resume=true"]))
    manifest = folder / "run" / "manifest.jsonl"
    utterances = load_utterances(SourceConfig(path=str(manifest)), "pseudo")
    assert [one.text for one in utterances] == [f"two pills {name}" for name in "abcdef"]
    train = [f"data.train.pseudo.path={manifest}", "data.num_workers=0", "trainer.max_steps=1", "trainer.device=cpu"]
    finetune(load_config("finetune", [f"model.path={folder / 'model'}", *train, f"run_dir={folder / 'trained'}"]))
    assert (folder / "trained" / "checkpoints").is_dir()
