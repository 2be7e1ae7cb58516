"""Whole recordings transcribed: to files and the screen, gone on with after a stop, what cannot be read told at the end."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qasr_train.config.terminal import plain_terminal
from qasr_train.errors import CheckpointError, ConfigError, DataError, UserError
from qasr_train.jobs import transcribe as job
from qasr_train.jobs.recipes import load_config
from qasr_train.jobs.transcribe import transcribe
from qasr_train.models.qwen3_aligner.config import Qwen3AlignerConfig
from qasr_train.timed.base import TimedWord
from qasr_train.timed.formats import FORMATS, read_timed
from qasr_train.transcription import run as transcription
from qasr_train.transcription.recordings import words
from tests.helpers import tone, write_wav
from tests.helpers_fake_model import FakeModel

Run = Callable[..., int]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`calls`: a.wav of 1 s, in/b.wav of 12 s with pauses at 4 and 8 s."""
    write_wav(tmp_path / "calls" / "a.wav", tone(1.0))
    long = tone(12.0)
    for moment_s in (4.0, 8.0):
        long[int((moment_s - 0.3) * 16000) : int((moment_s + 0.3) * 16000)] = 0.0
    write_wav(tmp_path / "calls" / "in" / "b.wav", long)
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Transcribes `calls` by the model given, pieces of at most 5 s, one a batch."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))

    def run_it(model: FakeModel, *overrides: str, files: str = "calls") -> int:
        monkeypatch.setattr(transcription, "load_model", lambda config, **_: model)
        fixed = [
            f"files=[{folder / files}]",
            "decode.max_duration_s=5",
            "decode.max_batch_rows=1",
            "decode.overlap_s=0",
        ]
        return transcribe(load_config("transcribe", ["model=tiny", *fixed, *overrides]))

    return run_it


class Texts(dict[str, str]):
    """Texts by the ids of pieces without what they say of the file's state; of others the id without it."""

    def get(self, key: str, default: Any = None) -> Any:
        name = key.partition("@")[0]
        return super().get(name, name)


def heard(**texts: str) -> FakeModel:
    return FakeModel(texts=Texts({"a#0": "hello", "in/b#0": "one two", "in/b#1": "three", "in/b#2": ""} | texts))


def ids(model: FakeModel) -> list[str]:
    return [one.partition("@")[0] for batch in model.batches for one in batch]


def test_every_format_is_written_beside_the_others_below_out(run: Run, folder: Path) -> None:
    out = folder / "out"
    assert run(heard(), f"out={out}", f"formats=[{','.join(FORMATS)}]") == 0
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and "work" not in path.parts}
    assert written == {f"{name}{one.suffix}" for name in ("a", "in/b") for one in FORMATS.values()}
    assert (out / "in" / "b.txt").read_text() == "one two\nthree\n"
    segments = read_timed(out / "in" / "b.jsonl")
    assert [(one.text, one.language) for one in segments] == [("one two", "English"), ("three", "English")]
    assert [(one.start_s, one.end_s) for one in segments] == [
        pytest.approx((0.0, 3.7), abs=0.05),
        pytest.approx((4.3, 7.7), abs=0.05),
    ]


