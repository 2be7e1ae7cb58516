"""An outside system run as a command: what it is given, what it may write, how it fails, and going on after it did."""

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qasr_train.audio.decode import load_audio
from qasr_train.errors import ConfigError, DataError, UserError
from qasr_train.evaluation.settings import NoiseConditionsConfig, Role, SetConfig, SuiteConfig
from qasr_train.jobs.evaluate import evaluate
from qasr_train.jobs.recipes import load_config
from qasr_train.jobs.settings.evaluate import EvaluateConfig
from qasr_train.sources.settings import SourceConfig
from qasr_train.transcription.settings import CommandConfig, DecodeConfig
from tests.helpers import ROOT, tone, write_wav
from tests.helpers_copies import start_script

TEXTS = ["one", "two words", "three words here", "four words stand here"]
# Copies every row of its manifest with the text for its id; what else it does stands in the line put in its place.
SYSTEM = """
import json, os, sys
answers = json.load(open(os.path.join(os.path.dirname(sys.argv[0]), "answers.json")))
rows = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
with open(os.path.join(os.path.dirname(sys.argv[0]), "seen.jsonl"), "a") as seen:
    seen.write(json.dumps(rows) + "\\n")
rows = [row | {"pred_text": answers[row["id"]]} for row in rows]
# HERE
with open(sys.argv[2], "w", encoding="utf-8") as out:
    out.writelines(json.dumps(row) + "\\n" for row in rows)
"""
Run = Callable[..., None]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Four utterances u0 ... u3 of 1, 2, 3 and 4 s, each with a context; u3 is the last 4 s of its file."""
    rows: list[dict[str, Any]] = []
    for number, text in enumerate(TEXTS):
        write_wav(tmp_path / f"u{number}.wav", tone(1.0 + number + (number == 3)))
        row = {"id": f"u{number}", "audio": f"u{number}.wav", "text": text, "language": "English", "context": "drugs"}
        rows.append(row)
    rows[3]["start_s"] = 1.0
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def run(tmp_path: Path, manifest: Path) -> Run:
    """Runs the system, with a line of its own, on one set "ward" (or the sets named)."""

    def run_it(line: str = "", *, sets: tuple[str, ...] = ("ward",), resume: bool = False, **fields: Any) -> None:
        (tmp_path / "answers.json").write_text(json.dumps({f"u{n}": text for n, text in enumerate(TEXTS)}))
        (tmp_path / "my system.py").write_text(SYSTEM.replace("# HERE", line))
        source = SourceConfig(path=str(manifest))
        suite = SuiteConfig(name="t", normalizer="none", sets={name: SetConfig(source=source) for name in sets})
        command = f"{shlex.quote(sys.executable)} '{tmp_path / 'my system.py'}' {{manifest}} {{predictions}} {{set}}"
        options = {name: fields.pop(name) for name in list(fields) if name in ("decode", "suite")}
        evaluate(
            EvaluateConfig(
                model=CommandConfig(command=command, **fields),
                run_dir=str(tmp_path / "run"),
                resume=resume,
                **{"suite": suite, **options},
            )
        )

    return run_it


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def seen(tmp_path: Path) -> list[list[dict[str, Any]]]:
    return rows_of(tmp_path / "seen.jsonl")


def test_a_command_is_scored_and_reported_like_any_system(run: Run, tmp_path: Path) -> None:
    run('rows[1]["pred_text"] = "two birds"', num_parameters=7_000_000, architecture="CTC", languages="English")
    run_dir = tmp_path / "run"
    scores = json.loads((run_dir / "scores.json").read_text())
    assert scores["sets"]["ward"]["wer_percent"] == 10.0  # one word of ten
    rows = rows_of(run_dir / "predictions.jsonl")
    assert [(row["id"], row["set"], row["text"], row["language"]) for row in rows] == [
        (f"u{number}", "ward", text, "English") for number, text in enumerate(TEXTS)
    ]
    assert [row["duration"] for row in rows] == [1.0, 2.0, 3.0, 4.0]
    record = json.loads((run_dir / "run.json").read_text())
    assert (record["num_parameters"], record["system"]["architecture"]) == (7_000_000, "CTC")
    assert (run_dir / "report.html").is_file()
    assert not [path for path in run_dir.iterdir() if path.is_dir()]


def test_speed_is_that_of_the_whole_command_and_says_so(run: Run, tmp_path: Path) -> None:
    run("import time; time.sleep(0.5)")
    rows = rows_of(tmp_path / "run" / "predictions.jsonl")
    assert 0.5 < sum(row["time"] for row in rows) < 20
    assert rows[3]["time"] == pytest.approx(4 * rows[0]["time"])  # shared out by duration
    warnings = json.loads((tmp_path / "run" / "scores.json").read_text())["warnings"]
    assert warnings == [
        "RTFx of ward is made of the wall time of the command, loading included: not to be put beside others' RTFx"
    ]


def test_times_that_every_row_states_are_taken_instead(run: Run, tmp_path: Path) -> None:
    run('rows = [row | {"time": 0.25} for row in rows]')
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert (scores["sets"]["ward"]["rtfx"], scores["warnings"]) == (10.0, [])  # 10 s of audio in 1 s
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["command_time"] == {"ward": "stated in its rows"}


def test_the_command_sees_no_reference_and_hears_each_part_as_a_file(run: Run, tmp_path: Path) -> None:
    run('assert os.path.getsize(rows[3]["audio_filepath"]) in range(128000, 128100), "4 s of 16 bit"')
    [rows] = seen(tmp_path)
    assert {key for row in rows for key in row} == {"id", "audio_filepath", "duration", "context"}
    assert [row["audio_filepath"] for row in rows[:3]] == [str(tmp_path / f"u{number}.wav") for number in range(3)]
    assert rows[3]["duration"] == 4.0


def test_language_and_context_are_given_as_decode_says(run: Run, tmp_path: Path) -> None:
    run(decode=DecodeConfig(language="de", use_context=False))
    [rows] = seen(tmp_path)
    assert [(row["language"], "context" in row) for row in rows] == [("German", False)] * 4
    assert [row["context"] for row in rows_of(tmp_path / "run" / "predictions.jsonl")] == [None] * 4


def test_every_recording_is_a_wav_where_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    run(as_wav=True)
    [rows] = seen(tmp_path)
    assert all(Path(row["audio_filepath"]).name == f"{number:06d}.wav" for number, row in enumerate(rows))


def test_the_command_hears_the_noise_of_a_noise_suite(run: Run, tmp_path: Path, manifest: Path) -> None:
    write_wav(tmp_path / "noises" / "n.wav", tone(5.0, frequency_hz=1000.0))
    suite = SuiteConfig(name="t", normalizer="none", sets={"ward": SetConfig(source=SourceConfig(path=str(manifest)))})
    suite.noise = NoiseConditionsConfig(files=str(tmp_path / "noises"), snrs_db=[0.0])
    run(
        f"import shutil; shutil.copy(rows[0]['audio_filepath'], {str(tmp_path)!r} + '/heard_' + sys.argv[3])",
        suite=suite,
    )
    clean, noisy = (load_audio(str(tmp_path / f"heard_ward@{name}")) for name in ("clean", "0dB"))
    assert (
        np.abs(np.fft.rfft(clean))[1000] < 10 < 1000 < np.abs(np.fft.rfft(noisy))[1000]
    )  # of 1 s, bin 1000 is 1000 Hz
    assert {row["set"] for row in rows_of(tmp_path / "run" / "predictions.jsonl")} == {"ward@clean", "ward@0dB"}


def test_rows_may_be_told_by_their_audio_in_any_order(run: Run, tmp_path: Path) -> None:
    run('rows = [{"audio_filepath": r["audio_filepath"], "pred_text": r["pred_text"]} for r in reversed(rows)]')
    assert [row["pred_text"] for row in rows_of(tmp_path / "run" / "predictions.jsonl")] == TEXTS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            'print("no such GPU", file=sys.stderr); sys.exit(3)',
            r"ended with status 3 on set 'ward' after \d.* s; the last it said: no such GPU$",
        ),
        (
            "os.kill(os.getpid(), 9)",
            r"was ended by SIGKILL \(out of memory\?\) on set 'ward' .*said nothing on stderr$",
        ),
        ("sys.exit(0)", r"ended well on set 'ward' but wrote no \{predictions\} file"),
        (
            "del rows[2:]",
            r"wrote 2 of the 4 utterances of set 'ward', the first missing one is 'u2'; a row it has no text",
        ),
        (
            "rows[1] = rows[0]",
            r"wrote utterance 'u0' of set 'ward' twice \(predictions.jsonl:1 and predictions.jsonl:2\)",
        ),
        ('rows[1]["id"] = "u9"', r"set 'ward', predictions.jsonl:2: id 'u9' is not in the manifest it was given"),
        (
            'rows[1] = {"pred_text": "x"}',
            r"predictions.jsonl:2: has neither an `id` nor an `audio_filepath` of the manifest",
        ),
        ('del rows[1]["pred_text"]', r"predictions.jsonl:2: has no `pred_text`"),
        ('rows[1]["pred_text"] = 5', r"predictions.jsonl:2: `pred_text` is 5; expected str"),
        ('rows = ["x"]', r"predictions.jsonl:1: expected a JSON object, got str"),
    ],
)
def test_what_can_go_wrong_is_one_sentence_and_frees_the_name(
    run: Run, tmp_path: Path, line: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(line)
    assert not (tmp_path / "run").exists()
    run()  # the same command, mended
    assert len(rows_of(tmp_path / "run" / "predictions.jsonl")) == 4


def test_only_sets_that_are_not_done_are_run_again(run: Run, tmp_path: Path) -> None:
    sets = ("a", "b", "c")
    with pytest.raises(
        ConfigError, match=r"status 1 on set 'b' .*\(1 of 3 sets are done: mended, it goes on with resume=true\)"
    ):
        run('if sys.argv[3] == "b": sys.exit(1)', sets=sets)
    run(sets=sets, resume=True)
    assert len(seen(tmp_path)) == 2 + 2
    rows = rows_of(tmp_path / "run" / "predictions.jsonl")
    assert [(row["set"], row["id"]) for row in rows] == [(name, f"u{n}") for name in sets for n in range(4)]
    assert set(json.loads((tmp_path / "run" / "run.json").read_text())["command_time"]) == set(sets)
    with pytest.raises(ConfigError, match=r"model.as_wav: false -> true"):
        run(sets=sets, resume=True, as_wav=True)


def test_a_recording_that_cannot_be_read_fails_without_the_command(run: Run, tmp_path: Path) -> None:
    (tmp_path / "u1.wav").write_bytes(b"<html>")
    run('rows[2] |= {"failed": "no answer"}', decode=DecodeConfig(max_failed_fraction=0.5))
    rows = rows_of(tmp_path / "run" / "predictions.jsonl")
    assert [bool(row["failed"]) for row in rows] == [False, True, False, True]
    assert (rows[3]["failed"], rows[3]["time"]) == ("no answer", None)
    assert [row["id"] for row in seen(tmp_path)[0]] == ["u0", "u2", "u3"]
    (tmp_path / "u0.wav").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"set 'ward': 2 of 4 recordings could not be transcribed"):
        run(resume=False, decode=DecodeConfig(max_failed_fraction=0.25), suite=other(tmp_path))
    assert len(seen(tmp_path)) == 1  # refused before the command ran


def other(tmp_path: Path) -> SuiteConfig:
    """The set again; the first run's directory makes way."""
    (tmp_path / "run").rename(tmp_path / "first")
    source = SourceConfig(path=str(tmp_path / "m.jsonl"))
    return SuiteConfig(name="t", sets={"ward": SetConfig(source=source, role=Role.guard)})


