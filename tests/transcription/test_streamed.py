"""Transcribing by a simulated clock: predictions of streams, with what was shown when and the times of the reference."""

from pathlib import Path

import numpy as np

from qasr_train.streaming.settings import StreamPolicy
from qasr_train.streaming.shown import Shown
from qasr_train.timed.base import TimedWord
from tests.helpers import utterance, write_wav
from tests.helpers_streaming import HearingModel, speech
from tests.helpers_transcription import transcribe_all

WORDS = [f"w{number}" for number in range(100)]
POLICY = StreamPolicy(chunk_s=2.0, unfixed_chunks=1, unfixed_tokens=2, window_s=6.0)


def test_a_prediction_holds_every_update_and_the_words_in_seconds_of_the_clip(tmp_path: Path) -> None:
    path = str(write_wav(tmp_path / "a.wav", speech(6), subtype="FLOAT"))
    words = (TimedWord("w1", 1.0, 1.75), TimedWord("w2", 2.0, 2.75))
    spoken = utterance(audio=path, start_s=1.0, end_s=5.0, duration_s=4.0, text="w1 w2 w3 w4", words=words)
    [heard] = transcribe_all(HearingModel(WORDS), [spoken], streaming=POLICY)
    assert heard.pred_text == "w1 w2 w3 w4" and heard.duration_s == 4.0 and heard.failed is None
    assert heard.streamed is not None
    # At 2 s "w1 w2" is there, of which the last two tokens, here letters, are open; at 4 s all is there, and then it ends.
    assert heard.streamed.updates == (
        Shown(2.0, "w1 w2", 3),
        Shown(4.0, "w1 w2 w3 w4", 9),
        Shown(4.0, "w1 w2 w3 w4", 11),
    )
    assert heard.streamed.words == (TimedWord("w1", 0.0, 0.75), TimedWord("w2", 1.0, 1.75))
    assert heard.time_s is not None and heard.num_tokens == len("w1 w2 w3 w4") + 1


def test_a_long_recording_is_one_prediction_of_its_windows(tmp_path: Path) -> None:
    path = str(write_wav(tmp_path / "a.wav", speech(40), subtype="FLOAT"))
    model = HearingModel(WORDS)
    [heard] = transcribe_all(model, [utterance(audio=path, duration_s=40.0)], streaming=POLICY)
    assert heard.pred_text.split() == WORDS[:40] and max(model.heard_s) <= 6.0


def test_an_unreadable_and_an_empty_recording(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    write_wav(tmp_path / "b.wav", np.zeros(0, dtype=np.float32))
    spoken = [utterance(id=name, audio=str(tmp_path / f"{name}.wav"), duration_s=1.0) for name in "ab"]
    broken, empty = transcribe_all(HearingModel(WORDS), spoken, streaming=POLICY, max_failed_fraction=1.0)
    assert "is empty (0 bytes)" in (broken.failed or "") and broken.streamed is None
    assert "holds no audio" in (empty.failed or "") and empty.streamed is None
    assert empty.pred_text == ""


def test_contexts_and_languages_are_told(tmp_path: Path) -> None:
    path = str(write_wav(tmp_path / "a.wav", speech(3), subtype="FLOAT"))
    model = HearingModel(WORDS)
    spoken = [utterance(audio=path, duration_s=3.0, context="pills", language="German")]
    [heard] = transcribe_all(model, spoken, streaming=POLICY, language="reference")
    assert model.collator.contexts == [["pills"]] * 2 and model.collator.languages == ["German"] * 2
    assert heard.context == "pills" and heard.predicted_language is None
