"""What leaves the machine and what stays: metrics.jsonl always, to a tracker no path and no transcript unless allowed."""

import json
import math
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qasr_train.config.settings import setting
from qasr_train.errors import ConfigError
from qasr_train.jobs.recipes import load_config
from qasr_train.run.settings import Backend, TrackingConfig, WandbMode
from qasr_train.run.tracking import Tracker, public_settings, tracker_names
from tests.helpers_trainer import launch

SECRET = "/home/secret-person/ward-7"
SENTENCE = "the patient of room nine said this"


class FakeAccelerator:
    """Keeps whatever a tracker would be handed."""

    def __init__(self, *, is_main_process: bool = True, fails: Exception | None = None) -> None:
        self.is_main_process, self.fails = is_main_process, fails
        self.handed: list[Any] = []

    def init_trackers(self, project: str, *, config: dict, init_kwargs: dict) -> None:
        if self.fails:
            raise self.fails
        self.handed.append((project, config, init_kwargs))

    def log(self, values: dict, *, step: int) -> None:
        self.handed.append((step, values))

    def get_tracker(self, name: str) -> "FakeAccelerator":
        self.handed.append(name)
        return self

    def end_training(self) -> None:
        self.handed.append("end")


def make_tracker(run_dir: Path, **fields: Any) -> tuple[Tracker, FakeAccelerator]:
    accelerator = FakeAccelerator(is_main_process=fields.pop("is_main_process", True), fails=fields.pop("fails", None))
    return Tracker(TrackingConfig(**fields), accelerator, run_dir), accelerator


def full_settings() -> Any:
    """The settings of a fine-tune in which every setting that holds a path holds SECRET."""
    overrides = [
        f"model.path={SECRET}/model",
        f"model.base={SECRET}/base",
        f"data.train.target.path={SECRET}/train.jsonl",
        f"data.train.target.audio_root={SECRET}/audio",
        f"data.dev.main.path={SECRET}/dev.jsonl",
        f"run_dir={SECRET}/run",
        "seed=7",
    ]
    return load_config("finetune", overrides)


