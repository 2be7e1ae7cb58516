"""The run directory: claimed once, never overwritten, and a record of what ran."""

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml

from qasr_train.config.settings import setting
from qasr_train.errors import ConfigError
from qasr_train.run.directory import (
    check_same_config,
    claim_run_dir,
    git_state,
    normalizer_of_record,
    read_run,
    recorded_normalizer,
    release_if_unused,
    run_directory,
    save_provenance,
    unlock_run_dir,
)
from qasr_train.text.normalize import DEFAULT_NORMALIZER
from tests.helpers import ROOT


class Kind(str, Enum):
    """Kinds."""

    one = "one"


@dataclass
class Inner:
    """A section."""

    steps: int = setting(10, help="updates")
    kind: Kind = setting(Kind.one, help="kind")


@dataclass
class Config:
    """A config."""

    inner: Inner = setting(Inner(), help="section")
    names: list[str] = setting(["é"], help="names")
    resume: bool = setting(False, help="whether to go on")


def test_a_new_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    assert claim_run_dir(tmp_path / "a b" / "c") == tmp_path / "a b" / "c"
    assert (tmp_path / "a b" / "c").is_dir()


def test_an_empty_directory_may_be_used(tmp_path: Path) -> None:
    assert claim_run_dir(tmp_path) == tmp_path


def test_a_directory_with_a_run_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    run_dir = claim_run_dir(tmp_path / "x")
    save_provenance(run_dir, Config(), "finetune")
    before = (run_dir / "run.json").read_bytes()
    with pytest.raises(ConfigError) as caught:
        claim_run_dir(run_dir)
    assert str(caught.value) == (
        f"{run_dir}: exists and is not empty; choose another run_dir, or set resume=true to go on with it"
    )
    assert (run_dir / "run.json").read_bytes() == before


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        ConfigError, match="exists and is not empty; choose another run_dir: nothing is ever overwritten"
    ):
        claim_run_dir(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_of_many_claims_at_once_one_succeeds(tmp_path: Path) -> None:
    def claim(_: int) -> bool:
        try:
            claim_run_dir(tmp_path / "x")
        except ConfigError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(claim, range(64))) == 1


def test_of_two_processes_one_succeeds(tmp_path: Path) -> None:
    script = "import sys; from qasr_train.run.directory import claim_run_dir; claim_run_dir(sys.argv[1])"
    command = [sys.executable, "-c", script, str(tmp_path / "x")]
    both = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert sorted(process.wait() for process in both) == [0, 1]


def test_resuming_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        claim_run_dir(tmp_path / "x", resume=True)
    assert (
        str(caught.value)
        == f"resume=true, but {tmp_path / 'x'} holds no run (run.json); check run_dir or set resume=false"
    )
    save_provenance(claim_run_dir(tmp_path / "x"), Config(), "finetune")
    assert claim_run_dir(tmp_path / "x", resume=True) == tmp_path / "x"


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError) as caught:
            claim_run_dir(path)
        assert str(caught.value) == f"{path}: is a file or lies below one; choose a folder for run_dir"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be read or written"):
        claim_run_dir(tmp_path / "x")


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "cannot be read or written (Permission denied); choose a place where you may"),
        (errno.EROFS, "cannot be read or written (Read-only file system); choose a place where you may"),
        (errno.ENOSPC, "no space left on the disk; free some, or choose another output folder"),
    ],
)
def test_what_the_system_refuses_is_told_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, told: str
) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ConfigError) as caught:
        claim_run_dir(tmp_path / "x")
    assert str(caught.value) == f"{tmp_path / 'x'}: {told}"


