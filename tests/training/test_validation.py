"""Watching dev sets: the loss against transformers' own, error rates by hand, thinning, what is written."""

import io
import json
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tqdm import tqdm

from qasr_train.batch import Batch
from qasr_train.data.buckets import BatchBudget
from qasr_train.data.workers import load_recording
from qasr_train.errors import AudioError, ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.models.base import Hypothesis
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.settings import Engine
from qasr_train.models.whisper.config import Window
from qasr_train.objectives.cross_entropy import CrossEntropy
from qasr_train.text.normalize import get_normalizer
from qasr_train.training.validation import Validator
from qasr_train.transcription.prompts import PromptForm
from qasr_train.transcription.settings import LongAudio
from tests.helpers import tone, utterance, write_wav
from tests.helpers_model import tiny_model, tiny_processor
from tests.helpers_trainer import launch, tiny_learner
from tests.helpers_transcription import decoding

# id -> (reference, what is heard, language)
ENGLISH = {
    "e1": ("the quick brown fox", "the quick brown fox", "English"),  # 0 of 4 words
    "e2": ("two small pills a day", "two tall pills", "English"),  # 1 substituted, 2 deleted of 5
    "e3": ("now", "now", "English"),  # 0 of 1
}
CHINESE = {"z1": ("今天好", "今天坏", "Chinese"), "z2": ("好", "好", "Chinese")}  # 1 of 4 characters


@pytest.fixture
def dev_sets(tmp_path: Path) -> dict[str, list[Utterance]]:
    """Two sets, `english` and `chinese`, of clips of unequal lengths."""
    sets: dict[str, list[Utterance]] = {}
    for name, rows in (("english", ENGLISH), ("chinese", CHINESE)):
        sets[name] = []
        for number, (key, (text, _, language)) in enumerate(rows.items()):
            seconds = 0.5 + 0.7 * number
            path = write_wav(tmp_path / f"{key}.wav", tone(seconds, frequency_hz=300 + 100 * number))
            sets[name].append(utterance(id=key, audio=str(path), text=text, language=language, duration_s=seconds))
    return sets


class Heard(Qwen3ASR):
    """The tiny model, which hears what ENGLISH and CHINESE say."""

    engines: set[Engine]

    def transcribe_rows(self, batch: Batch, *, engine: Engine, **limits: Any) -> list[Hypothesis]:
        assert not self.module.training
        self.engines = {*getattr(self, "engines", ()), engine}
        return [self.heard(utterance_id) for utterance_id in batch.ids]

    def heard(self, utterance_id: str) -> Hypothesis:
        _, text, language = (ENGLISH | CHINESE)[utterance_id]
        return Hypothesis(utterance_id, text, language, text, num_tokens=3, is_truncated=False)


class KeepingTracker:
    """Remembers the transcripts it was offered."""

    def __init__(self) -> None:
        self.offered: list[tuple[int, list[tuple[str, str, str]]]] = []

    def log_transcripts(self, rows: list[tuple[str, str, str]], *, step: int) -> None:
        self.offered.append((step, rows))


def make_validator(run_dir: Path, dev_sets: dict[str, list[Utterance]], **fields: Any) -> Validator:
    settings = {
        "accelerator": launch(run_dir),
        "model": Heard(tiny_model(), tiny_processor()),
        "dev_sets": dev_sets,
        "decoding": decoding(),
        "normalizer": get_normalizer("qasr-1"),
        "budget": BatchBudget(3.0, None),
        "num_samples": 0,
        "run_dir": run_dir,
    }
    return Validator(**(settings | fields))


def transformers_loss(utterances: list[Utterance], *, has_system_turn: bool = True) -> tuple[float, int]:
    """(nats summed over all targets, their number), clip by clip, from transformers' own mean loss."""
    model, collator = tiny_model(), Qwen3ASRCollator(tiny_processor())
    total, count = 0.0, 0
    for one in utterances:
        batch = collator.for_training([replace(load_recording(one), has_system_turn=has_system_turn)])
        with torch.no_grad():
            mean = model(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                input_features=batch.input_features,
                input_features_mask=batch.input_features_mask,
                labels=batch.labels,
            ).loss
        total, count = total + float(mean) * batch.num_targets, count + batch.num_targets
    return total, count


