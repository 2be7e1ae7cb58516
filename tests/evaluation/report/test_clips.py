"""Recordings in a report: only on request, within a limit, the right stretch of sound, playable, and said so in its head."""

import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from qasr_train.errors import AudioError, ConfigError
from qasr_train.evaluation.comparing.compare import compare_runs
from qasr_train.evaluation.report.clips import clip_of_file, clip_of_sets
from qasr_train.evaluation.report.content import write_comparison_report, write_report
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.settings import ReportConfig
from qasr_train.manifest import Utterance
from qasr_train.text.normalize import get_normalizer
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.sets import UtteranceSet
from tests.helpers import tone, write_wav


def _scores(tmp_path, *durations_s, hypothesis="b"):
    rows = []
    for number, duration_s in enumerate(durations_s):
        path = write_wav(tmp_path / f"u{number}.wav", tone(duration_s))
        rows.append(
            Prediction(str(path), duration_s, 0.1, "a", hypothesis, id=f"u{number}", set="s", language="German")
        )
    return score_predictions(rows, get_normalizer("none"))


def _rows_of(page):
    (content,) = re.findall(r'<script type="application/json" id="rows">(.*?)</script>', page, flags=re.DOTALL)
    return {row["i"]: row for row in json.loads(content)}


def test_no_recording_stands_in_a_report_that_was_not_asked_for_it(tmp_path):
    page = write_report(tmp_path / "out", _scores(tmp_path, 1.0), config=ReportConfig()).read_text(encoding="utf-8")
    assert "p" not in _rows_of(page)["u0"]
    assert "media-src" not in page


def test_a_recording_is_embedded_as_it_was_transcribed(tmp_path):
    scores = _scores(tmp_path, 1.0, 2.0)
    page = write_report(tmp_path / "out", scores, config=ReportConfig(embed_audio=True)).read_text(encoding="utf-8")
    samples, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(_rows_of(page)["u1"]["p"])))
    assert rate_hz == 16_000
    assert len(samples) / rate_hz == pytest.approx(2.0, abs=0.1)
    peak_hz = np.argmax(np.abs(np.fft.rfft(samples))) * rate_hz / len(samples)
    assert peak_hz == pytest.approx(220, abs=2)  # the pitch of `tone`
    assert "media-src data:;" in page.replace('"', ";")
    assert "report.html holds the recordings of 2 utterances: whoever has it can hear them." in page


def test_the_channel_that_was_transcribed_is_the_one_that_plays(tmp_path):
    left, right = tone(1.0, frequency_hz=300), tone(1.0, frequency_hz=900)
    path = write_wav(tmp_path / "call.wav", np.stack([left, right], axis=1))
    rows = [
        Prediction(str(path), 1.0, 0.1, "a", "b", id=f"c{n}", set="s", language="German", channel=n) for n in (0, 1)
    ]
    scores = score_predictions(rows, get_normalizer("none"))
    page = write_report(tmp_path / "out", scores, config=ReportConfig(embed_audio=True)).read_text(encoding="utf-8")
    for name, pitch_hz, other_hz in (("c0", 300, 900), ("c1", 900, 300)):
        samples, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(_rows_of(page)[name]["p"])))
        loudness = np.abs(np.fft.rfft(samples))
        at = {hz: loudness[round(hz * len(samples) / rate_hz)] for hz in (pitch_hz, other_hz)}
        assert at[pitch_hz] > 100 * at[other_hz]


def test_recordings_stay_below_the_limit_and_the_rest_is_counted(tmp_path):
    config = ReportConfig(embed_audio=True, max_audio_mb=0.03)
    page = write_report(tmp_path / "out", _scores(tmp_path, 3.0, 60.0, 1.0, 60.0), config=config).read_text("utf-8")
    clips = {name: row["p"] for name, row in _rows_of(page).items() if "p" in row}
    assert set(clips) == {"u0", "u2"}
    assert sum(map(len, clips.values())) <= 30_000
    assert "2 recordings did not fit into report.max_audio_mb=0.03." in page


def test_missing_recordings_and_parts_of_longer_ones_are_counted_with_the_reason(tmp_path):
    scores = _scores(tmp_path, 1.0, 1.0)
    (tmp_path / "u0.wav").unlink()
    write_wav(tmp_path / "u1.wav", tone(5.0))
    page = write_report(tmp_path / "out", scores, config=ReportConfig(embed_audio=True)).read_text(encoding="utf-8")
    assert "holds the recordings of 0 utterances" in page
    assert re.search(r"2 recordings could not be embedded, the first &#x27;u0&#x27;: .*u0.wav", page)
    row = next(row.prediction for row in scores.rows if row.prediction.id == "u1")
    with pytest.raises(
        AudioError, match=r"u1.wav: lasts 5.0 s, the utterance 1.0 s; only evaluate.py knows which part"
    ):
        clip_of_file(row)
    row.audio_filepath = None
    with pytest.raises(AudioError, match="the predictions name no recording"):
        clip_of_file(row)


def test_a_part_of_a_recording_is_cut_by_the_manifest(tmp_path):
    path = write_wav(tmp_path / "long.wav", tone(5.0))
    utterance = Utterance("u0", str(path), "a", start_s=1.0, end_s=2.5)
    (row,) = _scores(tmp_path, 1.5).rows
    assert len(clip_of_sets([UtteranceSet("s", [utterance])])(row.prediction)) == 24_000


def test_a_comparison_may_hold_recordings(tmp_path):
    before, after = (_scores(tmp_path, 1.0, 1.0, hypothesis=hypothesis) for hypothesis in ("b", "a"))
    comparison = compare_runs(before, after)
    page = write_comparison_report(tmp_path / "out", comparison, ReportConfig(embed_audio=True)).read_text("utf-8")
    assert all("p" in row for row in _rows_of(page).values())


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="report.max_audio_mb=0"):
        ReportConfig(max_audio_mb=0)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium (apt-get install chromium)")
def test_a_browser_shows_a_player_for_each_recording_and_complains_of_nothing(tmp_path):
    scores = _scores(tmp_path, 1.0, 1.0, hypothesis="</script><audio src=x><img src=x onerror=alert(1)>")
    page = write_report(tmp_path / "out", scores, config=ReportConfig(embed_audio=True))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
    flags += " --enable-logging=stderr"
    command = ["chromium", *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    players = re.findall(r"<audio [^>]*>", done.stdout)
    assert len(players) == 2
    assert all("data:audio/mpeg;base64," in player and "controls" in player for player in players)
    assert "<img" not in done.stdout
    assert "CONSOLE" not in done.stderr