def test_a_full_disk_leaves_the_earlier_record_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = claim_run_dir(tmp_path / "x")
    save_provenance(run_dir, Config(), "finetune")

    (run_dir / "run.json.part").symlink_to("/dev/full")
    with pytest.raises(ConfigError) as caught:
        save_provenance(run_dir, Config(), "finetune")
    assert str(caught.value) == (
        f"{run_dir / 'run.json'}: no space left on the disk; free some, or choose another output folder"
    )
    assert read_run(run_dir)["recipe"] == "finetune"

    def refuse(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("qasr_train.run.directory.write_whole", refuse)
    with pytest.raises(ConfigError), run_directory(tmp_path / "y", Config(), "finetune"):
        pass
    assert not (tmp_path / "y").exists()


def test_the_record_says_what_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "recipes" / "finetune.py"), "inner.steps=3", "a b"])
    run_dir = claim_run_dir(tmp_path / "x")
    save_provenance(run_dir, Config(Inner(steps=3)), "finetune")
    record = json.loads((run_dir / "run.json").read_text())
    assert record["version"] == 1
    assert record["recipe"] == "finetune"
    assert record["command"] == ["finetune.py", "inner.steps=3", "a b"]
    assert record["config"] == {"inner": {"steps": 3, "kind": "one"}, "names": ["é"], "resume": False}
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"transformers", "torch", "peft", "accelerate", "datasets"} <= set(record["versions"])
    assert record["started_at"].endswith("+00:00")
    assert record["device"]["kind"] in ("cpu", "cuda")
    assert os.uname().nodename not in record["device"].values()
    assert yaml.safe_load((run_dir / "config.yaml").read_text(encoding="utf-8")) == record["config"]


def test_a_resumed_run_adds_its_start_to_the_record(tmp_path: Path) -> None:
    run_dir = claim_run_dir(tmp_path / "x")
    save_provenance(run_dir, Config(), "finetune")
    first = read_run(run_dir)
    save_provenance(claim_run_dir(run_dir, resume=True), Config(resume=True), "finetune")
    record = read_run(run_dir)
    assert [start["config"]["resume"] for start in record.pop("resumed")] == [True]
    assert record == first


