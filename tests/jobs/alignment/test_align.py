"""The recipe as a user meets it, with the bundled aligner on clips of tones: what is written, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qasr_train.alignment.text import Alignment, align_text
from qasr_train.errors import ConfigError, DataError, UserError
from qasr_train.jobs.alignment.align import align
from qasr_train.jobs.recipes import load_config
from qasr_train.models.base import Aligner
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances
from qasr_train.timed.beginnings import SpokenText
from qasr_train.timed.formats import read_timed
from tests.helpers import tone, write_wav


def manifest(tmp_path: Path, *rows: dict) -> str:
    write_wav(tmp_path / "a.wav", tone(1.5))
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps({"audio": "a.wav", "language": "English"} | row) + "\n" for row in rows))
    return f"source.path={path}"


def run(tmp_path: Path, source: str, *overrides: str) -> int:
    return align(load_config("align", ["model=tiny_aligner", source, f"out={tmp_path / 'out'}", *overrides]))


def words_of(tmp_path: Path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "out" / "words.jsonl").read_text().splitlines()]


def test_every_format_holds_the_texts_own_words_in_order(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = ({"id": "a", "text": "Two small, pills!"}, {"id": "b", "text": "one", "start": 0.5, "end": 1.5})
    formats = "formats=[jsonl,ctm,textgrid,srt,vtt]"
    assert run(tmp_path, manifest(tmp_path, *rows), formats, "min_confidence=0") == 0
    out = tmp_path / "out"
    words = words_of(tmp_path)
    assert [word["text"] for row in words for word in row["words"]] == ["Two", "small,", "pills!", "one"]
    assert words[1]["start"] == 0.5 and words[1]["words"][0]["start"] >= 0.5, (
        "times are the recording's, not the part's"
    )
    again = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [len(row["words"]) for row in again] == [3, 1]
    [segment] = read_timed(out / "textgrid" / "a.TextGrid")
    assert [word.text for word in segment.words][:2] == ["Two", "small,"]
    assert "Two small, pills!" in (out / "srt" / "a.srt").read_text() and (out / "vtt" / "b.vtt").is_file()
    assert "a 1 " in (out / "words.ctm").read_text()
    assert "2 texts, 4 words, 0 of them not placed" in capsys.readouterr().out


def test_ids_that_would_be_one_file_are_told_apart(tmp_path: Path) -> None:
    rows = ({"id": "x/a", "text": "one"}, {"id": "x_a", "text": "two"})
    assert run(tmp_path, manifest(tmp_path, *rows), "formats=[txt]") == 0
    written = {path.name: path.read_text() for path in (tmp_path / "out" / "txt").iterdir()}
    assert written == {"x_a.txt": "one\n", "x_a-2.txt": "two\n"}


def test_its_manifest_is_a_source_with_word_times_wherever_paths_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest(tmp_path / "data", {"id": "a", "text": "Two small, pills!"})
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path, "source.path=data/m.jsonl", "min_confidence=0") == 0
    [one] = load_utterances(SourceConfig(path="out/manifest.jsonl"), "main")
    assert one.audio == str(tmp_path / "data" / "a.wav")
    spoken = SpokenText.of(one.text or "", one.words)
    assert spoken is not None and spoken.until(1.5) == spoken, (
        "its words are those of the transcript, and all of them over"
    )


def test_a_text_of_another_recording_is_said_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(tmp_path, manifest(tmp_path, {"id": "a", "text": "nobody says this here"}), "max_doubt=0") == 0
    assert "1 texts are likely those of other recordings, the surest that of 'a' (doubt " in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "doubtful.jsonl").read_text())["id"] == "a"


def test_predictions_are_aligned_instead_of_transcripts(tmp_path: Path) -> None:
    heard = tmp_path / "predictions.jsonl"
    heard.write_text(json.dumps({"id": "a", "audio_filepath": "a.wav", "text": "x", "pred_text": "heard words"}) + "\n")
    run(tmp_path, manifest(tmp_path, {"id": "a", "text": "x"}), f"predictions={heard}")
    [row] = words_of(tmp_path)
    assert row["text"] == "heard words"


def test_a_prediction_that_failed_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    heard = tmp_path / "predictions.jsonl"
    rows = [{"id": "a", "pred_text": "heard words"}, {"id": "b", "pred_text": "", "failed": "b.wav: holds no audio"}]
    heard.write_text("".join(json.dumps({"audio_filepath": "a.wav", "text": "x"} | row) + "\n" for row in rows))
    source = manifest(tmp_path, {"id": "a", "text": "x"}, {"id": "b", "text": "x"})
    assert run(tmp_path, source, f"predictions={heard}") == 1
    assert [row["text"] for row in words_of(tmp_path)] == ["heard words"]
    assert "not aligned: b: was not transcribed (b.wav: holds no audio)" in capsys.readouterr().err


def test_stopped_it_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = manifest(
        tmp_path, {"id": "a", "text": "one two"}, {"id": "b", "text": "three"}, {"id": "c", "text": "four"}
    )
    aligned = list[str]()
    stop_at = ["three"]

    def counted(aligner: Aligner, waveform: np.ndarray, text: str, *args: Any, **settings: Any) -> Alignment:
        if text in stop_at:
            raise KeyboardInterrupt
        aligned.append(text)
        return align_text(aligner, waveform, text, *args, **settings)

    monkeypatch.setattr("qasr_train.jobs.alignment.align.align_text", counted)
    with pytest.raises(UserError, match="interrupted after 1 of 3 texts were aligned; the same command goes on"):
        run(tmp_path, source)
    stop_at.clear()
    assert run(tmp_path, source) == 0 and aligned == ["one two", "three", "four"]
    in_two, whole = words_of(tmp_path), tmp_path / "whole"
    monkeypatch.undo()
    assert align(load_config("align", ["model=tiny_aligner", source, f"out={whole}"])) == 0
    assert in_two == [json.loads(line) for line in (whole / "words.jsonl").read_text().splitlines()]

    monkeypatch.setattr("qasr_train.jobs.alignment.align.align_text", counted)
    monkeypatch.setattr(
        "qasr_train.jobs.alignment.align.load_recording", lambda utterance: pytest.fail("decoded again")
    )
    assert run(tmp_path, source, "formats=[ctm,srt]") == 0 and len(aligned) == 3, "other formats cost nothing"
    again = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [row["duration_s"] for row in again] == [1.5] * 3
    with pytest.raises(ConfigError, match="was begun with another model, recogniser, precision or min_confidence"):
        run(tmp_path, source, "min_confidence=0.5")


def test_stopped_it_leaves_what_an_earlier_try_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = manifest(tmp_path, {"id": "a", "text": "one"}, {"id": "b", "text": "two"})
    assert run(tmp_path, source, "formats=[jsonl,srt]") == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("qasr_train.alignment.output.write_timed", stopped)
    with pytest.raises(UserError, match="interrupted after 0 of 2 texts were aligned; the same command goes on"):
        run(tmp_path, source, "formats=[jsonl,srt]")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty, and holds nothing of this job; give a new folder"):
        run(tmp_path, manifest(tmp_path, {"id": "a", "text": "one"}))


def test_mistakes_are_a_sentence_each(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = manifest(tmp_path, {"id": "a", "text": "uno", "language": "Italian"})
    with pytest.raises(
        DataError, match="utterance 'a' is Italian, and the aligner knows English, German, Spanish, French"
    ):
        run(tmp_path, source)
    with pytest.raises(ConfigError, match="models of this family say what was said, not when; use an aligner"):
        run(tmp_path, source, "model=tiny")
    with pytest.raises(ConfigError, match="formats=docx: no such format"):
        run(tmp_path, source, "formats=[docx]")
    with pytest.raises(DataError, match="has no transcript to align"):
        run(tmp_path, manifest(tmp_path, {"id": "a", "text": None}))
    write_wav(tmp_path / "long.wav", tone(5.0))
    with pytest.raises(DataError, match="a recording of 5 s is longer than the 3.4 s the aligner takes at once"):
        run(tmp_path, manifest(tmp_path, {"id": "a", "audio": "long.wav", "text": "one two"}))
    assert (
        run(tmp_path, manifest(tmp_path, {"id": "a", "text": "one"}, {"id": "b", "audio": "gone.wav", "text": "x"}))
        == 1
    )
    assert "not aligned: " in capsys.readouterr().err
