"""Two processes on a CPU, LoRA and full, DDP, FSDP2 and DeepSpeed: results of one, checkpoints, faults that all agree on.

Both processes are started once and run every case (tests/training/worker.py); without --run-slow those of DDP alone, and
without torchrun, which .ci/run uses.
"""

import math
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from transformers import Qwen3ASRForConditionalGeneration

from qasr_train.training.checkpoint import checkpoint_path, find_fault
from tests.helpers_trainer import gradients_of_one_step, held_to_base, make_trainer, make_validator, weights
from tests.helpers_two_processes import fork_two_processes, run_two_processes
from tests.training import worker
from tests.training.worker import ADAPT, REPLAYED, SPLITS

NO_DEEPSPEED = pytest.mark.skipif("zero2" not in worker.KINDS, reason="deepspeed is not installed")
FSDP2 = pytest.param("fsdp2", marks=pytest.mark.slow)  # .ci/run runs it
KINDS = ["ddp", FSDP2, *(pytest.param(kind, marks=[pytest.mark.slow, NO_DEEPSPEED]) for kind in ("zero2", "zero3"))]


@pytest.fixture(scope="module")
def cases(request: pytest.FixtureRequest) -> str:
    """What the two processes are asked to do."""
    return "all" if request.config.getoption("--run-slow") else "ddp"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, cases: str) -> Path:
    """The results of two processes: with --run-slow as torchrun starts them, else of copies of this one."""
    start = run_two_processes if cases == "all" else fork_two_processes
    return start(tmp_path_factory.mktemp("two"), cases)


def read(out: Path, kind: str, name: str) -> Any:
    return torch.load(out / kind / f"{name}.pt", weights_only=True)


@pytest.mark.parametrize("split", list(SPLITS))
@pytest.mark.parametrize("adapt", list(ADAPT))
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_of_one_process(out: Path, tmp_path: Path, utterances, kind, adapt, split):
    expected_loss, expected = gradients_of_one_step(
        make_trainer(tmp_path, utterances, adapt=ADAPT[adapt], max_grad_norm=None), [utterances[:4]]
    )
    loss, gradients = read(out, kind, f"{adapt}/gradients")[split]
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert gradients.keys() == expected.keys()
    assert sum(float(g.abs().sum()) > 0 for g in expected.values()) > len(expected) // 2
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_rows_held_to_the_base_give_the_gradients_of_one_process(out: Path, tmp_path: Path, utterances):
    results = []
    for replayed in (REPLAYED, set()):
        trainer = make_trainer(
            tmp_path, utterances, adapt=ADAPT["lora"], max_grad_norm=None, objective=held_to_base(replayed)
        )
        results.append(gradients_of_one_step(trainer, [utterances[:4]]))
    (expected_loss, expected), (plain_loss, _) = results
    loss, gradients = read(out, "ddp", "held")
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert loss > plain_loss + 1e-4
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", ["ddp", FSDP2])
def test_hypotheses_give_the_gradients_of_one_process(out: Path, tmp_path: Path, utterances, kind: str):
    trainer = make_trainer(tmp_path, utterances, adapt=ADAPT["lora"], max_grad_norm=None, hypotheses=worker.HYPOTHESES)
    expected_loss, expected = gradients_of_one_step(trainer, [utterances[:4]])
    loss, gradients = read(out, kind, "hypotheses")
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_after_the_first_epoch_both_draw_by_what_either_has_heard(out: Path):
    first, second = read(out, "ddp", "first_epoch")
    assert first == second
    assert first["resumed"] == first["straight"]
    percents = first["straight"]
    assert len(percents) == 6 and len(set(percents)) > 1
    assert fmean(percents) not in percents, "a clip that was not heard would count as the mean of those that were"


@pytest.mark.parametrize("kind", ["ddp", FSDP2])
def test_a_whisper_of_which_one_process_must_tell_a_language_has_the_gradients_of_one(
    out: Path, tmp_path: Path, utterances, kind: str
):
    """The rest of Whisper on two processes: test_two_processes_whisper.py."""
    rows = worker.with_some_languages(utterances)
    trainer = make_trainer(tmp_path, rows, family="whisper", max_grad_norm=None)
    expected_loss, expected = gradients_of_one_step(trainer, [rows[:4]])
    loss, gradients = read(out, kind, "whisper")
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.slow
def test_compiled_layers_give_the_gradients_of_one_process(out: Path, tmp_path: Path, utterances):
    trainer = make_trainer(tmp_path, utterances, adapt=ADAPT["full"], max_grad_norm=None)
    expected_loss, expected = gradients_of_one_step(trainer, [utterances[:4]])
    loss, gradients = read(out, "ddp", "compiled")
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("adapt", list(ADAPT))
@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_equals_straight_through(out: Path, kind: str, adapt: str):
    found = read(out, kind, f"{adapt}/resumed")
    assert found["is_sharded"] is (kind in ("fsdp2", "zero3"))  # ZeRO-2 shards gradients and optimizer alone
    assert found["losses"]["resumed"] == found["losses"]["straight"]
    assert len(found["losses"]["straight"]) == 4
    for name, expected in found["weights"]["straight"].items():
        assert torch.equal(found["weights"]["resumed"][name], expected), name