def test_of_two_processes_that_go_on_with_one_run_the_second_is_refused(tmp_path: Path) -> None:
    run_dir = claim_run_dir(tmp_path / "x")
    resume = (
        "import sys; from qasr_train.run.directory import claim_run_dir\n"
        "try: claim_run_dir(sys.argv[1], resume=True)\n"
        "except ValueError as error: print(error)"
    )

    def said_by_another() -> str:
        done = subprocess.run([sys.executable, "-c", resume, str(run_dir)], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert claim_run_dir(run_dir, resume=True) == run_dir  # this process goes on with its own
    assert said_by_another() == (
        f"{run_dir}: another process is at work on this run; wait for it, or choose another run_dir"
    )
    unlock_run_dir(run_dir)
    assert said_by_another() == ""


def test_a_worker_that_outlives_its_killed_run_does_not_hold_it(tmp_path: Path) -> None:
    run_dir = tmp_path / "x"
    claim_run_dir(run_dir)
    unlock_run_dir(run_dir)
    killed = (
        "import os, signal, sys, time; from qasr_train.run.directory import claim_run_dir\n"
        "claim_run_dir(sys.argv[1], resume=True)\n"
        "if os.fork(): time.sleep(1); os.kill(os.getpid(), signal.SIGKILL)\n"
        "time.sleep(30)"
    )
    subprocess.run([sys.executable, "-c", killed, str(run_dir)], check=False, stdout=subprocess.DEVNULL)
    assert claim_run_dir(run_dir, resume=True) == run_dir
    unlock_run_dir(run_dir)


def test_the_commit_is_the_one_of_the_codes_own_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    assert git_state(tmp_path) is None
    git("init")
    (tmp_path / "other.py").write_text("")
    git("add", "other.py")
    git("commit", "-m", "x")
    assert (
        git_state(tmp_path) is None
    )  # a checkout, but not one that tracks the package: e.g. a virtual environment in it
    (tmp_path / "errors.py").write_text("")
    git("add", "errors.py")
    git("commit", "-m", "y")
    clean = git_state(tmp_path)
    assert clean is not None
    assert (len(clean["commit"]), clean["is_dirty"]) == (40, False)
    (tmp_path / "errors.py").write_text("changed")
    assert git_state(tmp_path) == clean | {"is_dirty": True}


def test_a_run_of_this_checkout_records_its_commit(tmp_path: Path) -> None:
    if subprocess.run(["git", "-C", str(ROOT), "rev-parse"], capture_output=True, check=False).returncode:
        pytest.skip("not a git checkout")
    save_provenance(claim_run_dir(tmp_path / "x"), Config(), "finetune")
    state = git_state(ROOT / "qasr_train")
    assert state is not None
    assert read_run(tmp_path / "x")["git"] == state


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_state(ROOT / "qasr_train") is None


def test_resuming_with_another_config_names_every_key_that_differs(tmp_path: Path) -> None:
    run_dir = claim_run_dir(tmp_path / "x")
    save_provenance(run_dir, Config(), "finetune")
    check_same_config(run_dir, Config())
    check_same_config(run_dir, Config(resume=True), ignore=["resume"])
    check_same_config(run_dir, Config(Inner(steps=3)), ignore=["inner"])
    with pytest.raises(ConfigError) as caught:
        check_same_config(run_dir, Config(Inner(steps=3), names=["a"], resume=True), ignore=["resume"])
    assert str(caught.value) == (
        f'resume with another config than {run_dir} was started with (inner.steps: 10 -> 3, names: ["é"] -> ["a"]); '
        "give the same settings, or another run_dir"
    )


def test_a_setting_younger_than_the_run_counts_as_its_default(tmp_path: Path) -> None:
    run_dir = claim_run_dir(tmp_path / "x")
    save_provenance(run_dir, Config(), "finetune")
    record = json.loads((run_dir / "run.json").read_text())
    del record["config"]["inner"]["steps"], record["config"]["resume"]
    (run_dir / "run.json").write_text(json.dumps(record))
    check_same_config(run_dir, Config())
    with pytest.raises(ConfigError, match=r"\(inner.steps: 10 -> 3\)"):
        check_same_config(run_dir, Config(Inner(steps=3)))


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run.json: no such file; .* is not the folder of a run"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text('{"version": 1')
    with pytest.raises(ConfigError, match="is not a complete JSON file"):
        read_run(tmp_path)


def test_a_run_that_failed_before_writing_leaves_the_name_free(tmp_path: Path) -> None:
    with pytest.raises(KeyError), run_directory(tmp_path / "x", Config(), "finetune"):
        raise KeyError
    assert not (tmp_path / "x").exists()
    with pytest.raises(KeyError), run_directory(tmp_path / "x", Config(), "finetune") as run_dir:
        (run_dir / "metrics.jsonl").write_text("{}\n")
        raise KeyError
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["config.yaml", "metrics.jsonl", "run.json"]


def test_a_used_directory_is_never_removed(tmp_path: Path) -> None:
    run_dir = claim_run_dir(tmp_path / "x")
    (run_dir / "checkpoints").mkdir()
    assert not release_if_unused(run_dir)
    assert run_dir.is_dir()
    assert (run_dir / "run.json").is_file()


@pytest.mark.parametrize("recorded", [{"normalizer": "qasr-1"}, {"suite": {"name": "own", "normalizer": "qasr-1"}}])
def test_a_resumed_run_keeps_the_rules_it_began_with(tmp_path: Path, capsys: Any, recorded: dict[str, Any]) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"config": recorded}))
    assert recorded_normalizer(tmp_path, DEFAULT_NORMALIZER, resume=True) == "qasr-1"
    assert capsys.readouterr().out == (
        f"note: {tmp_path} was begun with normalizer=qasr-1, which stays; recipes/score.py scores by qasr-2\n"
    )
    # Other rules than today's default are the user's own words; a run that is not resumed keeps nothing.
    assert recorded_normalizer(tmp_path, "none", resume=True) == "none"
    assert recorded_normalizer(tmp_path, DEFAULT_NORMALIZER, resume=False) == DEFAULT_NORMALIZER
    assert normalizer_of_record(tmp_path / "nowhere") is None
    assert capsys.readouterr().out == ""
