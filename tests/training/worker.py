"""What two processes do in tests: every case once, its results written down for tests/training/test_two_processes.py.

Run by `python -m torch.distributed.run --nproc_per_node 2 tests/training/worker.py OUT CASES`: ddp, all or whisper.
The first process writes OUT/NAME.pt. Of Whisper what belongs to the family alone is done for Qwen3-ASR's tests, all
that differs by model for its own.
"""

import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object

from qasr_train.config.command_line import end_process
from qasr_train.errors import CheckpointError, TrainingError
from qasr_train.manifest import Utterance
from qasr_train.models.blocks.compiled import compile_layers, num_compilations
from qasr_train.models.settings import AdaptConfig
from qasr_train.objectives.rollout_settings import MWERConfig
from qasr_train.run.heartbeat import leave_processes
from qasr_train.run.settings import Precision
from qasr_train.training.checkpoint import checkpoint_path
from qasr_train.training.settings import OnNonFinite
from tests.helpers_trainer import (
    FULL,
    first_epoch_trainer,
    gradients_of_one_step,
    held_to_base,
    load,
    lora,
    losses,
    make_clips,
    make_trainer,
    make_validator,
    weights,
)

KINDS = ["ddp", "fsdp2", *(["zero2", "zero3"] if find_spec("deepspeed") else [])]
ADAPT = {"full": FULL, "lora": lora()}
# The same four clips on one process, shared 1 + 3, and shared as two microbatches of each process.
SPLITS = {"shared": [[[0]], [[1, 2, 3]]], "microbatches": [[[0], [3]], [[1], [2]]]}

HYPOTHESES = MWERConfig(num_hypotheses=3)
REPLAYED = {"u1", "u3"}  # clips that are held to the base, all of them on the second process


def main(out: Path, *, is_whole: bool) -> None:
    """Every case with DDP; is_whole: compiled too, then with FSDP2, then with DeepSpeed where it is installed."""
    utterances = make_clips(out / f"clips{os.environ['RANK']}")
    kinds = KINDS if is_whole else ["ddp"]
    for kind in kinds[:2]:
        choose(kind)
        keep(out / kind / "whisper.pt", unknown_languages(out / kind / "whisper", utterances))
    for kind in kinds:
        choose(kind)
        for name, adapt in ADAPT.items():
            folder = out / kind / name
            keep(folder / "gradients.pt", gradients(folder, utterances, adapt))
            keep(folder / "resumed.pt", resumed(folder, utterances, adapt))
        for case in (skipped, stopped, full_disk, stops_together, low_precision):
            choose(kind)  # forgets the precision of the case before
            keep(out / kind / f"{case.__name__}.pt", case(out / kind / case.__name__, utterances))
        if kind in ("ddp", "fsdp2"):
            choose(kind)
            keep(out / kind / "hypotheses.pt", hypotheses(out / kind / "hypotheses", utterances))
        if kind == "ddp":
            choose(kind)
            keep(out / kind / "held.pt", held(out / kind / "held", utterances))
            choose(kind)
            keep(out / kind / "first_epoch.pt", first_epoch(out / kind / "first_epoch", utterances))
        if kind == "ddp" and is_whole:
            choose(kind)
            keep(out / kind / "compiled.pt", compiled(out / kind / "compiled", utterances))
        choose(kind)
        keep(out / kind / "validation.pt", validation(out / kind / "validation", utterances))
    leave_processes()


def main_whisper(out: Path) -> None:
    """What depends on the model, of Whisper."""
    utterances = with_some_languages(make_clips(out / f"clips{os.environ['RANK']}"))
    for kind in KINDS:
        for name, adapt in ADAPT.items():
            choose(kind)
            folder = out / kind / name
            keep(folder / "gradients.pt", gradients(folder, utterances, adapt, family="whisper"))
            keep(folder / "resumed.pt", resumed(folder, utterances, adapt, family="whisper"))
        choose(kind)
        keep(out / kind / "validation.pt", validation(out / kind / "validation", utterances, family="whisper"))
    leave_processes()


def with_some_languages(utterances: list[Utterance]) -> list[Utterance]:
    """The clips, of which u1 and u3 name no language: where batches are shared 1 + 3, one process alone has the model tell it."""
    return [replace(one, language=None) if one.id in ("u1", "u3") else one for one in utterances]


