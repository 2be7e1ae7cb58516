"""Whisper on two processes of a CPU as Qwen3-ASR in test_two_processes.py, some of whose rows name no language. Slow."""

import math
from pathlib import Path

import pytest
import torch
from transformers import WhisperForConditionalGeneration

from qasr_train.training.checkpoint import checkpoint_path
from tests.helpers_trainer import gradients_of_one_step, make_trainer, make_validator
from tests.helpers_two_processes import run_two_processes
from tests.training import worker
from tests.training.test_two_processes import KINDS, read
from tests.training.worker import ADAPT, SPLITS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two processes."""
    return run_two_processes(tmp_path_factory.mktemp("two_whisper"), "whisper")


@pytest.mark.parametrize("split", list(SPLITS))
@pytest.mark.parametrize("adapt", list(ADAPT))
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_of_one_process(out: Path, tmp_path: Path, utterances, kind, adapt, split):
    rows = worker.with_some_languages(utterances)
    trainer = make_trainer(tmp_path, rows, adapt=ADAPT[adapt], family="whisper", max_grad_norm=None)
    expected_loss, expected = gradients_of_one_step(trainer, [rows[:4]])
    loss, gradients = read(out, kind, f"{adapt}/gradients")[split]
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("adapt", list(ADAPT))
@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_equals_straight_through_and_loads_with_plain_transformers(
    out: Path, kind: str, adapt: str
):
    found = read(out, kind, f"{adapt}/resumed")
    assert found["is_sharded"] is (kind in ("fsdp2", "zero3"))
    assert found["losses"]["resumed"] == found["losses"]["straight"]
    for name, expected in found["weights"]["straight"].items():
        assert torch.equal(found["weights"]["resumed"][name], expected), name
    folder = checkpoint_path(out / kind / adapt / "straight", 4)
    state = WhisperForConditionalGeneration.from_pretrained(folder).state_dict()
    alone = WhisperForConditionalGeneration.from_pretrained(checkpoint_path(out / "ddp" / adapt / "straight", 4))
    for name, expected in alone.state_dict().items():
        torch.testing.assert_close(state[name], expected, rtol=1e-3, atol=1e-3, msg=f"{kind} {name}")


@pytest.mark.parametrize("kind", KINDS)
def test_validation_equals_that_of_one_process(out: Path, tmp_path: Path, utterances, kind: str):
    rows = worker.with_some_languages(utterances)
    expected = make_validator(make_trainer(tmp_path, rows, family="whisper"), rows[:5])(0)
    for found in read(out, kind, "validation"):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-5), name
    assert math.isfinite(expected["dev/error_rate"]) and expected["dev/error_rate"] > 0
