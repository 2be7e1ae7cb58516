"""What clients read in our exports is what we read: texts of real clips, one by one; what differs is listed and must be known.

A client is a line of CLIENTS and a script in clients/, run by the Python of its environment. INTEROP_CLIPS is the number of
clips.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import ROOT, needs_shared
from tests.interop.clips import write_clips
from tests.interop.environments import CACHE, python_of
from tests.interop.exports import Exports, make_exports, run

pytestmark = pytest.mark.interop
NUM_CLIPS = int(os.environ.get("INTEROP_CLIPS", "20"))
WINDOW_S = 8.0  # Qwen3-ASR's encoder hears no further
SHORTEST_S = 0.5  # below it qwen-asr fills up with silence
GGUF_CONVERTER = CACHE / "convert-qwen3-asr-to-gguf.py"


@dataclass(frozen=True)
class Client:
    """A program that is to say what we say.

    script: in clients/, called with the export, clips.json and the file its texts go to, then `arguments`.
    layout: of the export. environment: in environments/, None is the project's own. adaptation: what the fine-tune trained.
    prompt: the form (decode.prompt) in which it sends it, and we are asked. needs: a file that the target cannot fetch, and
    what it is.
    leaves_loops: it hands out a loop of repetition whole, where transformers, qwen-asr and we keep one turn of it.
    known: why texts may differ; None: none may. excused: whether those of a clip of so many seconds may, for that reason.
    """

    name: str
    script: str
    layout: str = "native"
    arguments: tuple[str, ...] = ()
    environment: str | None = None
    adaptation: str = "lora"
    prompt: str = "own"
    needs: tuple[Path, str] | None = None
    leaves_loops: bool = False
    known: str | None = None
    excused: Callable[[float], bool] = lambda duration_s: True


ZEROS = "it fills the window with zeros of the log-mel, which is no silence there; see the next client"
WHOLE = "without FlashAttention 2 it hears clips over 8 s whole, not in windows; clips under 0.5 s get silence up to it"
PADDED = "clips under 0.5 s get silence up to it"
NO_AUDIO_HALF = "vLLM leaves out what an adapter holds for encoder and projector, with a line in its log"
WHOLE_GGUF = "it hears clips over 8 s whole, and weights are float16"
CONVERTER = (
    GGUF_CONVERTER,
    "models/convert-qwen3-asr-to-gguf.py of github.com/CrispStrobe/CrispASR (tried at commit 72d3c389), on no package index",
)
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
        Client("transformers 5.17", "qwen3_asr_transformers", environment="transformers_5_17"),
        Client("transformers, newest", "qwen3_asr_transformers", environment="transformers_newest"),
        Client(
            "ourselves over transformers, newest",
            "qwen3_asr_ours",
            arguments=("{root}",),
            environment="transformers_newest",
        ),
        Client("PEFT", "qwen3_asr_transformers", layout="adapter", arguments=("peft", "{base}")),
        Client("AutoPeftModel", "qwen3_asr_transformers", layout="adapter", arguments=("auto", "{base}")),
        Client(
            "qwen-asr",
            "qwen3_asr_qwen_asr",
            layout="original",
            environment="qwen_asr",
            known=WHOLE,
            excused=lambda duration_s: duration_s > WINDOW_S or duration_s < SHORTEST_S,
        ),
        Client(
            "qwen-asr, kept within windows",
            "qwen3_asr_qwen_asr",
            layout="original",
            arguments=("windows",),
            environment="qwen_asr",
            known=PADDED,
            excused=lambda duration_s: duration_s < SHORTEST_S,
        ),
        Client("qasr serve", "qwen3_asr_ours_serve", arguments=("{root}",), environment="openai"),
        Client("vLLM", "qwen3_asr_vllm", environment="vllm", leaves_loops=True),
        Client("vLLM, original layout", "qwen3_asr_vllm", layout="original", environment="vllm", leaves_loops=True),
        Client(
            "vLLM, adapter of the decoder",
            "qwen3_asr_vllm",
            layout="adapter",
            arguments=("{base}",),
            environment="vllm",
            leaves_loops=True,
            adaptation="lora_decoder",
        ),
        Client(
            "vLLM, adapter of every part",
            "qwen3_asr_vllm",
            layout="adapter",
            arguments=("{base}",),
            environment="vllm",
            leaves_loops=True,
            known=NO_AUDIO_HALF,
        ),
        Client("vllm serve", "qwen3_asr_vllm_serve", environment="vllm", leaves_loops=True, prompt="served"),
        Client(
            "vllm serve, adapter of the decoder",
            "qwen3_asr_vllm_serve",
            layout="adapter",
            arguments=("{base}",),
            environment="vllm",
            leaves_loops=True,
            adaptation="lora_decoder",
            prompt="served",
        ),
        Client(
            "CrispASR, GGUF",
            "qwen3_asr_crispasr",
            arguments=("ours", "{root}"),
            environment="crispasr",
            leaves_loops=True,
            known=WHOLE_GGUF,
            excused=lambda duration_s: duration_s > WINDOW_S,
        ),
        Client(
            "CrispASR, GGUF by its own converter",
            "qwen3_asr_crispasr",
            arguments=("converter", str(GGUF_CONVERTER)),
            environment="crispasr",
            needs=CONVERTER,
            leaves_loops=True,
            known=WHOLE_GGUF,
            excused=lambda duration_s: duration_s > WINDOW_S,
        ),
    ],
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interop") / "clips"
    write_clips(folder, NUM_CLIPS)
    return folder


@pytest.fixture(scope="module")
def exports(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Exports]:
    """Makes the exports of a family and of what was trained once."""
    made: dict[tuple[str, str], Exports] = {}

    def of(family: str, adaptation: str) -> Exports:
        key = family, adaptation
        if key not in made:
            made[key] = make_exports(family, adaptation, clips, tmp_path_factory.mktemp("-".join(key)))
        return made[key]

    return of


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
    family: str,
    client: Client,
    exports: Callable[[str, str], Exports],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refuse_missing(client)
    python = python_of(client.environment) if client.environment else Path(sys.executable)
    made = exports(family, client.adaptation)
    if client.layout not in made.folders:
        pytest.skip(f"the checkpoint holds no {client.layout}")
    ours, clips_file = made.texts(client.prompt), made.clips / "clips.json"
    theirs = ask(python, client, made, tmp_path / "texts.json")
    num_loops = 0
    if client.leaves_loops:
        whole, theirs = theirs, without_loops(theirs, made)
        num_loops = sum(a != b for a, b in zip(whole, theirs, strict=True))
    clips = json.loads(clips_file.read_text(encoding="utf-8"))
    differing = differences(clips, ours, theirs)
    with capsys.disabled():
        print(
            f"\n{family}: {client.name}: {len(clips) - len(differing)} of {len(clips)} texts equal, {num_loops} loops taken out"
        )
        print(
            *[line for _, line in differing], *[f"  why: {client.known}"] * bool(client.known and differing), sep="\n"
        )
    assert len(set(ours)) > len(clips) // 4, "texts that are all alike would show nothing"
    unexplained = [line for duration_s, line in differing if not (client.known and client.excused(duration_s))]
    assert not unexplained, "\n".join(unexplained)


def refuse_missing(client: Client) -> None:
    """Skip a client whose file nobody has put there."""
    if client.needs and not client.needs[0].is_file():
        path, what = client.needs
        pytest.skip(f"needs {what}: put it at {path}")


def ask(python: Path, client: Client, made: Exports, out: Path) -> list[str]:
    """Its texts."""
    script = ROOT / "tests/interop/clients" / f"{client.script}.py"
    arguments = [argument.format(base=made.base, root=ROOT) for argument in client.arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    export, clips_file = made.folders[client.layout], made.clips / "clips.json"
    run([str(python), str(script), str(export), str(clips_file), str(out), *arguments], environment)
    return json.loads(out.read_text(encoding="utf-8"))


def without_loops(texts: Sequence[str], made: Exports) -> list[str]:
    """As the processor of transformers leaves them."""
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(made.folders["native"]).extract_transcription(list(texts))


def differences(clips: Sequence[dict], ours: Sequence[str], theirs: Sequence[str]) -> list[tuple[float, str]]:
    """(seconds of the clip, its id and both texts) of each clip that reads otherwise."""
    return [
        (clip["duration"], f"  {clip['id']} ({clip['duration']:.2f} s)\n    {a!r}\n    {b!r}")
        for clip, a, b in zip(clips, ours, theirs, strict=True)
        if a != b
    ]