def lines(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_a_tracker_is_handed_settings_but_no_path(tmp_path: Path):
    tracker, accelerator = make_tracker(tmp_path, backend=Backend.wandb)
    tracker.start(full_settings())
    [(project, settings, _)] = accelerator.handed
    assert project == "qasr_train"
    assert settings["seed"] == 7
    assert settings["optim.lr"] == 2e-4
    assert settings["data.train.target.passes_per_epoch"] == 1.0
    assert settings["adapt.lora.encoder"] == '["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]'
    assert not [key for key, value in settings.items() if SECRET in str(value)]
    assert all(isinstance(value, str | int | float | bool) for value in settings.values())


@dataclass
class Inner:
    rate: float = setting(0.5, help="share; how much")
    kinds: list[str] = setting(["a", "b.*"], help="patterns; which")
    sizes: list[int] = setting([1, 2], help="rows; how many")
    only: dict[str, str] = setting({"speaker": "Mrs Secret"}, help="names -> names; which rows")


@dataclass
class Settings:
    who: str = setting("qasr-1", help="name; of the rules")
    place: str = setting("secret.jsonl", help="path; a file that lies in the current folder")
    note: str = setting("a secret", help="sentences; anything")
    tricked: str = setting("/home/secret/x", help="name; of the suite, but somebody put a path here")
    off: str | None = setting(None, help="name; nothing")
    empty: list[str] = setting([], help="names; none")
    mode: WandbMode = setting(WandbMode.offline, help="choice")
    is_on: bool = setting(True, help="switch")
    inner: Inner = setting(Inner(), help="section")
    sources: dict[str, Inner] = setting({"ward": Inner(rate=1.0)}, help="name -> source")


def test_only_numbers_switches_choices_and_names_are_public():
    assert public_settings(Settings()) == {
        "who": "qasr-1",
        "mode": "offline",
        "is_on": True,
        "inner.rate": 0.5,
        "inner.kinds": '["a", "b.*"]',
        "inner.sizes": "[1, 2]",
        "sources.ward.rate": 1.0,
        "sources.ward.kinds": '["a", "b.*"]',
        "sources.ward.sizes": "[1, 2]",
    }


def test_wandb_is_kept_from_looking_around(tmp_path: Path):
    tracker, accelerator = make_tracker(tmp_path, backend=Backend.wandb, mode=WandbMode.offline, name="first")
    tracker.start(full_settings())
    kwargs = accelerator.handed[0][2]["wandb"]
    assert (kwargs["name"], kwargs["mode"], kwargs["dir"]) == ("first", "offline", str(tmp_path))
    settings = kwargs["settings"]
    assert (settings.host, settings.console) == ("-", "off")
    assert settings.disable_git and settings.disable_code and settings.x_disable_meta and not settings.save_code
    assert settings.x_disable_machine_info and settings.label_disable and not settings.x_save_requirements


@pytest.mark.parametrize(("allow_text", "num_tables"), [(False, 0), (True, 1)])
def test_transcripts_go_out_only_if_allowed(tmp_path: Path, allow_text: bool, num_tables: int):
    tracker, accelerator = make_tracker(tmp_path, backend=Backend.wandb, allow_text=allow_text)
    tracker.log_transcripts([("u1", SENTENCE, "<b>hypothesis")], step=4)
    tables = [values["dev/samples"].html for step, values in (h for h in accelerator.handed if isinstance(h, tuple))]
    assert len(tables) == num_tables
    for table in tables:
        assert f"<tr><td>u1</td><td>{SENTENCE}</td><td>&lt;b&gt;hypothesis</td></tr>" in table


@pytest.mark.parametrize("backend", [Backend.none, Backend.tensorboard])
def test_only_wandb_is_ever_given_transcripts(tmp_path: Path, backend: Backend):
    tracker, accelerator = make_tracker(tmp_path, backend=backend, allow_text=True)
    tracker.log_transcripts([("u1", SENTENCE, "hypothesis")], step=4)
    assert accelerator.handed == []


def test_metrics_are_always_written_and_handed_on_only_where_asked(tmp_path: Path):
    alone, unasked = make_tracker(tmp_path)
    alone.start({"seed": 1})
    alone.log({"train/loss_nats": 1.5, "dev/loss_nats": None}, step=3)
    alone.close()
    [row] = lines(tmp_path)
    assert (row["step"], row["train/loss_nats"], row["dev/loss_nats"]) == (3, 1.5, None)
    assert row["time"] > 1.7e9
    assert unasked.handed == []

    tracker, accelerator = make_tracker(tmp_path, backend=Backend.tensorboard)
    tracker.start(full_settings())
    tracker.log({"train/loss_nats": 1.25, "dev/loss_nats": None}, step=4)
    tracker.close()
    assert [r["step"] for r in lines(tmp_path)] == [3, 4]
    assert accelerator.handed[1:] == [(4, {"train/loss_nats": 1.25}), "end"]


def test_other_processes_write_nothing(tmp_path: Path):
    tracker, accelerator = make_tracker(tmp_path, backend=Backend.wandb, allow_text=True, is_main_process=False)
    tracker.log({"a": math.pi}, step=1)
    tracker.log_transcripts([("u1", SENTENCE, "h")], step=1)
    tracker.forget_after(0)
    assert accelerator.handed == []
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_resume_forgets_the_steps_it_takes_again_and_a_torn_last_line(tmp_path: Path):
    tracker, _ = make_tracker(tmp_path)
    tracker.forget_after(3)  # nothing there yet: nothing to forget
    for step in range(1, 6):
        tracker.log({"train/loss_nats": float(step)}, step=step)
    with open(tmp_path / "metrics.jsonl", "a") as out:
        out.write('{"step": 2, "tra')
    tracker.forget_after(3)
    assert [row["step"] for row in lines(tmp_path)] == [1, 2, 3]
    tracker.log({"train/loss_nats": 9.0}, step=4)
    assert [row["train/loss_nats"] for row in lines(tmp_path)] == [1.0, 2.0, 3.0, 9.0]


def test_a_tracker_that_does_not_start_is_one_sentence(tmp_path: Path):
    tracker, accelerator = make_tracker(tmp_path, backend=Backend.wandb, fails=RuntimeError("no API key"))
    with pytest.raises(
        ConfigError, match=r"tracking=wandb: .*RuntimeError: no API key.*tracking.mode=offline or tracking=none"
    ):
        tracker.start(full_settings())
    tracker.close()  # there is nothing to close
    assert accelerator.handed == []


def test_the_trackers_accelerate_is_asked_for():
    assert tracker_names(TrackingConfig()) == []
    assert tracker_names(TrackingConfig(backend=Backend.tensorboard)) == ["tensorboard"]


def run_real_tracker(run_dir: Path, **fields: Any) -> bytes:
    """All bytes a real tracker wrote below the run directory for two steps and one transcript."""
    run_dir.mkdir(parents=True)
    config = TrackingConfig(**fields)
    accelerator = launch(run_dir, trackers=tracker_names(config))
    tracker = Tracker(config, accelerator, run_dir)
    tracker.start(full_settings())
    for step in (1, 2):
        tracker.log({"train/loss_nats": 0.5 * step}, step=step)
    tracker.log_transcripts([("u1", SENTENCE, "hypothesis")], step=2)
    tracker.close()
    record, give_up_s = b"", time.monotonic() + 20
    while (
        b"train/loss_nats" not in record and time.monotonic() < give_up_s
    ):  # wandb's own process writes a moment later
        written = [p for p in run_dir.rglob("*") if p.is_file() and p.suffix != ".log" and p.name != "metrics.jsonl"]
        record = b"".join(path.read_bytes() for path in written)
        time.sleep(0.05)
    return record


def test_offline_wandb_holds_figures_but_no_path_no_host_and_no_transcript(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "gethostname", lambda: "machine-of-secret-person")
    run_dir = tmp_path / "runs-of-secret-person" / "one"
    record = run_real_tracker(run_dir, backend=Backend.wandb, mode=WandbMode.offline)
    assert b"train/loss_nats" in record
    assert b"optim.lr" in record
    for secret in (b"secret-person", SENTENCE.encode(), str(tmp_path).encode()):
        assert secret not in record
    assert [p.name for p in tmp_path.iterdir()] == ["runs-of-secret-person"]  # nothing beside the run


def test_tensorboard_holds_figures_but_no_path(tmp_path: Path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    record = run_real_tracker(tmp_path / "run", backend=Backend.tensorboard)
    assert b"train/loss_nats" in record
    assert SECRET.encode() not in record and SENTENCE.encode() not in record
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