def unknown_languages(folder: Path, utterances: list[Utterance]) -> tuple[float, dict[str, torch.Tensor]]:
    """(loss, gradients) of one step of Whisper in which the second process alone has rows of no known language."""
    rows = with_some_languages(utterances)
    trainer = make_trainer(folder, rows, family="whisper", max_grad_norm=None)
    return gradients_of_one_step(trainer, [[rows[i] for i in batch] for batch in SPLITS["shared"][rank()]])


def choose(kind: str) -> None:
    """Make the next Accelerator one of this kind."""
    os.environ["ACCELERATE_USE_FSDP"] = str(kind == "fsdp2").lower()
    os.environ["FSDP_VERSION"] = "2"
    os.environ["ACCELERATE_USE_DEEPSPEED"] = str(kind.startswith("zero")).lower()
    os.environ["ACCELERATE_DEEPSPEED_ZERO_STAGE"] = kind[-1]
    AcceleratorState._reset_state(reset_partial_state=True)


def keep(path: Path, result: Any) -> None:
    """Write a result down, on the first process."""
    if rank() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(result, path)


def rank() -> int:
    """This process's number."""
    return int(os.environ["RANK"])


def gradients(folder: Path, utterances: list[Utterance], adapt: AdaptConfig, **given: Any) -> dict[str, Any]:
    """(loss, gradients) of one step over the same clips, split in different ways."""
    found = {}
    for name, split in SPLITS.items():
        rows = [[utterances[i] for i in batch] for batch in split[rank()]]
        trainer = make_trainer(folder, utterances, adapt=adapt, max_grad_norm=None, **given)
        found[name] = gradients_of_one_step(trainer, rows)
    return found


def held(folder: Path, utterances: list[Utterance]) -> tuple[float, dict[str, torch.Tensor]]:
    """(loss, gradients) of one step in which the first process has no row that is held to the base."""
    trainer = make_trainer(
        folder, utterances, adapt=ADAPT["lora"], max_grad_norm=None, objective=held_to_base(REPLAYED)
    )
    return gradients_of_one_step(trainer, [[utterances[i] for i in batch] for batch in SPLITS["shared"][rank()]])


def hypotheses(folder: Path, utterances: list[Utterance]) -> tuple[float, dict[str, torch.Tensor]]:
    """(loss, gradients) of one step on hypotheses, of which the second process draws those of three clips."""
    trainer = make_trainer(folder, utterances, adapt=ADAPT["lora"], max_grad_norm=None, hypotheses=HYPOTHESES)
    return gradients_of_one_step(trainer, [[utterances[i] for i in batch] for batch in SPLITS["shared"][rank()]])


def first_epoch(folder: Path, utterances: list[Utterance]) -> list[dict[str, Any]]:
    """What each process goes by after an epoch of which it heard a part, and after a resume within it."""
    replace(first_epoch_trainer(folder, utterances, 3), num_steps=1).train()
    resumed = first_epoch_trainer(folder, utterances, 3)
    resumed.train(checkpoint_path(folder, 1))
    draws = resumed.data.pools["main"].draws  # type: ignore[attr-defined]
    straight = first_epoch_trainer(folder / "straight", utterances, 3)
    straight.train()
    expected = straight.data.pools["main"].draws  # type: ignore[attr-defined]
    return gather_object([{"resumed": draws.percents.tolist(), "straight": expected.percents.tolist()}])


def compiled(folder: Path, utterances: list[Utterance]) -> tuple[float, dict[str, torch.Tensor]]:
    """(loss, gradients) of one step with compiled layers: their traced graphs, no code generated."""
    trainer = make_trainer(folder, utterances, adapt=ADAPT["full"], max_grad_norm=None)
    core: Any = trainer.step.shared.model.core.model  # type: ignore[attr-defined]
    compile_layers([*core.audio_tower.layers, *core.language_model.layers], backend="eager")
    found = gradients_of_one_step(trainer, [[utterances[i] for i in batch] for batch in SPLITS["shared"][rank()]])
    assert num_compilations() > 0
    return found


