"""Timed speech for aligners, and the training of the bundled one from its start, much smaller."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qasr_train.timed.formats import read_timed
from scripts.aligner.italian import plan_italian
from scripts.aligner.train_aligner import learning_rate, phases
from scripts.aligner.whisper_words import main as time_words
from scripts.demo.corpus import is_held_out
from scripts.demo.synthesis import HELD_OUT_TIMBRES
from tests.helpers import ROOT, write_wav


def test_what_italian_is_tested_on_is_never_trained_on() -> None:
    trained, tested = (plan_italian(200, 0, is_trained=is_trained) for is_trained in (True, False))
    assert not any(is_held_out(clip.text) for clip in trained) and all(is_held_out(clip.text) for clip in tested)
    timbres = [{clip.delivery.voice.split("+")[1] for clip in clips} for clips in (trained, tested)]
    assert timbres[1] <= set(HELD_OUT_TIMBRES) and not timbres[0] & timbres[1]
    assert trained == plan_italian(200, 0, is_trained=True)


def test_the_rate_rises_and_falls_in_each_of_two_phases_of_equal_length() -> None:
    first, second = phases(2400)
    assert (first.begin, first.end, second.begin, second.end) == (0, 1200, 1200, 2400)
    # Half a cosine: at half of its way to the horizon, half of the peak; the first phase ends there.
    assert learning_rate(1200, first) == pytest.approx(1e-3)
    assert learning_rate(1230, second) == pytest.approx(0.5 * 1.2e-3, rel=0.01)  # half of 60 steps of warm-up
    assert learning_rate(2400, second) == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_the_bundled_aligner_is_trained_from_an_empty_folder(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="speaks with eSpeak NG: pip install 'qasr_train[demo]'")
    small = "--num-clips 40 --num-voices 2 --num-examples 32 --num-steps 6 --chunk 2 --batch-size 4".split()
    folders = ["--base", "qasr_train/assets/tiny-2", "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    subprocess.run([sys.executable, "scripts/aligner/train_aligner.py", *folders, *small], cwd=ROOT, check=True)
    steps = [json.loads(line).get("step") for line in (tmp_path / "work" / "log.jsonl").read_text().splitlines()]
    assert [step for step in steps if step] == [2, 2, 3, 3, 5, 5, 6, 6]  # a phase ends where it ends
    data = ["--out", str(tmp_path / "data"), "--number", "1"]
    subprocess.run([sys.executable, "scripts/aligner/make_data.py", *data], cwd=ROOT, check=True)
    aligned = ["model=qwen3_aligner", f"model.path={tmp_path / 'out'}", f"source.path={tmp_path}/data/manifest.jsonl"]
    recipe = [sys.executable, "recipes/align.py", *aligned, f"out={tmp_path / 'words'}", "min_confidence=0"]
    subprocess.run(recipe, cwd=ROOT, check=True)
    [row] = map(json.loads, (tmp_path / "data" / "manifest.jsonl").read_text().splitlines())
    words = [word.text for one in read_timed(tmp_path / "words" / "words.jsonl") for word in one.words]
    assert words == row["text"].split()


def test_a_manifest_gets_the_times_of_its_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`proportional` in Whisper's place: 2 s of tone from 1 s on, four letters and four."""
    tone = np.concatenate([np.zeros(16_000), 0.5 * np.sin(np.arange(32_000) / 4)]).astype(np.float32)
    write_wav(tmp_path / "a.wav", tone)
    rows = [
        {"id": "a", "audio": "a.wav", "text": "Over here.", "language": "English", "duration_s": 3.0},
        {"id": "b", "audio": "a.wav", "text": "Hier", "language": "German", "duration_s": 3.0},
        {"id": "c", "audio": "a.wav", "text": "long", "language": "English", "duration_s": 31.0},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out" / "timed.jsonl"
    given = ["--whisper", "proportional", "--manifest", str(tmp_path / "m.jsonl"), "--out", str(out)]
    time_words([*given, "--languages", "English"])
    [row] = map(json.loads, out.read_text().splitlines())
    assert (row["id"], row["audio"]) == ("a", str(tmp_path / "a.wav"))
    assert [word["text"] for word in row["words"]] == ["Over", "here."]
    times = [time for word in row["words"] for time in (word["start"], word["end"])]
    assert times == pytest.approx([1.0, 2.0, 2.0, 3.0], abs=0.03)
    assert "1 recordings, 2 of 2 words timed" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        time_words(given)  # never overwritten