def test_the_screen_has_text_alone_and_nothing_is_kept(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(FakeModel(texts=Texts()), files="calls/in/b.wav") == 0
    captured = capsys.readouterr()
    assert captured.out == "b#0\nb#1\nb#2\n"
    assert "1 of 1 recordings, 0:00:12 of sound" in captured.err
    assert list((folder / "cache" / "qasr_train").iterdir()) == []
    assert run(heard()) == 0
    assert capsys.readouterr().out == f"{folder}/calls/a.wav:\nhello\n\n{folder}/calls/in/b.wav:\none two\nthree\n\n"


def test_a_pipe_gets_marks_of_direction_as_they_were_heard(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with plain_terminal():
        assert run(FakeModel(texts=Texts({"a#0": "\u202bسلام\u200f"})), files="calls/a.wav") == 0
    assert capsys.readouterr().out == "\u202bسلام\u200f\n"


def test_an_interrupted_transcription_goes_on_with_the_same_command(run: Run, folder: Path) -> None:
    def stop(batch: list[str]) -> None:
        if batch[0].startswith("a#0"):  # the shortest comes last
            raise KeyboardInterrupt

    stopped = heard()
    stopped.before_batch = stop
    for where in (f"out={folder / 'out'}", "formats=[txt]"):  # a folder, the screen
        with pytest.raises(UserError, match=r"interrupted; 3 of 4 utterances are in .*: the same command goes on"):
            run(stopped, where)
        again = heard()
        assert run(again, where) == 0
        assert ids(again) == ["a#0"]
        stopped.batches.clear()
    assert (folder / "out" / "in" / "b.txt").read_text() == "one two\nthree\n"


def test_a_finished_one_gives_other_formats_without_a_model(run: Run, folder: Path) -> None:
    assert run(heard(), f"out={folder / 'out'}") == 0
    idle = heard()
    assert run(idle, f"out={folder / 'out'}", "formats=[srt]", "subtitles.max_line_length=10") == 0
    assert idle.batches == []
    assert read_timed(folder / "out" / "a.srt")[0].text == "hello"


def test_other_settings_are_not_mixed_with_what_is_there(run: Run, folder: Path) -> None:
    assert run(heard(), f"out={folder / 'out'}") == 0
    with pytest.raises(ConfigError, match=r'decode\.language: "auto" -> "German"'):
        run(heard(), f"out={folder / 'out'}", "decode.language=German")


def test_only_what_is_new_or_changed_is_transcribed(run: Run, folder: Path) -> None:
    out = f"out={folder / 'out'}"
    assert run(heard(), out) == 0
    write_wav(folder / "calls" / "c.wav", tone(1.0))
    write_wav(folder / "calls" / "a.wav", tone(1.5))
    later = heard(**{"a#0": "again"})
    assert run(later, out) == 0
    assert sorted(ids(later)) == ["a#0", "c#0"]
    assert [(folder / "out" / f"{name}.txt").read_text() for name in ("a", "in/b", "c")] == [
        "again\n",
        "one two\nthree\n",
        "c#0\n",
    ]


def test_recordings_that_come_while_it_is_stopped_join_what_is_left(run: Run, folder: Path) -> None:
    def stop(batch: list[str]) -> None:
        if batch[0].startswith("a#0"):
            raise KeyboardInterrupt

    stopped, out = heard(), f"out={folder / 'out'}"
    stopped.before_batch = stop
    with pytest.raises(UserError, match="interrupted"):
        run(stopped, out)
    write_wav(folder / "calls" / "c.wav", tone(1.0))
    later = heard()
    assert run(later, out) == 0
    assert sorted(ids(later)) == ["a#0", "c#0"]
    assert (folder / "out" / "in" / "b.txt").read_text() == "one two\nthree\n"


def test_what_cannot_be_read_is_listed_at_the_end_and_the_status_says_so(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "calls" / "notes.wav").write_text("hello")
    assert run(heard(), f"out={folder / 'out'}") == 1
    assert (folder / "out" / "a.txt").is_file() and not (folder / "out" / "notes.txt").exists()
    last = capsys.readouterr().err.rstrip().splitlines()[-1]
    assert last.startswith(f"not read: {folder}/calls/notes.wav: is text, not a recording")
    assert run(heard(), files="calls/notes.wav") == 1


def test_two_channels_are_two_speakers_where_asked(run: Run, folder: Path) -> None:
    write_wav(folder / "pair.wav", np.stack([tone(1.0), tone(1.0)], axis=1))
    model = FakeModel(texts=Texts({"pair:0#0": "hello", "pair:1#0": "hi"}))
    out = folder / "out"
    assert run(model, f"out={out}", "formats=[txt,vtt]", "channels=separate", files="pair.wav") == 0
    assert (out / "pair.txt").read_text() == "Speaker 1: hello\nSpeaker 2: hi\n"
    assert [cue.speaker for cue in read_timed(out / "pair.vtt")] == ["Speaker 1", "Speaker 2"]


class FakeAligner:
    """Every word lasts 0.1 s, the first one begins where the clip does; the last of several is unplaced. Knows no German."""

    family, longest_s, languages = "fake", 60.0, ("English",)

    def split(self, text: str, language: str | None) -> list[str]:
        return text.split()

    def align(self, waveform: np.ndarray, words: Sequence[str], language: str | None) -> tuple[TimedWord, ...]:
        if language == "German":
            raise DataError("the aligner knows no German")
        times = [(0.1 * place, 0.1 * place + 0.1, 0.9) for place in range(len(words))]
        times[1:] = [*times[1:-1], (None, None, 0.0)] if len(times) > 1 else []  # type: ignore[list-item]
        return tuple(TimedWord(word, *time) for word, time in zip(words, times, strict=True))


def test_an_aligner_gives_words_their_times_and_what_has_none_is_told(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "aligner_at", lambda path: Qwen3AlignerConfig(path=path))
    monkeypatch.setattr(words, "load_aligner", lambda config, **_: FakeAligner())
    aligned = [f"out={folder / 'out'}", "formats=[jsonl,ctm]", "aligner.path=there"]
    assert run(heard(), *aligned) == 0
    [hello] = read_timed(folder / "out" / "a.jsonl")
    assert hello.words == (TimedWord("hello", 0.0, 0.1, 0.9),)
    assert (folder / "out" / "in" / "b.ctm").read_text().splitlines()[1].startswith(";; unplaced in/b 1 two")
    assert "1 of 4 words could not be placed" in capsys.readouterr().err
    assert run(heard(), *aligned, "decode.language=German", f"out={folder / 'german'}") == 0
    assert "3 pieces have no word times: the aligner knows no German" in capsys.readouterr().err


def test_a_path_where_no_aligner_lies_is_told_before_anything_is_transcribed(run: Run, folder: Path) -> None:
    idle = heard()
    with pytest.raises(CheckpointError, match="nowhere/at/all: no such directory"):
        run(idle, "aligner.path=nowhere/at/all")
    with pytest.raises(CheckpointError, match="this is a Qwen3-ASR, which transcribes"):
        run(idle, "aligner.path=bundled:tiny-2")
    assert idle.batches == []


def test_a_model_that_is_nowhere_is_told_before_anything_is_decoded(run: Run, folder: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: no such directory"):
        run(heard(), "model.path=nowhere", f"out={folder / 'out'}")
    assert not (folder / "out").exists()


def test_a_command_transcribes_too(run: Run, folder: Path) -> None:
    script = folder / "theirs.py"
    script.write_text(
        "import json, sys\n"
        "rows = [json.loads(line) for line in open(sys.argv[1])]\n"
        "said = [{'id': row['id'], 'pred_text': row['id'].split('@')[0]} for row in rows]\n"
        "open(sys.argv[2], 'w').writelines(json.dumps(row) + '\\n' for row in said)\n"
    )
    command = f"model.command='{sys.executable} {script} {{manifest}} {{predictions}}'"
    assert run(heard(), "model=command", command, f"out={folder / 'out'}") == 0
    assert (folder / "out" / "in" / "b.txt").read_text() == "in/b#0\nin/b#1\nin/b#2\n"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("formats=[mp3]", "formats=mp3: no such format; choose from txt, jsonl"),
        ("formats=[]", "formats is empty"),
        ("formats=[srt,vtt]", "the screen takes one format; give out=FOLDER"),
        ("formats=[srt]", "2 recordings on the screen could not be told apart"),
        ("files=[]", "no recording is named; give files or folders"),
        ("decode.language=reference", "a recording states no language"),
        ("decode.long_audio=drop", "cuts long recordings at silences; leave it split"),
        ("subtitles.min_duration_s=8", "is more than subtitles.max_duration_s=7"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        run(heard(), override)
