"""The recipe as a user meets it, with the bundled aligner on clips of tones: what is written, and what is refused."""

import json
from pathlib import Path

import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.jobs.alignment.align import align
from qasr_train.jobs.recipes import load_config
from qasr_train.timed.formats import read_timed
from tests.helpers import tone, write_wav


def manifest(tmp_path: Path, *rows: dict) -> str:
    write_wav(tmp_path / "a.wav", tone(1.5))
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps({"audio": "a.wav", "language": "English"} | row) + "\n" for row in rows))
    return f"source.path={path}"


def run(tmp_path: Path, source: str, *overrides: str) -> int:
    return align(load_config("align", ["model=tiny_aligner", source, f"out={tmp_path / 'out'}", *overrides]))


def test_every_format_holds_the_texts_own_words_in_order(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = ({"id": "a", "text": "Two small, pills!"}, {"id": "b", "text": "one", "start": 0.5, "end": 1.5})
    formats = "formats=[jsonl,ctm,textgrid,srt,vtt]"
    assert run(tmp_path, manifest(tmp_path, *rows), formats, "min_confidence=0") == 0
    out = tmp_path / "out"
    words = [json.loads(line) for line in (out / "words.jsonl").read_text().splitlines()]
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


def test_a_text_of_another_recording_is_said_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(tmp_path, manifest(tmp_path, {"id": "a", "text": "nobody says this here"}), "max_doubt=0") == 0
    assert "1 texts are likely those of other recordings, the surest that of 'a' (doubt " in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "doubtful.jsonl").read_text())["id"] == "a"


def test_predictions_are_aligned_instead_of_transcripts(tmp_path: Path) -> None:
    heard = tmp_path / "predictions.jsonl"
    heard.write_text(json.dumps({"id": "a", "audio_filepath": "a.wav", "text": "x", "pred_text": "heard words"}) + "\n")
    run(tmp_path, manifest(tmp_path, {"id": "a", "text": "x"}), f"predictions={heard}")
    [row] = [json.loads(line) for line in (tmp_path / "out" / "words.jsonl").read_text().splitlines()]
    assert row["text"] == "heard words"


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
    assert "not read: " in capsys.readouterr().err