def test_the_loss_is_the_mean_over_all_targets_of_a_set_and_of_all_sets(tmp_path: Path, dev_sets):
    figures = make_validator(tmp_path, dev_sets)(0)
    parts = {name: transformers_loss(utterances) for name, utterances in dev_sets.items()}
    for name, (nats, count) in parts.items():
        assert figures[f"dev/{name}/loss_nats"] == pytest.approx(nats / count, rel=1e-5)
    total, count = (sum(column) for column in zip(*parts.values(), strict=True))
    assert figures["dev/loss_nats"] == pytest.approx(total / count, rel=1e-5)


def test_dev_sets_are_watched_by_the_prompt_they_are_asked_to_be(tmp_path: Path, dev_sets):
    served = decoding(prompt=PromptForm.served)
    figures = make_validator(tmp_path, {"english": dev_sets["english"]}, decoding=served)(0)
    nats, count = transformers_loss(dev_sets["english"], has_system_turn=False)
    assert figures["dev/english/loss_nats"] == pytest.approx(nats / count, rel=1e-5)
    own, _ = transformers_loss(dev_sets["english"])
    assert nats != pytest.approx(own, rel=1e-3)


def test_contexts_that_the_prompt_of_the_dev_sets_would_lose_are_refused_before_the_first_step(
    tmp_path: Path, dev_sets
):
    offered = {"chinese": dev_sets["chinese"], "english": [replace(dev_sets["english"][0], context="stent")]}
    with pytest.raises(ConfigError, match="decode.prompt=no_turn: data.dev.english gives contexts .* that of 'e1'"):
        make_validator(tmp_path, offered, decoding=decoding(prompt=PromptForm.no_turn))
    make_validator(tmp_path, dev_sets, decoding=decoding(prompt=PromptForm.no_turn))


@pytest.mark.parametrize("batch_seconds", [1.9, 3.0, 100.0])
def test_batching_does_not_change_the_loss(tmp_path: Path, dev_sets, batch_seconds: float):
    figures = make_validator(tmp_path, dev_sets, budget=BatchBudget(batch_seconds))(0)
    nats, count = transformers_loss(dev_sets["english"])
    assert figures["dev/english/loss_nats"] == pytest.approx(nats / count, rel=1e-5)


def test_whisper_is_watched_by_loss_and_words_however_it_is_batched(tmp_path: Path, dev_sets):
    rows = [replace(one, language=None) for one in dev_sets["english"]]
    model = tiny_learner("whisper", window=Window.full)
    found = [
        make_validator(tmp_path, {"dev": rows}, model=model, budget=BatchBudget(seconds))(0) for seconds in (0.6, 100.0)
    ]
    assert found[0]["dev/dev/loss_nats"] == pytest.approx(found[1]["dev/dev/loss_nats"], rel=1e-5)
    assert found[0]["dev/dev/wer_percent"] == found[1]["dev/dev/wer_percent"] > 0
    with torch.no_grad():
        loss = CrossEntropy()(model, model.collator.for_training([load_recording(one) for one in rows]))
    assert found[0]["dev/loss_nats"] == pytest.approx(float(loss.total) / loss.num_targets, rel=1e-5)


def test_the_error_rate_is_the_mean_over_sets_of_wer_or_cer(tmp_path: Path, dev_sets, capsys: pytest.CaptureFixture):
    figures = make_validator(tmp_path, dev_sets)(7)
    assert figures["dev/english/wer_percent"] == pytest.approx(30.0)  # 3 of 10 words, pooled
    assert figures["dev/chinese/cer_percent"] == pytest.approx(25.0)
    assert figures["dev/error_rate"] == pytest.approx((30.0 + 25.0) / 2)
    loss = f"{figures['dev/loss_nats']:.3f}"
    assert capsys.readouterr().out == f"step 7: dev error rate english 30.0 %, chinese 25.0 %, loss {loss}\n"


