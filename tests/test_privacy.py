"""What leaves the machine: everything a fine-tune and an evaluation hand to a tracker is caught and searched for secrets."""

import getpass
import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qasr_train.jobs.evaluate import evaluate
from qasr_train.jobs.finetune import finetune
from qasr_train.jobs.recipes import load_config
from tests.helpers import ROOT, tone, write_wav
from tests.helpers_model import tiny_model, tiny_processor

HOST = "machine-of-secret-person"
WORDS = ["zebra quagmire", "walnut parsnip", "marmalade xylophone"]  # transcripts
TERM = "parsnip"


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, three clips and a manifest; path, ids, speakers, contexts and texts would all tell."""
    folder = tmp_path_factory.mktemp("secret-clinic")
    tiny_model().save_pretrained(folder / "model")
    tiny_processor().save_pretrained(folder / "model")
    rows = []
    for number, text in enumerate(WORDS):
        write_wav(folder / f"clip{number}.wav", tone(0.5 + 0.1 * number))
        row = {"id": f"secret-patient-{number}", "audio": f"clip{number}.wav", "text": text, "language": "English"}
        rows.append(row | {"speaker": f"secret-doctor-{number}", "context": "secret-drug, parsnip"})
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "terms.txt").write_text(TERM + "\n")
    return folder


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """All that Accelerate's trackers are given: settings, figures, tables."""
    from accelerate import tracking

    caught: list[Any] = []
    for tracker in (tracking.WandBTracker, tracking.TensorBoardTracker):
        for method in ("__init__", "store_init_configuration", "log", "log_images", "log_table"):
            original = getattr(tracker, method, None)
            if original is not None:
                monkeypatch.setattr(tracker, method, _catching(original, caught))
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "finetune-of-secret-person.py")])
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return caught


def _catching(original: Callable[..., Any], caught: list[Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        caught.append([_plain(args), _plain({k: v for k, v in kwargs.items() if k not in ("dir", "settings")})])
        return original(self, *args, **kwargs)

    return method


def _plain(value: Any) -> Any:
    """Tables as what they hold."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.html if hasattr(value, "html") else repr(value)


def run_finetune(clinic: Path, run_dir: Path, *overrides: str) -> None:
    sources = [f"data.train.main.path={clinic / 'm.jsonl'}", f"data.dev.guard.path={clinic / 'm.jsonl'}"]
    settings = ["trainer.num_epochs=null", "trainer.max_steps=1", "trainer.validate_every=1", "data.num_workers=0"]
    settings += ["decode.max_new_tokens=3", "trainer.device=cpu", "trainer.num_samples=2"]
    finetune(
        load_config(
            "finetune", [f"model.path={clinic / 'model'}", *sources, *settings, f"run_dir={run_dir}", *overrides]
        )
    )


def run_evaluate(clinic: Path, run_dir: Path, *overrides: str) -> None:
    suite = ["suite=own", f"suite.manifest={clinic / 'm.jsonl'}", f"suite.terms={clinic / 'terms.txt'}"]
    settings = ["decode.max_new_tokens=3", "decode.check_batch_invariance=1", "device=cpu", f"run_dir={run_dir}"]
    evaluate(load_config("evaluate", [f"model.path={clinic / 'model'}", *suite, *settings, *overrides]))


JOBS = {"finetune": run_finetune, "evaluate": run_evaluate}
FIGURE = {"finetune": "dev/guard/wer_percent", "evaluate": "test/set/own/wer_percent"}


def written_by_tracker(run_dir: Path, figure: str) -> bytes:
    """All bytes below the run directory that a tracker would send; wandb's own log files stay on the machine.

    figure: what must be there; wandb's own process may write a moment after the run has closed it.
    """
    record = b""
    give_up_s = time.monotonic() + 20
    while figure.encode() not in record and time.monotonic() < give_up_s:
        folders = [path for path in (run_dir / "wandb", run_dir / "qasr_train") if path.is_dir()]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"]
        # Names of tensorboard's own files hold the machine's name; they are sent to nobody.
        names = [path.name.encode() for path in files if "tfevents" not in path.name]
        record = b" ".join([*names, *(path.read_bytes() for path in files)])
        time.sleep(0.1)
    assert figure.encode() in record, "the tracker was not fed"
    return record


def secrets(tmp_path: Path) -> list[str]:
    paths = [str(tmp_path), str(ROOT), sys.argv[0], "clip0", ".wav", ".jsonl", "terms.txt"]
    user = [getpass.getuser() + "@"]
    return ["secret-", *[word for text in WORDS for word in text.split()], *paths, HOST, *user]


@pytest.mark.parametrize("backend", ["wandb", "tensorboard"])
@pytest.mark.parametrize("job", JOBS)
def test_by_default_no_transcript_recording_path_or_name_of_the_machine_goes_out(
    clinic: Path, tmp_path: Path, handed: list[Any], job: str, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if backend == "tensorboard":
        pytest.importorskip("tensorboard")
    run_dir = tmp_path / "runs of secret-person"
    JOBS[job](clinic, run_dir, f"tracking={backend}", "tracking.mode=offline")
    record, caught = written_by_tracker(run_dir, FIGURE[job]), json.dumps(handed)
    assert FIGURE[job] in caught
    for secret in secrets(tmp_path):
        assert secret.encode() not in record, secret
        if backend == "wandb":  # tensorboard is told the folder it writes to, which the check of its files covers
            assert secret not in caught, secret
    assert not [path for path in run_dir.rglob("*") if path.suffix in (".wav", ".mp3", ".flac")]
    assert not (tmp_path / "home").exists()  # no copies outside the run
    said = capsys.readouterr()
    for word in WORDS[0].split():
        assert word not in said.out + said.err  # logs carry ids, not text


@pytest.mark.parametrize("job", JOBS)
def test_transcripts_go_out_where_they_may(clinic: Path, tmp_path: Path, handed: list[Any], job: str) -> None:
    JOBS[job](clinic, tmp_path / "run", "tracking=wandb", "tracking.mode=offline", "tracking.allow_text=true")
    record, caught = written_by_tracker(tmp_path / "run", FIGURE[job]), json.dumps(handed)
    for one in ("zebra quagmire", "secret-patient-0"):
        assert one in caught and one.encode() in record
    for secret in (str(tmp_path), str(clinic), "secret-doctor", "secret-drug", HOST):
        assert secret not in caught and secret.encode() not in record
    assert not list((tmp_path / "run").rglob("*.wav"))


def test_recordings_go_out_where_they_may_and_bring_no_text(clinic: Path, tmp_path: Path, handed: list[Any]) -> None:
    run_evaluate(clinic, tmp_path / "run", "tracking=wandb", "tracking.mode=offline", "tracking.allow_audio=true")
    written_by_tracker(tmp_path / "run", FIGURE["evaluate"])
    assert len(list((tmp_path / "run" / "wandb").rglob("*.wav"))) == 3
    caught = json.dumps(handed)
    assert "Audio object" in caught
    for secret in ("zebra", "secret-", str(tmp_path)):
        assert secret not in caught