def resumed(folder: Path, utterances: list[Utterance], adapt: AdaptConfig, **given: Any) -> dict[str, Any]:
    """Straight to step 4, and stopped after 2 and resumed: losses and weights; the checkpoint's folder."""
    settings: dict[str, Any] = {"adapt": adapt, "num_steps": 4, "save_every": 2, **given}
    straight = make_trainer(folder / "straight", utterances, **settings)
    straight.train()
    first = make_trainer(folder / "resumed", utterances, **settings)
    replace(first, num_steps=2).train()
    second = make_trainer(folder / "resumed", utterances, **settings)
    second.train(checkpoint_path(folder / "resumed", 2))
    return {
        "losses": {name: losses(folder / name) for name in ("straight", "resumed")},
        "weights": {"straight": weights(straight), "resumed": weights(second)},
        "is_sharded": any(
            type(p).__name__ == "DTensor" or hasattr(p, "ds_id") for p in second.step.shared.model.module.parameters()
        ),
    }


def skipped(folder: Path, utterances: list[Utterance]) -> dict[str, Any]:
    """A clip that gives no finite loss, on the second process only; then a good step."""
    trainer = make_trainer(folder, utterances, on_non_finite=OnNonFinite.skip)
    before = weights(trainer)
    bad = load(trainer, utterances[:2])
    if rank() == 1:
        bad.input_features[0, 0, 0] = math.nan
    is_skipped = [trainer.step([bad], 0).is_skipped]
    after = weights(trainer)
    is_skipped += [trainer.step([load(trainer, utterances[:2])], 1).is_skipped]
    later = weights(trainer)
    return {"is_skipped": gather_object([is_skipped]), "before": before, "after": after, "later": later}


def stopped(folder: Path, utterances: list[Utterance]) -> list[str]:
    """What each process says of the same fault when it stops the run."""
    trainer = make_trainer(folder, utterances)
    mine = load(trainer, utterances[2 * rank() : 2 * rank() + 2])
    if rank() == 1:
        mine.input_features[0, 0, 0] = math.nan
    return gather_object([message(TrainingError, lambda: trainer.step([mine], 0))])


def full_disk(folder: Path, utterances: list[Utterance]) -> list[str]:
    """What each process says when the first one cannot write."""
    trainer = make_trainer(folder, utterances, num_steps=1)
    model = trainer.step.shared.model
    write = model.save

    def fail(path: Path | None) -> None:
        write(path)
        if path is not None:
            raise OSError(28, "No space left on device")

    model.save = fail  # type: ignore[method-assign]
    return gather_object([message(CheckpointError, trainer.train)])


def stops_together(folder: Path, utterances: list[Utterance]) -> list[tuple[int, int | None]]:
    """The last and the best step of each process, where figures stop falling after the second validation."""
    figures = iter([9.0, 5.0, 3.0, 4.0, 4.5, 1.0])
    trainer = make_trainer(
        folder,
        utterances,
        num_steps=20,
        validate_every=1,
        patience=2,
        validate=lambda step: {"dev/error_rate": next(figures), "dev/loss_nats": 0.0},
    )
    state = trainer.train()
    return gather_object([(state.step, state.best_step)])


def low_precision(folder: Path, utterances: list[Utterance]) -> dict[str, Any]:
    """Loss and type of the gradients of one step in bfloat16."""
    trainer = make_trainer(folder, utterances, max_grad_norm=None, precision=Precision.bf16)
    loss, caught = gradients_of_one_step(trainer, [[utterances[i] for i in SPLITS["shared"][rank()][0]]])
    return {"loss": loss, "types": {str(gradient.dtype) for gradient in caught.values()}}


def validation(folder: Path, utterances: list[Utterance], **given: Any) -> list[dict[str, float]]:
    """The figures each process gets of five dev clips, of which one process transcribes more than the other."""
    trainer = make_trainer(folder, utterances, **given)
    validator = make_validator(trainer, utterances[:5])
    first = validator(0)
    trainer.step([load(trainer, utterances[:2])], 0)  # training goes on after weights were held whole
    return gather_object([first])


def message(kind: type[Exception], action: Callable[[], Any]) -> str:
    """The text of the error an action raises, "" if none."""
    try:
        action()
    except kind as error:
        return str(error)
    return ""


def run(out: Path, cases: str) -> None:
    """cases: ddp, all or whisper."""
    if cases == "whisper":
        main_whisper(out)
    else:
        main(out, is_whole=cases == "all")


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2])
    end_process(0)