def test_ctrl_c_ends_the_command_and_says_how_to_go_on(tmp_path: Path, manifest: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    )
    arguments = [
        "model=command",
        f'model.command="{shlex.quote(sys.executable)} {shlex.quote(str(script))} {{manifest}} {{predictions}}"',
        "suite=own",
    ]
    given = [*arguments, f"suite.manifest={manifest}", f"run_dir={tmp_path / 'run'}"]
    process = start_script(ROOT / "recipes" / "evaluate.py", given)
    while process.poll() is None and not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2, stderr
    assert stderr.splitlines()[-1].startswith("error: interrupted before the first of 4 utterances was transcribed")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "python theirs.py {manifest}",
            r"model.command=python theirs.py \{manifest\}: has no \{predictions\}; write for",
        ),
        ("no_such_program {manifest} {predictions}", r"model.command: no program 'no_such_program'"),
        ("python 'theirs.py {manifest} {predictions}", r"cannot be split into words \(No closing quotation\)"),
        ("", r"has no \{manifest\}"),
    ],
)
def test_a_command_line_that_cannot_work_is_refused_at_once(command: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CommandConfig(command=command)


def test_a_command_line_needs_no_quotes_of_hydra() -> None:
    command = "python3 -c 'print(1, \"{x}\")' --beam 1,2 {manifest} {predictions}"
    config = load_config(
        "evaluate", ["model=command", f"model.command={command}", "suite=own", "suite.manifest=m", "run_dir=r"]
    )
    assert config.model.words() == ["python3", "-c", 'print(1, "{x}")', "--beam", "1,2", "{manifest}", "{predictions}"]


def test_an_outside_system_is_not_trained() -> None:
    arguments = [
        "model=command",
        "model.command=python3 {manifest} {predictions}",
        "data.train.main.path=m",
        "run_dir=r",
    ]
    with pytest.raises(ConfigError, match=r"model.family='command' is not a family"):
        load_config("finetune", arguments)
