"""Owns how tests transcribe: the settings a `Decoding` has by default, all utterances by one process, a run of fake models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from qasr_train.manifest import Utterance
from qasr_train.models.base import Recogniser
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.run.device import Machine
from qasr_train.run.processes import ALONE, Processes
from qasr_train.transcription import run
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.run import TranscriptionRun
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import DecodeConfig, Decoding
from qasr_train.transcription.transcribe import transcribe_utterances
from tests.helpers import tone, utterance, write_wav
from tests.helpers_fake_model import FakeModel


def decoding(**changed: Any) -> Decoding:
    """That of a model which takes 1200 s, with these fields of `Decoding` changed."""
    return replace(DecodeConfig().decoding(1200.0), **changed)


def transcribe_all(
    model: Recogniser,
    utterances: Sequence[Utterance],
    *,
    processes: Processes = ALONE,
    set_name: str = "",
    **changed: Any,
) -> list[Prediction]:
    """Predictions of the utterances; changed: fields of `Decoding`."""
    return transcribe_utterances(model, utterances, decoding(**changed), processes, set_name)


def spoken(folder: Path, durations_s: list[float], **fields: object) -> list[Utterance]:
    """Utterances u0, u1, ... of real WAV files of those lengths."""
    made = []
    for number, duration_s in enumerate(durations_s):
        path = write_wav(folder / f"u{number}.wav", tone(duration_s))
        made.append(utterance(id=f"u{number}", audio=str(path), duration_s=duration_s, **fields))
    return made


@dataclass
class Settings:
    """The settings of no job: those of a `TranscriptionConfig`, and one that touches nothing transcribed."""

    model: Qwen3ASRConfig
    decode: DecodeConfig
    run_dir: str
    resume: bool = False
    seed: int = 0
    colour: str = "red"


MakeRun = Callable[..., TranscriptionRun]


def run_maker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Makes runs in folder/run, by a model and with settings changed: "a" of four clips in batches of two, "b" of one."""
    clips = spoken(folder, [1.0, 1.0, 2.0, 2.0])
    sets = [UtteranceSet("a", clips, "target"), UtteranceSet("b", clips[:1])]

    def make_run(model: FakeModel | None = None, **changed: Any) -> TranscriptionRun:
        monkeypatch.setattr(run, "load_model", lambda config, **_: model or FakeModel())
        decode = DecodeConfig(max_batch_rows=2, num_warmup_batches=0, check_batch_invariance=0)
        settings = Settings(Qwen3ASRConfig(path=str(folder / "model")), decode, str(folder / "run"))
        machine = Machine(ALONE, torch.device("cpu"), torch.float32)
        return TranscriptionRun(replace(settings, **changed), sets, machine, "painting", ("colour",))

    return make_run