def test_a_set_without_words_counts_as_all_wrong_and_not_as_perfect(tmp_path: Path, dev_sets, monkeypatch):
    silent = [replace(u, text="") for u in dev_sets["english"]]
    figures = make_validator(tmp_path, {"silent": silent})(0)
    assert figures["dev/error_rate"] == 100.0
    assert "dev/silent/error_rate" not in figures  # it says nothing of what was learned


def test_outputs_that_are_broken_are_counted(tmp_path: Path, dev_sets):
    english = [replace(u, text="четыре слова по русски") if u.id == "e1" else u for u in dev_sets["english"]]
    figures = make_validator(tmp_path, {"english": english})(0)
    # "the quick brown fox" is in another script than its reference; the other two outputs are not broken.
    assert figures["dev/english/broken_percent"] == 33.33
    assert figures["dev/english/error_rate"] == pytest.approx(70.0)  # 4 + 3 of 10 words


@pytest.mark.parametrize(
    ("asked", "taken"), [("auto", Engine.loop), ("loop", Engine.loop), ("generate", Engine.generate)]
)
def test_no_graphs_are_captured_beside_training(tmp_path: Path, dev_sets, asked: str, taken: Engine):
    validator = make_validator(tmp_path, dev_sets, decoding=decoding(engine=Engine(asked)))
    validator(1)
    assert validator.model.engines == {taken}


def test_samples_are_written_here_and_offered_to_the_tracker(tmp_path: Path, dev_sets):
    tracker = KeepingTracker()
    validator = make_validator(tmp_path, dev_sets, num_samples=2, tracker=tracker)
    validator(3)
    validator(6)
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [(row["step"], row["set"], row["id"]) for row in rows[:4]] == [
        (3, "english", "e1"),
        (3, "english", "e2"),
        (3, "chinese", "z1"),
        (3, "chinese", "z2"),
    ]
    assert (rows[1]["text"], rows[1]["pred_text"]) == ("two small pills a day", "two tall pills")
    assert len(rows) == 8
    assert tracker.offered[1] == (
        3,
        [("z1", "今天好", "今天坏"), ("z2", "好", "好")],
    )


def test_without_samples_nothing_is_written(tmp_path: Path, dev_sets):
    make_validator(tmp_path, dev_sets, tracker=KeepingTracker())(3)
    assert not (tmp_path / "samples.jsonl").exists()


def test_the_line_does_not_tear_an_open_progress_bar(tmp_path: Path, dev_sets, capsys: pytest.CaptureFixture):
    validator = make_validator(tmp_path, dev_sets)
    screen = io.StringIO()  # standard output and error of a terminal are one screen
    with redirect_stderr(screen), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", screen)
        with tqdm(total=3, file=screen):
            validator(1)
    line = next(line for line in screen.getvalue().split("\n") if "step 1: dev error rate" in line)
    assert line.rsplit("\r", 1)[-1].startswith("step 1: dev error rate")


def test_an_unreadable_dev_clip_stops_and_is_named(tmp_path: Path, dev_sets):
    gone = [replace(dev_sets["english"][0], audio=str(tmp_path / "gone.wav"))]
    with pytest.raises(AudioError, match="gone.wav"):
        make_validator(tmp_path, {"english": gone})(0)


def test_settings_of_long_recordings_hold_for_dev_sets_too(tmp_path: Path):
    path = write_wav(tmp_path / "long.wav", tone(6.0))
    long = {"english": [utterance(id="e3", audio=str(path), text="now", language="English", duration_s=6.0)]}
    refusing = decoding(max_duration_s=5.0, long_audio=LongAudio.error)
    with pytest.raises(DataError, match="'e3' lasts 6.0 s"):
        make_validator(tmp_path, long, budget=BatchBudget(10.0), decoding=refusing)(0)
