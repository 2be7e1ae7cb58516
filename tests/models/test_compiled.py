"""Compiled layers: the same loss and gradients, compiled once for batches of all shapes, in training alone."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from qasr_train.batch import Batch
from qasr_train.errors import ConfigError
from qasr_train.jobs.finetune import finetune
from qasr_train.jobs.recipes import load_config
from qasr_train.models.blocks.compiled import compile_layers, num_compilations, refuse_compiling
from qasr_train.models.qwen3_asr import model as qwen3_asr_model
from qasr_train.models.qwen3_asr.layouts import save_native
from qasr_train.models.qwen3_asr.model import Qwen3ASR
from qasr_train.models.settings import AdaptConfig, Recompute
from qasr_train.objectives.cross_entropy import CrossEntropy
from tests.helpers import tone, write_wav
from tests.helpers_model import tiny_model, tiny_processor
from tests.models.test_packing import FROZEN, FULL, LORA, RECORDINGS, make_model

# Batches of other numbers of rows, of tokens and of windows.
SHAPES = [[0, 1, 2, 3], [1, 2], [3], [0, 2, 3], [2] * 7, [0]]


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    torch._dynamo.reset()


def compiled_model(adapt: AdaptConfig, recompute: Recompute = Recompute.none, backend: str = "eager") -> Qwen3ASR:
    """Without code generation, so that what is tested is which code is compiled and how often.

    backend: "eager" runs the graphs as they were traced; "aot_eager" derives a backward graph too, in twice the time.
    """
    model = make_model(adapt)
    model.set_gradient_checkpointing(recompute)
    core = model.core.model
    compile_layers([*core.audio_tower.layers, *core.language_model.layers], backend=backend)
    return model


def loss_and_gradients(model: Qwen3ASR, batch: Batch) -> tuple[float, dict[str, torch.Tensor]]:
    model.module.train()
    loss = CrossEntropy()(model, batch).total
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.module.named_parameters() if p.grad is not None}
    model.module.zero_grad(set_to_none=True)
    return float(loss.detach()), found


@pytest.mark.parametrize(
    ("adapt", "recompute", "backend"),
    [
        pytest.param(LORA, Recompute.none, "eager", marks=pytest.mark.slow),
        pytest.param(LORA, Recompute.none, "aot_eager", marks=pytest.mark.slow),
        pytest.param(FULL, Recompute.all, "aot_eager", marks=pytest.mark.slow),
        pytest.param(FROZEN, Recompute.none, "aot_eager", marks=pytest.mark.slow),
    ],
    ids=["lora", "lora, backward graph", "full, recomputed", "frozen encoder"],
)
def test_compiled_once_they_give_the_same_loss_and_gradients_for_every_shape(
    adapt: AdaptConfig, recompute: Recompute, backend: str
):
    plain, compiled, counts = make_model(adapt), compiled_model(adapt, recompute, backend), []
    for rows in SHAPES:
        batch = plain.collator.for_training([RECORDINGS[row] for row in rows])
        before = num_compilations()
        loss, grads = loss_and_gradients(compiled, batch)
        counts.append(num_compilations() - before)
        expected_loss, expected = loss_and_gradients(plain, batch)
        assert loss == pytest.approx(expected_loss, rel=1e-6)
        assert grads.keys() == expected.keys() and len(grads) > 5
        for name, grad in expected.items():
            torch.testing.assert_close(grads[name], grad, rtol=1e-4, atol=1e-4, msg=name)
    assert counts[0] > 0, "nothing was compiled"
    assert counts[1:] == [0] * (len(SHAPES) - 1)


def test_transcribing_compiles_nothing():
    model = compiled_model(FULL)
    model.module.eval()
    before = num_compilations()
    prompts = model.collator.for_transcription(RECORDINGS)
    assert model.transcribe(prompts, max_new_tokens=4) == make_model().transcribe(prompts, max_new_tokens=4)
    assert num_compilations() == before


@pytest.mark.parametrize(
    ("device", "names", "variable", "one"), [("cpu", r"g\+\+", "CXX", "g++"), ("cuda", "gcc or clang", "CC", "clang")]
)
def test_without_a_compiler_it_is_refused(monkeypatch: pytest.MonkeyPatch, device, names, variable, one):
    there: set[str] = set()
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there else None)
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(
        ConfigError, match=rf"needs a compiler, and {names} is not on the PATH; .* another in {variable}"
    ):
        refuse_compiling(torch.device(device), is_sharded=False)
    there.add(one)
    refuse_compiling(torch.device(device), is_sharded=False)
    monkeypatch.setenv(variable, "/opt/gone")
    with pytest.raises(ConfigError, match=rf"the compiler that {variable}=/opt/gone names, and it is not there"):
        refuse_compiling(torch.device(device), is_sharded=False)
    there.add("/opt/gone")
    refuse_compiling(torch.device(device), is_sharded=False)


def test_sharded_weights_are_refused():
    with pytest.raises(
        ConfigError, match=r"trainer\.compile=true: layers whose weights are sharded by FSDP or DeepSpeed"
    ):
        refuse_compiling(torch.device("cpu"), is_sharded=True)


@pytest.mark.parametrize("is_asked_for", [pytest.param(True, marks=pytest.mark.slow), False])  # .ci/run runs both
def test_the_setting_compiles_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_asked_for: bool):
    given: list[torch.nn.Module] = []

    def compile_first(layers: Iterable[torch.nn.Module]) -> None:
        given.extend(layers)
        compile_layers(given[:1], backend="eager")

    monkeypatch.setattr(qwen3_asr_model, "compile_layers", compile_first)
    save_native(tiny_model(), tiny_processor(), tmp_path / "model")
    settings = [f"model.path={tmp_path / 'model'}", f"data.train.main.path={write_clips(tmp_path)}", "adapt=full"]
    settings += ["trainer.max_steps=2", "trainer.log_every=1", "trainer.device=cpu", f"run_dir={tmp_path / 'run'}"]
    before = num_compilations()
    finetune(load_config("finetune", [*settings, "data.num_workers=0", f"trainer.compile={is_asked_for}"]))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    counts = [line.get("train/num_compiled_graphs") for line in lines if "train/loss_nats" in line]
    assert counts == ([num_compilations()] * 2 if is_asked_for else [None, None])
    assert (num_compilations() > before) is is_asked_for
    assert len(given) == (4 if is_asked_for else 0)  # two of the encoder, two of the decoder


def write_clips(folder: Path) -> Path:
    """A manifest of four clips of unequal lengths."""
    rows = []
    for number in range(4):
        write_wav(folder / f"{number}.wav", tone(0.6 + 0.7 * number))
        rows.append(json.dumps({"audio": f"{number}.wav", "text": "two pills", "language": "English"}))
    (folder / "rows.jsonl").write_text("\n".join(rows) + "\n")
    return folder / "rows.jsonl"


@pytest.mark.gpu
@pytest.mark.parametrize("adapt", [FULL, LORA], ids=["full", "lora"])
def test_on_a_gpu_compiled_layers_differ_by_the_rounding_of_bfloat16(adapt: AdaptConfig):
    models: dict[str, Any] = {"plain": make_model(adapt), "compiled": make_model(adapt), "exact": make_model(adapt)}
    models["compiled"].compile_layers()
    found: dict[str, list[Any]] = {name: [] for name in models}
    num_graphs = []
    for rows in SHAPES:
        for name, model in models.items():
            model.to("cuda")
            batch = model.collator.for_training([RECORDINGS[row] for row in rows]).to("cuda")
            with torch.autocast("cuda", torch.bfloat16, enabled=name != "exact"):
                found[name].append(loss_and_gradients(model, batch))
        num_graphs.append(num_compilations())
    assert num_graphs[0] > 0 and num_graphs[-1] == num_graphs[0]
    for plain, compiled, exact in zip(found["plain"], found["compiled"], found["exact"], strict=True):
        for one in (plain, compiled):
            assert one[0] == pytest.approx(exact[0], rel=0.01)
            assert relative_error(one[1], exact[1]) < 0.05


def relative_error(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Of all gradients together."""
    off = sum(float((found[name] - grad).square().sum()) for name, grad in expected.items())
    return (off / sum(float(grad.square().sum()) for grad in expected.values())) ** 0.5
