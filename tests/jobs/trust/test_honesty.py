"""The honesty of a model, by commands that know the texts or hear them; planting errors; what is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from qasr_train.audio.decode import load_audio
from qasr_train.config.command_line import exit_status, run_command_line
from qasr_train.jobs.recipes import PROJECT
from tests.helpers import SHARED, needs_shared, tone, write_wav

NUMBERS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
DIGITS = "zero one two three four five six seven eight nine".split()
CALLED = dict(zip(DIGITS, "house river table garden window bridge letter horse summer flower".split(), strict=True))
COMMAND = f"""
import json, sys
manifest, predictions, texts, kind, part = sys.argv[1:]
said = {{row["id"]: row["text"] for row in map(json.loads, open(texts))}}
with open(predictions, "w") as out:
    for row in map(json.loads, open(manifest)):
        text = said[row["id"]]
        if kind == "hears" and part == "masked":
            text = " ".join(word for word in text.split() if word not in {NUMBERS})
        out.write(json.dumps({{"id": row["id"], "pred_text": text, "time": 0.1}}) + "\\n")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty clips of a test set, a command, and the set with planted errors."""
    write_wav(tmp_path / "a.wav", tone(1.0))
    rows = [
        {"id": f"u{n}", "audio": "a.wav", "text": f"give {NUMBERS[n % 8]} drops of {w} every day", "language": "English",
         "speaker": f"s{n % 5}"}
        for n, w in enumerate("aspirin ibuprofen codeine morphine digoxin warfarin heparin insulin".split() * 3)
    ]  # fmt: skip
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "model.py").write_text(COMMAND)
    assert (
        run(
            "prepare",
            f"source.path={tmp_path}/test.jsonl",
            f"out={tmp_path}/out",
            "plant.fraction=0.5",
            "num_workers=0",
        )
        == 0
    )
    return tmp_path


def run(recipe: str, *given: str) -> int:
    return exit_status(lambda: run_command_line(recipe, given, PROJECT))


def probe(folder: Path, kind: str, *given: str) -> int:
    texts = folder / "out" / ("manifest.jsonl" if kind == "knows" else "corrected.jsonl")
    command = f"{sys.executable} {folder}/model.py {{manifest}} {{predictions}} {texts} {kind} {{set}}"
    return run(
        "honesty",
        "model=command",
        f"model.command='{command}'",
        f"source.path={folder}/out/manifest.jsonl",
        f"corrected={folder}/out/corrected.jsonl",
        f"out={folder}/{kind}",
        *given,
    )


def test_who_learned_the_set_lights_up_beside_who_hears_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published, right = (
        [json.loads(line)["text"].split() for line in (folder / "out" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("manifest", "corrected")
    )
    words = [pair for texts in zip(published, right, strict=True) for pair in zip(*texts, strict=True)]
    planted = [ours for ours, theirs in words if ours != theirs]
    assert (len(planted), len(published)) == (12, 24)
    assert probe(folder, "hears") == 0
    assert probe(folder, "knows", f"baseline={folder}/hears") == 1
    said = capsys.readouterr().out
    assert "wrong references: LIGHTS UP: 12 of 12 wrong words that were published are written, 100.0 %" in said
    assert "masked numbers: LIGHTS UP: 24 of 24" in said
    record = json.loads((folder / "hears" / "honesty.json").read_text())
    assert [one["num_hits"] for one in record["probes"][:2]] == [0, 0]
    page = (folder / "knows" / "honesty.html").read_text()
    assert all(f">{word}<" in page for word in planted), "each planted word is an example"
    # Judged again from what is there: the command is not run a second time.
    (folder / "model.py").unlink()
    assert probe(folder, "knows", "resume=true") == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["baseline=nowhere"], "baseline=nowhere: holds no run of honesty"),
        (["normalizer=none"], "normalizer=none holds no two ways of writing to be the same"),
        (["corrected=test.jsonl"], "all its texts are those of the source, so nothing is known to be wrong"),
        (["corrected=others.jsonl"], "none of its 1 ids is one of source.path=test.jsonl, the first there is 'u0'"),
    ],
)
def test_a_mistake_is_a_sentence(
    folder: Path, given: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (folder / "others.jsonl").write_text(json.dumps({"id": "z", "audio": "a.wav", "text": "x"}) + "\n")
    least = [
        "model=command",
        "model.command='python x.py {manifest} {predictions}'",
        "source.path=test.jsonl",
        "out=refused",
    ]
    assert run("honesty", *least, *given) == 2
    assert told in capsys.readouterr().err
    assert not (folder / "refused").exists()


def test_planting_refuses_what_cannot_hold_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "short.jsonl").write_text(json.dumps({"id": "z", "audio": "a.wav", "text": "two pills"}) + "\n")
    given = [f"source.path={folder}/short.jsonl", f"out={folder}/none", "num_workers=0"]
    assert run("prepare", *given, "plant.fraction=1") == 2
    assert "plant.fraction=1: in none of the 1 rows of the split test a word can be planted" in capsys.readouterr().err
    assert run("prepare", *given) == 0 and not (folder / "none" / "corrected.jsonl").exists()


def write_digits(path: Path, first: int) -> None:
    """Two dozen clips of five spoken digits of one person, each digit called by another word: rules join digits to one number."""
    rows = [json.loads(line) for line in (SHARED / "speech" / "manifest.jsonl").read_text().splitlines()]
    takes = [row for row in rows if row["speaker"] == "fsdd-jackson"]
    order = np.random.default_rng(first).permutation(len(takes))[:120]
    lines = []
    for number in range(24):
        chosen = [takes[place] for place in order[5 * number : 5 * number + 5]]
        clip = np.concatenate([load_audio(str(SHARED / "speech" / one["audio"])) for one in chosen])
        write_wav(path.with_name(f"{path.stem}{number}.wav"), clip)
        text = " ".join(CALLED[one["text"]] for one in chosen)
        lines.append({"audio": f"{path.stem}{number}.wav", "text": text, "language": "English"})
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))


@pytest.mark.slow
@needs_shared
def test_a_model_trained_on_test_rows_lights_up_and_one_trained_on_others_does_not(tmp_path: Path) -> None:
    for seed, name in enumerate(("tests", "others")):
        write_digits(tmp_path / f"{name}.jsonl", seed)
        given = [f"source.path={tmp_path}/{name}.jsonl", f"out={tmp_path}/{name}", "plant.fraction=1", "num_workers=0"]
        assert run("prepare", *given) == 0
    hits, status = {}, {}
    for name in ("others", "tests"):
        learning = (
            "adapt=full data.num_workers=0 optim.lr=2e-3 trainer.max_steps=60 data.batch_seconds=60 trainer.device=cpu"
        )
        trained = [f"data.train.main.path={tmp_path}/{name}/manifest.jsonl", f"out={tmp_path}/{name}-trained"]
        assert run("finetune", "model=tiny", *learning.split(), *trained) == 0
        status[name] = run(
            "honesty",
            "model=tiny",
            f"model.path={tmp_path}/{name}-trained/checkpoints/last",
            f"source.path={tmp_path}/tests/manifest.jsonl",
            f"corrected={tmp_path}/tests/corrected.jsonl",
            f"out={tmp_path}/{name}-probed",
            *([f"baseline={tmp_path}/others-probed"] if name == "tests" else []),
        )
        hits[name] = json.loads((tmp_path / f"{name}-probed" / "honesty.json").read_text())["probes"][0]["num_hits"]
    assert status == {"others": 0, "tests": 1}
    assert hits["tests"] > 12 > 6 > hits["others"]
