"""Tests of the harness itself, by hand-made clients and lists; they install nothing and run with all others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, SHARED, needs_shared
from tests.interop import environments, exports
from tests.interop.clips import by_turns
from tests.interop.environments import LISTS, last_line, python_of
from tests.interop.exports import Exports
from tests.interop.test_clients import CLIENTS, SHORTEST_S, WINDOW_S, Client, ask, differences, refuse_missing

ALL = [client for clients in CLIENTS.values() for client in clients]


def test_every_client_has_its_script_and_its_list_of_whole_pins() -> None:
    scripts = {path.stem for path in (ROOT / "tests/interop/clients").glob("*.py")}
    assert {client.script for client in ALL} == {
        name for name in scripts if name.startswith(("qwen3_asr_", "whisper_"))
    }
    lists = {path.stem: path.read_text(encoding="utf-8").splitlines() for path in LISTS.glob("*.txt")}
    assert {client.environment for client in ALL if client.environment} == set(lists)
    for name, lines in lists.items():
        assert all(line.startswith("#") or line.count("==") == 1 for line in lines), name
        assert not any(line.lower().startswith("torch==") for line in lines), f"{name} would bring another torch"


def test_a_client_whose_file_is_not_there_is_skipped_with_what_to_do(tmp_path: Path) -> None:
    needs = (tmp_path / "converter.py", "the converter of a project")
    with pytest.raises(pytest.skip.Exception, match=rf"needs the converter of a project: put it at {tmp_path}"):
        refuse_missing(Client("x", "x", needs=needs))
    needs[0].write_text("")
    refuse_missing(Client("x", "x", needs=needs))


def test_an_environment_that_pip_cannot_make_skips_with_pips_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd.txt").write_text("nothing==1\n")
    monkeypatch.setattr(environments, "LISTS", tmp_path)
    monkeypatch.setattr(environments, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(environments.venv, "create", lambda folder, **named: site(folder).mkdir(parents=True))
    failed = subprocess.CompletedProcess([], 1, "", "a warning\nERROR: no nothing==1\n\n")
    monkeypatch.setattr(environments.subprocess, "run", lambda *positional, **named: failed)
    with pytest.raises(pytest.skip.Exception, match=r"^odd: pip could not install it: ERROR: no nothing==1$"):
        python_of("odd")
    assert last_line("") == "it said nothing"


def test_an_environment_is_made_once_and_again_after_its_list_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def pip(command: list[str], **named: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    (tmp_path / "odd.txt").write_text("nothing==1\n")
    monkeypatch.setattr(environments, "LISTS", tmp_path)
    monkeypatch.setattr(environments, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(
        environments.venv, "create", lambda folder, **named: site(folder).mkdir(parents=True, exist_ok=True)
    )
    monkeypatch.setattr(environments.subprocess, "run", pip)
    first = python_of("odd")
    assert python_of("odd") == first == tmp_path / "cache/environments/odd/bin/python"
    assert len(commands) == 1
    assert "--no-deps" in commands[0]
    (tmp_path / "odd.txt").write_text("nothing==2\n")
    python_of("odd")
    assert len(commands) == 2


def site(folder: Path) -> Path:
    return folder / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def test_what_differs_is_listed_with_its_clip() -> None:
    clips = [{"id": "a", "duration": 1.0}, {"id": "b", "duration": 9.0}]
    assert differences(clips, ["x", "y"], ["x", "z"]) == [(9.0, "  b (9.00 s)\n    'y'\n    'z'")]
    assert differences(clips, ["x", "y"], ["x", "y"]) == []


def test_a_known_reason_excuses_its_own_clips_alone() -> None:
    whole, windows = (
        next(client for client in ALL if client.name.startswith(name)) for name in ("qwen-asr", "qwen-asr, ")
    )
    assert whole.excused(WINDOW_S + 0.1)
    assert not whole.excused(WINDOW_S)
    assert whole.excused(SHORTEST_S - 0.1)
    assert not windows.excused(WINDOW_S + 0.1)


def test_a_client_is_asked_with_its_layout_and_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests/interop/clients").mkdir(parents=True)
    script = "import json, sys; json.dump(sys.argv[1:], open(sys.argv[3], 'w'))"
    (tmp_path / "tests/interop/clients/echo.py").write_text(script)
    monkeypatch.setattr("tests.interop.test_clients.ROOT", tmp_path)
    made = Exports("tiny", {"adapter": tmp_path / "adapter"}, tmp_path / "base", tmp_path / "clips")
    client = Client("x", "echo", layout="adapter", arguments=("peft", "{base}"))
    said = ask(Path(sys.executable), client, made, tmp_path / "out.json")
    adapter, clips = tmp_path / "adapter", tmp_path / "clips/clips.json"
    assert said == [str(path) for path in (adapter, clips, tmp_path / "out.json", "peft", tmp_path / "base")]


def test_our_own_texts_are_heard_once_for_each_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(exports, "hear", lambda made, prompt: asked.append(prompt) or [prompt])
    made = Exports("tiny", {"native": tmp_path}, tmp_path, tmp_path)
    assert [made.texts("own"), made.texts("served"), made.texts("own")] == [["own"], ["served"], ["own"]]
    assert asked == ["own", "served"]


def test_heard_texts_come_in_the_order_of_the_clips(tmp_path: Path) -> None:
    rows = [{"id": "b", "pred_text": "two"}, {"id": "a", "pred_text": "one"}]
    (tmp_path / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "clips.json").write_text(json.dumps([{"id": "a"}, {"id": "b"}]))
    assert exports.read_heard(tmp_path, tmp_path) == ["one", "two"]


@needs_shared
def test_ten_clips_hold_some_that_are_longer_than_a_window() -> None:
    assert SHARED is not None
    lines = (SHARED / "speech/manifest.jsonl").read_text(encoding="utf-8").splitlines()
    ten = by_turns([row for row in map(json.loads, lines) if row["duration"] <= 29])[:10]
    assert sum(row["duration"] > WINDOW_S for row in ten) >= 2
    assert len({row["language"] for row in ten}) == 10
