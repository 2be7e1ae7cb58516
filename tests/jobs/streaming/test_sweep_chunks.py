"""The sweep of chunk lengths: run whole over a model known to the letter, whose losses by chunk can be worked out by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qasr_train.errors import ConfigError
from qasr_train.jobs.recipes import load_config
from qasr_train.jobs.streaming.sweep_chunks import run, sweep_chunks
from qasr_train.streaming.settings import StreamingConfig
from qasr_train.transcription import run as transcription_run
from tests.helpers import write_wav
from tests.helpers_streaming import SPOKEN_S, HearingModel, speech

WORDS = "red green blue black white brown grey pink".split()


@pytest.fixture
def overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Six recordings of the eight words, with times, and a model that hears them letter by letter."""
    monkeypatch.setattr(transcription_run, "load_model", lambda config, **_: HearingModel(WORDS))
    monkeypatch.setattr(transcription_run, "checkpoint_digest", lambda config: "digest")
    words = [{"text": word, "start": float(n), "end": n + SPOKEN_S} for n, word in enumerate(WORDS)]
    with open(tmp_path / "m.jsonl", "w") as out:
        for number in range(6):
            write_wav(tmp_path / f"{number}.wav", speech(8), subtype="FLOAT")
            row = {"id": str(number), "audio": f"{number}.wav", "text": " ".join(WORDS), "language": "English"}
            out.write(json.dumps(row | {"words": words}) + "\n")
    settings = ["model=tiny", "suite=own", f"suite.manifest={tmp_path / 'm.jsonl'}", f"out={tmp_path / 'sweep'}"]
    return [
        *settings,
        "device=cpu",
        "decode.num_warmup_batches=0",
        "decode.max_batch_rows=1",
        "decode.streaming.unfixed_tokens=6",
    ]


def test_a_stream_that_takes_words_back_passes_and_one_that_only_appends_fails(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chunks of 2.5 s end inside the third and the eighth word, and appending keeps the "um" for both."""
    config: Any = load_config("sweep_chunks", [*overrides, "chunks_s=[4,2.5]", "appending_chunk_s=2.5"])
    sweep = sweep_chunks(config)
    assert sweep.whole_percent == 0.0 and sweep.metric == "wer"
    assert [(one.name, one.error_percent) for one in sweep.points] == [
        ("2.5 s", 0.0),
        ("4 s", 0.0),
        ("2.5 s, appending", 25.0),
    ]
    assert "lost too much (+25.00 points" in sweep.points[2].check.sentence
    # Of chunks of 4 s: words end at 0.8, 1.8 ... of each chunk and stand at its end, 3.2, 2.2, 1.2 and 0.2 s later.
    assert sweep.points[1].seconds("mean_delay_s") == pytest.approx(1.7)
    assert sweep.points[1].seconds("first_word_delay_s") == pytest.approx(3.2)
    # Recordings of 8 s: four chunks of 2.5 s, two of 4 s, which are free. An appending stream carries on from the second.
    assert [(one.num_carried, one.num_recordings) for one in sweep.points] == [(6, 6), (0, 6), (6, 6)]
    folder = tmp_path / "sweep"
    assert {path.name for path in folder.iterdir()} >= {
        "whole",
        "2.5s",
        "4s",
        "2.5s_appending",
        "sweep.json",
        "sweep.html",
    }
    page = (folder / "sweep.html").read_text()
    assert page.count("<svg") == 1 and "2.5 s, appending: lost too much" in page
    record = json.loads((folder / "sweep.json").read_text())
    assert [one["num_carried"] for one in record["points"]] == [6, 0, 6] and ">0 of 6</td>" in page
    assert [one["passed"] for one in record["points"]] == [one.check.passed for one in sweep.points]
    stamp = (folder / "whole" / "scores.json").stat().st_mtime_ns
    capsys.readouterr()
    # What six recordings can tell: no loss seen is surely within 30 points, 25 points seen are not.
    again = ["chunks_s=[4,2.5]", "appending_chunk_s=2.5", "resume=true", "max_loss_points=30"]
    run(load_config("sweep_chunks", [*overrides, *again]))
    assert (folder / "whole" / "scores.json").stat().st_mtime_ns == stamp
    page = (folder / "sweep.html").read_text()
    assert "suite own, 6 recordings." in page and ">0 of 6</td>" in page  # read from what was kept
    said = capsys.readouterr().out
    assert "2.5 s: kept (+0.00 points" in said and "2.5 s, appending: cannot be told from a loss beyond" in said


def test_streams_take_their_other_settings_from_decode(overrides: list[str]) -> None:
    config: Any = load_config("sweep_chunks", [*overrides, "chunks_s=[2,1,2]", "decode.streaming.window_s=20"])
    assert config.streams() == {
        "1 s": StreamingConfig(1.0, 2, 6, 20.0),
        "2 s": StreamingConfig(2.0, 2, 6, 20.0),
        "2 s, appending": StreamingConfig(2.0, 0, 0, 20.0),
    }
    assert "2 s, appending" not in load_config("sweep_chunks", [*overrides, "appending_chunk_s=null"]).streams()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["chunks_s=[]"], r"chunks_s=\[\]: nothing to compare"),
        (["chunks_s=[0]"], "chunks_s.0.=0.0: expected at least 0.1"),
        (["chunks_s=[31]"], "longer than the window of 30 s"),
        (["chunks_s=[6]", "decode.max_duration_s=5"], "longer than the window of 5 s"),
        (["model=parakeet_tdt_0.6b_v3"], "parakeet_tdt models do not go on"),
        (["decode.engine=generate"], "cannot stream"),
        (["decode.long_audio=drop"], "long_audio=drop: a stream of any length"),
    ],
)
def test_what_cannot_stream_is_refused_at_load(overrides: list[str], more: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("sweep_chunks", [*overrides, *more])


def test_the_speech_of_these_tests_is_heard_in_seconds() -> None:
    assert np.count_nonzero(speech(1)) == round(SPOKEN_S * 16_000)
