"""Checking transcripts by a model: the order, the limits by metric, what is lost and why, and what the page may hold."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from qasr_train.errors import DataError, UserError
from qasr_train.jobs.check_transcripts import check_transcripts
from qasr_train.jobs.recipes import load_config
from qasr_train.jobs.settings.check_transcripts import CheckTranscriptsConfig
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances
from qasr_train.transcription import run as transcription
from qasr_train.transcription.settings import DecodeConfig
from tests.helpers import tone, write_wav
from tests.helpers_fake_model import FakeModel

EVIL = "<script>alert(1)</script> & \"quotes\" 'too'"
# id -> language, transcript, what the model hears
ROWS = {
    "right": ("English", "red green blue", "red green blue"),
    "half": ("English", "red green", "red pink"),  # 50 %
    "swapped": ("English", "red green blue", "tall old trees"),  # 100 %, three errors
    "word": ("English", "red", "tall"),  # 100 %, one error
    "silent": ("English", "", "tall old"),  # two words against an empty transcript: 200 %
    "chinese": ("Chinese", "你好世界", "你好时间"),  # CER 50 %
    "evil": ("English", EVIL, EVIL),
}
Make = Callable[..., CheckTranscriptsConfig]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A config that checks the ROWS by a model that hears what they say it hears."""
    write_wav(tmp_path / "a.wav", tone(1.0))
    rows = [{"id": name, "audio": "a.wav", "language": r[0], "text": r[1], "speaker": "s"} for name, r in ROWS.items()]
    rows[0] |= {"start_s": 0.25, "end_s": 0.75}
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    heard = FakeModel({name: row[2] for name, row in ROWS.items()})
    monkeypatch.setattr(transcription, "load_model", lambda config, **_: heard)

    def make_config(**fields: Any) -> CheckTranscriptsConfig:
        decode = DecodeConfig(num_warmup_batches=0, check_batch_invariance=0, max_failed_fraction=0.5)
        fields = {"decode": decode, "source": SourceConfig(path=str(tmp_path / "m.jsonl"))} | fields
        fields = {"run_dir": str(tmp_path / "run"), "model": Qwen3ASRConfig(path=str(tmp_path / "model"))} | fields
        return CheckTranscriptsConfig(**fields)

    return make_config


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_worst_come_first_and_of_equals_the_longer(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_transcripts(make())
    ranked = rows_of(tmp_path / "run" / "ranked.jsonl")
    assert [(row["id"], row["error_percent"], row["num_errors"]) for row in ranked] == [
        ("silent", 200, 2),
        ("swapped", 100, 3),
        ("word", 100, 1),
        ("chinese", 50, 2),
        ("half", 50, 1),
        ("right", 0, 0),
        ("evil", 0, 0),
    ]
    assert {row["id"]: row["metric"] for row in ranked if row["metric"] == "cer"} == {"chinese": "cer"}
    assert ranked[3]["remarks"] == ["heard as English"]
    assert not (tmp_path / "run" / "manifest.jsonl").exists(), "without a limit nothing is filtered"
    shown = capsys.readouterr().out
    assert "6 rows scored by WER; above 0 %: 4, above 20 %: 4, above 50 %: 3, above 80 %: 3, above 100 %: 1" in shown
    assert "does not know the domain counts the domain's words as errors" in shown


def test_a_limit_leaves_rows_out_and_says_which_and_why(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_transcripts(make(max_wer_percent=99))
    manifest, rejects = tmp_path / "run" / "manifest.jsonl", tmp_path / "run" / "rejects.jsonl"
    assert [row["id"] for row in rows_of(manifest)] == ["right", "half", "chinese", "evil"]  # the order of the source
    assert [(row["id"], row["reason"]) for row in rows_of(rejects)] == [
        ("silent", "WER 200 %, more than max_wer_percent=99"),
        ("swapped", "WER 100 %, more than max_wer_percent=99"),
        ("word", "WER 100 %, more than max_wer_percent=99"),
    ]
    assert "none of these is filtered: max_cer_percent is not set" in capsys.readouterr().out
    before, after = (load_utterances(SourceConfig(path=str(path)), "x") for path in (tmp_path / "m.jsonl", manifest))
    kept = [replace(one, origin="") for one in before if one.id in {"right", "half", "chinese", "evil"}]
    assert [replace(one, origin="") for one in after] == kept


def test_other_limits_need_no_second_transcription(make: Make, tmp_path: Path) -> None:
    check_transcripts(make(max_wer_percent=99))
    (tmp_path / "a.wav").unlink()  # nothing is heard any more
    write_wav(tmp_path / "a.wav", tone(1.0, peak=0.0))
    check_transcripts(make(resume=True, max_wer_percent=150, max_cer_percent=20))
    rejects = rows_of(tmp_path / "run" / "rejects.jsonl")
    assert [row["id"] for row in rejects] == ["silent", "chinese"]
    assert rejects[1]["reason"] == "CER 50 %, more than max_cer_percent=20 (heard as English)"
    check_transcripts(make(resume=True))
    assert not (tmp_path / "run" / "rejects.jsonl").exists(), "a manifest of other limits does not stay"


def test_nothing_left_is_an_error(make: Make, tmp_path: Path) -> None:
    source = SourceConfig(path=str(tmp_path / "m.jsonl"), only={"id": "s*"})
    with pytest.raises(DataError, match=r"all 2 rows were rejected, the first is 'silent': WER 200 %"):
        check_transcripts(make(max_wer_percent=50, source=source))
    assert len(rows_of(tmp_path / "run" / "rejects.jsonl")) == 2
    assert not (tmp_path / "run" / "manifest.jsonl").exists()


def test_a_row_without_a_language_is_scored_as_what_was_heard(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make(source=SourceConfig(path=str(tmp_path / "unknown.jsonl")))
    (tmp_path / "unknown.jsonl").write_text(json.dumps({"id": "c", "audio": "a.wav", "text": "你好世界"}) + "\n")
    heard = FakeModel({"c": "你好时间"}, heard_language="Chinese")
    monkeypatch.setattr(transcription, "load_model", lambda config, **_: heard)
    check_transcripts(config)
    [row] = rows_of(tmp_path / "run" / "ranked.jsonl")
    assert (row["metric"], row["error_percent"], row["language"]) == ("cer", 50, None)


def test_a_recording_that_cannot_be_read_is_rejected_and_ranked_last(make: Make, tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "m.jsonl")
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    rows[1]["audio"] = "broken.wav"
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    check_transcripts(make(max_wer_percent=1000))
    assert rows_of(tmp_path / "run" / "ranked.jsonl")[-1]["id"] == "half"
    [reject] = rows_of(tmp_path / "run" / "rejects.jsonl")
    assert reject["id"] == "half" and "broken.wav" in reject["reason"]


def test_the_page_escapes_every_text_and_plays_the_part_of_the_recording(make: Make, tmp_path: Path) -> None:
    check_transcripts(make())
    page = (tmp_path / "run" / "worst.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quotes&quot;" in page
    assert "<del>red green blue</del> <ins>tall old trees</ins>" in page
    assert "red <del>green</del> <ins>pink</ins>" in page
    assert f'src="{(tmp_path / "a.wav").as_uri()}#t=0.25,0.75"' in page
    assert page.index(">silent<") < page.index(">swapped<") < page.index(">right<")
    assert "A high error rate is a question, not a verdict" in page
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'; media-src file:\"" in page


def test_the_page_holds_as_many_rows_as_asked(make: Make, tmp_path: Path) -> None:
    check_transcripts(make(num_shown=2))
    page = (tmp_path / "run" / "worst.html").read_text()
    assert "2 of 7 rows" in page and ">word<" not in page
    assert len(rows_of(tmp_path / "run" / "ranked.jsonl")) == 7


def test_rows_without_a_transcript_are_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text('{"audio": "a.wav", "text": null}\n')
    with pytest.raises(DataError, match="1 of 1 rows state no text"):
        check_transcripts(make(source=SourceConfig(path=str(tmp_path / "none.jsonl"))))
    with pytest.raises(UserError, match=r"nowhere\.jsonl: no such file"):
        check_transcripts(make(source=SourceConfig(path=str(tmp_path / "nowhere.jsonl"))))
    assert not (tmp_path / "run").exists()


def test_the_command_line_reaches_every_setting() -> None:
    config = load_config("check_transcripts", ["model=tiny", "source.path=m", "run_dir=r", "max_cer_percent=30"])
    assert config.limits_percent == {"wer": None, "cer": 30}


def test_half_a_surrogate_pair_in_saved_predictions_is_mended_and_the_rows_stay(make: Make, tmp_path: Path) -> None:
    check_transcripts(make())
    saved = tmp_path / "run" / "predictions.jsonl"
    saved.write_text(saved.read_text().replace('"red pink"', r'"red \ud83d"'))
    check_transcripts(make(resume=True, max_wer_percent=1000))
    heard = {row["id"]: row["hypothesis"] for row in rows_of(tmp_path / "run" / "ranked.jsonl")}
    assert len(heard) == len(ROWS) and heard["half"] == "red \ufffd"
    assert len(rows_of(tmp_path / "run" / "manifest.jsonl")) == len(ROWS)


def test_a_row_of_one_channel_plays_that_channel_and_nothing_else(make: Make, tmp_path: Path) -> None:
    left, right = tone(1.0, frequency_hz=300), tone(1.0, frequency_hz=900)
    write_wav(tmp_path / "call.wav", np.stack([left, right], axis=1))
    rows = [
        {"id": "half", "audio": "call.wav", "language": "English", "text": "red green", "channel": 1, "end_s": 0.5},
        {"id": "word", "audio": "call.wav", "language": "English", "text": "red"},
        {"id": "right", "audio": "a.wav", "language": "English", "text": "red green blue", "channel": 5},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    check_transcripts(make())
    page = (tmp_path / "run" / "worst.html").read_text()
    file = tmp_path / "run" / "worst_channels" / "2.flac"  # the second worst row
    assert page.count("<audio") == 2  # the fifth channel of one is no sound
    assert file.as_uri() in page and (tmp_path / "call.wav").as_uri() in page
    samples, rate_hz = soundfile.read(file)
    assert len(samples) == rate_hz // 2
    assert np.argmax(np.abs(np.fft.rfft(samples))) * rate_hz / len(samples) == pytest.approx(900, abs=2)
    assert [(row["id"], row.get("channel")) for row in rows_of(tmp_path / "run" / "predictions.jsonl")] == [
        ("half", 1),
        ("word", None),
        ("right", 5),
    ]
