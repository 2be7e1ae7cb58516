"""Routes as a whole: our decoder, transformers' generate, a command; each in its own process; what is refused."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qasr_train.config.command_line import exit_status, run_command_line
from qasr_train.jobs.recipes import PROJECT
from qasr_train.jobs.settings.evaluate import EvaluateConfig
from qasr_train.jobs.trust import routes as job
from qasr_train.models.locations import resolve_checkpoint
from qasr_train.transcription.sets import UtteranceSet
from tests.helpers import ROOT, tone, write_wav

COMMAND = """
import json, sys
manifest, predictions, said, seconds = sys.argv[1:]
with open(predictions, "w") as out:
    for number, row in enumerate(map(json.loads, open(manifest))):
        text = said if number % 2 else "two small pills"
        out.write(json.dumps({"id": row["id"], "pred_text": text, "time": float(seconds)}) + "\\n")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight clips, and a command that says one thing of every other clip."""
    with open(tmp_path / "test.jsonl", "w") as out:
        for number in range(8):
            write_wav(tmp_path / f"{number}.wav", tone(0.5, frequency_hz=200 + 50 * number))
            row = {"id": f"u{number}", "audio": f"{number}.wav", "text": "two small pills", "language": "English"}
            out.write(json.dumps(row | {"speaker": f"s{number}"}) + "\n")
    (tmp_path / "system.py").write_text(COMMAND)
    return tmp_path


def run(*given: str) -> int:
    return exit_status(lambda: run_command_line("routes", ["model=tiny", *given], PROJECT))


def command(folder: Path, said: str) -> str:
    return f"'{sys.executable} {folder}/system.py {{manifest}} {{predictions}} \"{said}\" 0.25'"


def least(folder: Path) -> list[str]:
    given = [f"source.path={folder}/test.jsonl", f"out={folder}/out", "num_latency_clips=3", "decode.max_new_tokens=4"]
    return [*given, "decode.check_batch_invariance=0", "device=cpu"]


def record(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / "out" / "routes.json").read_text())["routes"]
    return rows


def test_each_route_is_a_row_and_what_is_done_is_not_done_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apart: list[tuple[str, bool]] = []

    def run_here(
        function: Callable[[EvaluateConfig, UtteranceSet], None],
        config: EvaluateConfig,
        clips: UtteranceSet,
        *,
        only_children: bool,
    ) -> tuple[None, int]:
        apart.append((Path(config.run_dir).name, only_children))
        return function(config, clips), 2**30

    monkeypatch.setattr(job, "run_apart", run_here)
    theirs = [f"routes.theirs.command={command(folder, 'two small pills')}", "include_generate=false"]
    status = run(*least(folder), *theirs)
    assert apart == [("ours", False), ("ours_alone", False), ("theirs", True)]
    ours, other = record(folder)
    assert ours["standing"] == "the first" and len(ours["latencies_s"]) == 3
    assert (other["latencies_s"], other["memory_bytes"], other["percent"]) == ([0.25, 0.25, 0.25], 2**30, 0.0)
    alone = (folder / "out" / "ours_alone" / "predictions.jsonl").read_text().splitlines()
    assert len(alone) == 3 and status in (0, 3) and "theirs" in capsys.readouterr().out
    assert run(*least(folder), *theirs, "margin_points=200", "resume=true") == 0
    assert len(apart) == 3 and record(folder)[1]["standing"] == "no worse"
    capsys.readouterr()
    other = [f"routes.theirs.command={command(folder, 'another')}", "include_generate=false", "resume=true"]
    assert run(*least(folder), *other) == 2
    told = capsys.readouterr().err
    assert "routes.theirs.command" in told and "model.command" not in told


@pytest.mark.slow
def test_transformers_generate_and_the_script_of_plain_transformers_say_what_we_say(folder: Path) -> None:
    exported = resolve_checkpoint("bundled:tiny-2")
    script = f"{sys.executable} {ROOT}/scripts/routes/qwen3_asr_transformers.py {exported} {{manifest}} {{predictions}}"
    assert run(*least(folder)[:3], "device=cpu", f"routes.plain.command='{script}'", "routes.plain.as_wav=true") == 0
    ours, generate, plain = record(folder)
    assert (generate["num_equal"], plain["num_equal"]) == (8, 8)
    assert all(one["memory_bytes"] > 10**8 and len(one["latencies_s"]) == 3 for one in (ours, generate, plain))


def test_an_interruption_says_how_to_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "run_apart", interrupted)
    assert run(*least(folder)) != 0
    said = f"interrupted at route 'ours'; what is done is kept: go on with the same command and resume=true out={folder}/out"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["include_generate=false"], "routes={}: there is nothing to compare with; give routes.NAME.command"),
        (["routes.ours.command='python x {manifest} {predictions}'"], "routes.ours: not a name for a route"),
        (["+routes.a.command='python x'"], "routes.NAME.command=python x: has no {manifest}"),
        (["margin_points=-1"], "margin_points=-1.0: expected at least 0"),
        (["model=command", "model.command='python x {manifest} {predictions}'"], "model=command: our own decoder is the first"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence(folder: Path, given: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"source.path={folder}/test.jsonl", f"out={folder}/refused", *given) == 2
    assert told in capsys.readouterr().err
    assert not (folder / "refused").exists()
