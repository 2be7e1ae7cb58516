"""Serving as a job: refused before a weight is read, ended by Ctrl-C and SIGTERM, warned of other machines."""

import asyncio
import os
import signal
import socket
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qasr_train.audio.decode import load_audio
from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.jobs.recipes import load_config
from qasr_train.jobs.serving import serve as job
from qasr_train.run.device import join_machine
from qasr_train.run.settings import Device, Precision
from qasr_train.serving.engine import recording_of
from tests.helpers import wav_bytes
from tests.helpers_fake_model import FakeModel


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("a model was loaded")


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "find_spec", lambda name: None if name in ("uvicorn", "fastapi") else name)
    with pytest.raises(ConfigError, match=r"^serve needs fastapi, uvicorn, .*: pip install 'qasr_train\[serve\]'$"):
        job.serve(load_config("serve", ["model=tiny"]))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("decode.long_audio=drop", "serve cuts long recordings at silences"),
        ("decode.language=reference", "an upload states no language"),
        ("limits.max_upload_mb=0", "limits.max_upload_mb=0.0: expected more than 0"),
        ("limits.max_behind_s=2", "limits.max_behind_s=2: the microphone is heard 2 s at a time"),
        ("port=70000", "port=70000: expected at least 0 and at most 65535"),
        ("precision=fp16", "fp16"),
        ("decode={streaming:{chunk_s:2},engine:generate}", "decode.engine=generate: cannot stream"),
    ],
)
def test_settings_that_mean_nothing_are_refused(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config("serve", ["model=tiny", override])


def test_requests_ask_for_the_run_by_its_name_not_for_the_checkpoint_in_it(tmp_path: Path) -> None:
    assert load_config("serve", [f"model.path={tmp_path / 'medical'}/"]).name == "medical"
    best = tmp_path / "medical" / "checkpoints" / "best"
    best.mkdir(parents=True)
    (best / "config.json").write_text("{}")
    config = load_config("serve", [f"model.path={tmp_path / 'medical'}/"])
    assert (config.name, config.model.path) == ("medical", str(best))
    assert replace(config, model=replace(config.model, path="other")).name == "medical"
    assert load_config("serve", ["model=tiny", "name=whisper-1"]).name == "whisper-1"


def test_a_command_is_no_model_to_keep() -> None:
    with pytest.raises(ConfigError, match="serve keeps a model in memory"):
        load_config("serve", ["model=command", "model.command='true {manifest} {predictions}'"])


class TestServing:
    """With the packages of the extra."""

    @pytest.fixture(autouse=True)
    def _packages(self) -> None:
        for name in ("fastapi", "uvicorn", "python_multipart", "websockets"):
            pytest.importorskip(name, reason="needs the extra serve")

    def test_a_port_that_is_taken_and_a_strange_address_are_told_before_a_model_is_loaded(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(job, "load_model", never)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(ConfigError, match=f"^port={port}: another program listens there on 127.0.0.1"):
                job.serve(load_config("serve", ["model=tiny", f"port={port}"]))
        with pytest.raises(ConfigError, match=r"^host=192\.0\.2\.1: is no address of this machine"):
            job.serve(load_config("serve", ["model=tiny", "host=192.0.2.1"]))

    def test_no_model_and_no_aligner_are_told_before_a_weight_is_read(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(job, "load_model", never)
        with pytest.raises(CheckpointError, match="no such directory"):
            job.serve(load_config("serve", [f"model.path={tmp_path / 'none'}", "port=0"]))
        with pytest.raises(CheckpointError):
            job.serve(load_config("serve", ["model=tiny", f"aligner.path={tmp_path / 'none'}", "port=0"]))

    @pytest.mark.parametrize(("number", "host"), [(signal.SIGINT, "127.0.0.1"), (signal.SIGTERM, "0.0.0.0")])
    def test_a_signal_ends_it_well_and_other_machines_are_warned_of(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, host: str
    ) -> None:
        monkeypatch.setattr(job, "load_model", lambda *_, **__: FakeModel())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def stop_once_it_answers() -> None:
            for _ in range(200):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                        break
                except OSError:
                    threading.Event().wait(0.02)
            os.kill(os.getpid(), number)

        threading.Thread(target=stop_once_it_answers).start()
        before = signal.getsignal(number)
        assert job.serve(load_config("serve", ["model=tiny", f"port={port}", f"host={host}"])) == 0
        assert signal.getsignal(number) is before
        said = capsys.readouterr().err
        assert f"bundled:tiny-2 is served at http://{host}:{port}/" in said and said.endswith("stopped\n")
        assert ("everybody who reaches this machine" in said) == (host == "0.0.0.0")

    def test_the_bundled_model_hears_an_upload_and_the_microphone_alike(self) -> None:
        """A clip that fits one chunk: the stream's text is that of the whole. Its words have times of the bundled aligner."""
        config = load_config(
            "serve",
            [
                "model=tiny",
                "aligner.path=bundled:tiny-aligner",
                "decode.language=English",
                "decode.streaming.chunk_s=4",
            ],
        )
        engine = job.make_engine(config, join_machine(Device.cpu, Precision.fp32))
        assert engine.ability.listens and engine.ability.times_words
        waveform = 0.1 * np.random.default_rng(0).standard_normal(24_000).astype(np.float32)
        upload = recording_of(wav_bytes(waveform), "r1")
        heard = asyncio.run(engine.hear(upload, None, None, with_words=True))
        session = engine.open_session(None, "")
        assert session.policy.chunk_s == 4
        assert session.feed(load_audio(upload.audio)) == []
        final = session.finish()
        assert final.text == heard.text and final.language == heard.language == "English"
        assert [word.text for one in heard.segments for word in one.words] == heard.text.split()
        engine.close()