@pytest.mark.parametrize("adapt", list(ADAPT))
@pytest.mark.parametrize("kind", KINDS)
def test_one_process_goes_on_from_a_checkpoint_of_two(out: Path, tmp_path: Path, utterances, kind: str, adapt: str):
    run_dir = Path(shutil.copytree(out / kind / adapt / "straight", tmp_path / "run", symlinks=True))
    checkpoint = checkpoint_path(run_dir, 4)
    assert find_fault(checkpoint) is None
    trainer = make_trainer(run_dir, utterances, adapt=ADAPT[adapt], num_steps=4)
    trainer.train(checkpoint)  # nothing is left to do: these are the weights that were read
    found = read(out, kind, f"{adapt}/resumed")["weights"]["straight"]
    assert all(torch.equal(found[name], tensor) for name, tensor in weights(trainer).items())
    moments = [key for values in trainer.step.shared.optimizer.state.values() for key in values]
    assert moments.count("exp_avg") == len(found)


@pytest.mark.slow
@pytest.mark.parametrize("adapt", list(ADAPT))
def test_a_sharded_checkpoint_loads_with_plain_transformers(out: Path, adapt: str):
    folders = {kind: checkpoint_path(out / kind / adapt / "straight", 4) for kind in worker.KINDS}
    models = {kind: Qwen3ASRForConditionalGeneration.from_pretrained(folder) for kind, folder in folders.items()}
    for kind, model in models.items():
        for name, expected in models["ddp"].state_dict().items():
            # The same for every key, it changes no attention: its gradient is rounding, of which AdamW makes whole steps.
            if name.endswith("k_proj.bias") and kind.startswith("zero"):
                continue
            torch.testing.assert_close(model.state_dict()[name], expected, rtol=1e-3, atol=1e-4, msg=f"{kind} {name}")
        assert (folders[kind] / "adapter").is_dir() is (adapt == "lora")


@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16_the_loss_is_near_and_gradients_are_float32(out: Path, tmp_path: Path, utterances, kind: str):
    expected, _ = gradients_of_one_step(make_trainer(tmp_path, utterances), [utterances[:4]])
    found = read(out, kind, "low_precision")
    assert found["loss"] == pytest.approx(expected, rel=0.01)
    assert found["loss"] != pytest.approx(expected, rel=1e-7)  # it was not computed in float32
    assert found["types"] == {"torch.float32"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_batch_of_one_process_is_skipped_by_both_and_poisons_nothing(out: Path, cases: str, kind: str):
    found = read(out, kind, "skipped")
    assert found["is_skipped"] == [[True, False], [True, False]]
    assert all(torch.equal(found["before"][name], tensor) for name, tensor in found["after"].items())
    assert any(not torch.equal(found["before"][name], tensor) for name, tensor in found["later"].items())
    assert all(bool(tensor.isfinite().all()) for tensor in found["later"].values())
    warnings = [line for line in (out / "stderr.txt").read_text().splitlines() if "is skipped" in line]
    assert len(warnings) == (len(worker.KINDS) if cases == "all" else 1) and all(
        "step 1 is skipped, its loss is nan; utterances: u0, u1" in w for w in warnings
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_batch_stops_both_and_names_the_utterances_of_the_other(out: Path, kind: str):
    first, second = read(out, kind, "stopped")
    assert first == second
    assert "the loss of step 1 is nan; nothing was updated; look at its utterances (u2, u3)" in first


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_ends_both_with_the_same_sentence(out: Path, kind: str):
    first, second = read(out, kind, "full_disk")
    assert first == second
    assert "could not be saved, the disk is full; no earlier checkpoint exists" in first


@pytest.mark.parametrize("kind", KINDS)
def test_both_stop_at_the_same_step(out: Path, kind: str):
    assert read(out, kind, "stops_together") == [(4, 2), (4, 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_validation_equals_that_of_one_process(out: Path, tmp_path: Path, utterances, kind: str):
    trainer = make_trainer(tmp_path, utterances)
    expected = make_validator(trainer, utterances[:5])(0)
    for found in read(out, kind, "validation"):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-5), name
    assert math.isfinite(expected["dev/error_rate"]) and expected["dev/error_rate"] > 0
