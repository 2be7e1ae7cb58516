"""The recipes run with the network cut off and HF_HUB_OFFLINE=1, and tries no connection."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from qasr_train.config.environment import prepare_environment
from qasr_train.jobs.recipes import RECIPES, load_config
from tests.helpers import tone, write_wav

JOBS = {
    "prepare": ("qasr_train.jobs.prepare", "prepare", ["source.path={m}", "out={out}/prepared"]),
    "show_batch": ("qasr_train.jobs.show_batch", "show_batch", ["data.train.main.path={m}", "out={out}/batch.jsonl"]),
    "finetune": (
        "qasr_train.jobs.finetune",
        "finetune",
        "data.train.main.path={m} data.dev.main.path={m} run_dir={out}/run trainer.num_epochs=null trainer.max_steps=1 "
        "trainer.device=cpu data.num_workers=0 decode.max_new_tokens=2".split(),
    ),
    "evaluate": (
        "qasr_train.jobs.evaluate",
        "evaluate",
        ["suite=own", "suite.manifest={m}", "run_dir={out}/tested", "device=cpu", "decode.max_new_tokens=2"],
    ),
    "score": ("qasr_train.jobs.score", "score", ["predictions={out}/tested", "out={out}/scored"]),
    "compare": (
        "qasr_train.jobs.compare",
        "compare",
        ["baseline={out}/tested", "candidate={out}/scored", "out={out}/compared"],
    ),
    "check_transcripts": (
        "qasr_train.jobs.check_transcripts",
        "check_transcripts",
        "source.path={m} run_dir={out}/checked device=cpu decode.max_new_tokens=2 max_wer_percent=1000".split(),
    ),
    "pseudo_label": (
        "qasr_train.jobs.pseudo_label",
        "pseudo_label",
        "source.path={m} run_dir={out}/labelled device=cpu min_confidence=0 keep_no_speech=true "
        "max_characters_per_s=100 decode.language=reference".split(),
    ),
    "export": ("qasr_train.jobs.export", "export", ["checkpoint=bundled:tiny", "out={out}/exported"]),
}


def test_recipes_in_turn_open_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        write_wav(tmp_path / f"u{number}.wav", tone(0.6))
    rows = [{"id": f"u{n}", "audio": f"u{n}.wav", "text": "one two", "language": "English"} for n in range(2)]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tried: list[Any] = []

    def refuse(_: Any, *address: Any) -> None:
        tried.append(address)
        raise OSError("the network is cut off")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    prepare_environment()
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1" and os.environ["WANDB_ERROR_REPORTING"] == "false"
    for recipe, (module, job, overrides) in JOBS.items():
        overrides = [one.format(m=tmp_path / "m.jsonl", out=tmp_path) for one in overrides]
        if "model" in RECIPES[recipe].groups:
            overrides.append("model=tiny")
        getattr(__import__(module, fromlist=[job]), job)(load_config(recipe, overrides))
        assert tried == [], recipe
