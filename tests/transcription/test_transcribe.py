"""What becomes of utterances between a manifest and predictions: batches, order, failures, limits, long audio, time."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from qasr_train.data.buckets import BatchBudget
from qasr_train.errors import ConfigError, DataError
from qasr_train.models.settings import Capability
from qasr_train.run.processes import Processes
from qasr_train.transcription.settings import AUTO, REFERENCE, LongAudio
from qasr_train.transcription.transcribe import token_limit
from tests.helpers import tone, utterance, write_wav
from tests.helpers_fake_model import FakeModel
from tests.helpers_transcription import spoken, transcribe_all

RATE = 16_000


# --- batches and order ----------------------------------------------------------------------------------------------


def test_predictions_come_in_the_order_of_the_utterances_though_batches_are_by_duration(tmp_path: Path) -> None:
    utterances = spoken(tmp_path, [1.0, 3.0, 0.5, 2.0])
    model = FakeModel({"u1": "three seconds"})
    predictions = transcribe_all(model, utterances, budget=BatchBudget(4.0, 64))
    # Sorted by duration: 0.5 and 1 cost 2 x 1, with 2 it is 3 x 2 > 4; so {u2, u0}, then 2 x 3 > 4: {u3}, {u1}.
    assert model.batches == [["u1"], ["u3"], ["u0", "u2"]]
    assert [p.id for p in predictions] == ["u0", "u1", "u2", "u3"]
    assert predictions[1].pred_text == "three seconds"
    assert predictions[1].duration_s == pytest.approx(3.0)


def test_max_batch_rows_bounds_a_batch(tmp_path: Path) -> None:
    model = FakeModel()
    transcribe_all(model, spoken(tmp_path, [1.0] * 5), budget=BatchBudget(100, 2))
    assert sorted(len(batch) for batch in model.batches) == [1, 2, 2]


def test_every_utterance_is_in_exactly_one_rank_and_the_ranks_together_equal_one_process(tmp_path: Path) -> None:
    utterances = spoken(tmp_path, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1])
    whole = FakeModel()
    expected = {p.id: p.pred_text for p in transcribe_all(whole, utterances, budget=BatchBudget(2.0, 64))}
    shares, batches = [], []
    for rank in range(3):
        model = FakeModel()
        shares += transcribe_all(model, utterances, budget=BatchBudget(2.0, 64), processes=Processes(rank, 3))
        batches += model.batches
    assert {p.id: p.pred_text for p in shares} == expected
    assert len(shares) == len(utterances)
    assert sorted(batches) == sorted(whole.batches)  # the same companions, so the same numbers on a real model


def test_a_manifest_that_understates_durations_does_not_overfill_a_batch(tmp_path: Path) -> None:
    utterances = [replace(u, duration_s=0.1) for u in spoken(tmp_path, [3.0, 3.0])]
    model = FakeModel()
    predictions = transcribe_all(model, utterances, budget=BatchBudget(4.0, 64))
    assert sorted(model.batches) == [["u0"], ["u1"]]
    assert [p.id for p in predictions] == ["u0", "u1"]


def test_a_span_of_a_recording_is_what_the_model_hears(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", tone(3.0))
    model = FakeModel()
    [prediction] = transcribe_all(
        model, [utterance(audio=str(path), start_s=1.0, end_s=1.5, duration_s=None)], budget=BatchBudget(4.0)
    )
    assert model.durations_s == [[0.5]]
    assert prediction.duration_s == pytest.approx(0.5)


# --- language and context -------------------------------------------------------------------------------------------


def test_rows_of_different_languages_are_never_forced_in_one_batch(tmp_path: Path) -> None:
    utterances = spoken(tmp_path, [1.0, 1.0, 1.0, 1.0])
    languages = ["English", "French", None, "English"]
    utterances = [replace(u, language=language) for u, language in zip(utterances, languages, strict=True)]
    model = FakeModel()
    predictions = transcribe_all(model, utterances, language=REFERENCE)
    told = dict(zip(map(tuple, model.batches), model.collator.languages, strict=True))
    assert told == {("u0", "u3"): "English", ("u1",): "French", ("u2",): None}
    # A language the model was told is not one it recognised.
    assert [p.predicted_language for p in predictions] == [None, None, "English", None]
    assert [p.language for p in predictions] == languages


def test_auto_lets_the_model_tell_the_language(tmp_path: Path) -> None:
    model = FakeModel(heard_language="German")
    [prediction] = transcribe_all(model, spoken(tmp_path, [1.0]), language=AUTO)
    assert model.collator.languages == [None]
    assert (prediction.language, prediction.predicted_language) == ("English", "German")


def test_a_context_is_given_and_recorded_only_where_asked(tmp_path: Path) -> None:
    utterances = spoken(tmp_path, [1.0], context="aspirin, ibuprofen")
    for use_context, expected in ((True, "aspirin, ibuprofen"), (False, None)):
        model = FakeModel()
        [prediction] = transcribe_all(model, utterances, use_context=use_context)
        assert model.collator.contexts == [[expected]]
        assert prediction.context == expected


def test_a_model_that_cannot_be_told_is_refused(tmp_path: Path) -> None:
    utterances = spoken(tmp_path, [1.0], context="aspirin")
    deaf = FakeModel(capabilities=frozenset({Capability.CONTEXT}))
    with pytest.raises(ConfigError, match="fake models cannot be told the language; set decode.language=auto"):
        transcribe_all(deaf, utterances, language="English")
    deaf = FakeModel(capabilities=frozenset({Capability.LANGUAGE}))
    with pytest.raises(ConfigError, match="fake models take no context, and the manifest gives some"):
        transcribe_all(deaf, utterances)


# --- failures -------------------------------------------------------------------------------------------------------


def test_a_recording_that_cannot_be_read_is_recorded_with_its_reason_and_does_not_stop_the_run(tmp_path: Path) -> None:
    utterances = spoken(tmp_path, [1.0, 1.0, 1.0])
    Path(utterances[1].audio).write_bytes(b"<html>404</html>")  # type: ignore[arg-type]
    model = FakeModel()
    predictions = transcribe_all(model, utterances, max_failed_fraction=0.5)
    assert [bool(p.failed) for p in predictions] == [False, True, False]
    assert "u1.wav" in (predictions[1].failed or "")
    assert predictions[1].pred_text == ""
    assert predictions[1].time_s is None  # it took no inference, and must not count as infinitely fast
    assert predictions[1].is_truncated is None


def test_too_many_failures_stop_the_run_before_the_model_works(tmp_path: Path) -> None:
    utterances = [utterance(id=f"gone{i}", audio=str(tmp_path / f"{i}.wav"), duration_s=None) for i in range(2)]
    utterances += spoken(tmp_path, [1.0] * 8)
    model = FakeModel()
    with pytest.raises(DataError) as error:
        transcribe_all(model, utterances, max_failed_fraction=0.1, set_name="ward")
    assert str(error.value) == (
        "set 'ward': 2 of 10 recordings could not be transcribed, more than the share of 0.1 that decode.max_failed_fraction "
        f"allows; the first: {tmp_path / '0.wav'} (gone0): no such file; check the path, and `audio_root` where paths "
        "are relative"
    )
    assert model.batches == []


def test_a_set_of_failures_alone_passes_where_that_is_allowed(tmp_path: Path) -> None:
    gone = utterance(audio=str(tmp_path / "gone.wav"), duration_s=1.0)
    [prediction] = transcribe_all(FakeModel(), [gone], max_failed_fraction=1.0)
    assert prediction.failed
    assert prediction.duration_s == 1.0


# --- limits of tokens, memory -----------------------------------------------------------------------------------------


def test_the_token_limit_follows_the_longest_clip_of_the_pass(tmp_path: Path) -> None:
    model = FakeModel()
    transcribe_all(model, spoken(tmp_path, [1.0, 2.5]), budget=BatchBudget(100, 64))
    assert model.limits == [64 + 40]  # 64 + 16 a second of 2.5 s
    assert token_limit(0.0) == 64
    assert token_limit(1200.0) == 64 + 19200


def test_a_row_that_meets_the_token_limit_is_flagged(tmp_path: Path) -> None:
    model = FakeModel({"u0": "one two three", "u1": "one two"})
    predictions = transcribe_all(model, spoken(tmp_path, [1.0, 1.0]), max_new_tokens=3)
    assert [p.is_truncated for p in predictions] == [True, False]
    assert [p.num_tokens for p in predictions] == [3, 3]


def test_a_batch_that_does_not_fit_into_memory_is_halved(tmp_path: Path) -> None:
    def refuse_three(ids: list[str]) -> None:
        if len(ids) >= 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model = FakeModel(before_batch=refuse_three)
    predictions = transcribe_all(model, spoken(tmp_path, [1.0] * 5), budget=BatchBudget(100, 64))
    assert [len(batch) for batch in model.batches] == [2, 1, 2]
    assert [p.pred_text for p in predictions] == ["u0", "u1", "u2", "u3", "u4"]


def test_one_clip_too_large_for_memory_is_a_sentence(tmp_path: Path) -> None:
    def refuse(ids: list[str]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ConfigError) as error:
        transcribe_all(FakeModel(before_batch=refuse), spoken(tmp_path, [1.0]))
    assert str(error.value) == (
        "utterance 'u0' of 1.0 s does not fit into the GPU's memory by itself; lower decode.max_duration_s=1200 so that it is "
        "cut at silences"
    )


def test_time_is_the_inference_time_of_the_batch_divided_by_its_rows(tmp_path: Path) -> None:
    model = FakeModel(before_batch=lambda ids: time.sleep(0.2))
    predictions = transcribe_all(model, spoken(tmp_path, [1.0, 1.0]))
    times_s = [p.time_s or 0.0 for p in predictions]
    assert times_s[0] == times_s[1]
    assert 0.2 <= sum(times_s) < 0.35


# --- long audio -------------------------------------------------------------------------------------------------------


def speech_with_pauses(duration_s: float, pauses_s: list[float]) -> np.ndarray:
    """A loud tone with 0.4 s of silence centred at each of the moments; float32 [S]."""
    waveform = tone(duration_s)
    for moment_s in pauses_s:
        waveform[int((moment_s - 0.2) * RATE) : int((moment_s + 0.2) * RATE)] = 0.0
    return waveform


def test_a_long_recording_is_transcribed_in_pieces_and_joined(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "talk.wav", speech_with_pauses(12.0, [4.5]))
    talk = utterance(id="talk", audio=str(path), duration_s=12.0, text="a b c d")
    model = FakeModel({"talk#0": "so a", "talk#1": "b c", "talk#2": "d"})
    [prediction] = transcribe_all(model, [talk], max_duration_s=5.0, overlap_s=0.0)
    assert prediction.id == "talk"
    assert prediction.pred_text == "so a b c d"
    assert prediction.duration_s == pytest.approx(12.0)
    assert prediction.num_tokens == 3 + 3 + 2
    assert sum(map(sum, model.durations_s)) == pytest.approx(12.0, abs=0.01)


def test_a_truncated_piece_flags_the_whole_recording(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "talk.wav", speech_with_pauses(8.0, [4.5]))
    model = FakeModel({"talk#0": "fine", "talk#1": "round and round and round"})
    [prediction] = transcribe_all(
        model, [utterance(id="talk", audio=str(path), duration_s=8.0)], max_duration_s=5.0, max_new_tokens=4
    )
    assert prediction.is_truncated


def test_long_audio_error_stops_before_anything_is_transcribed(tmp_path: Path) -> None:
    utterances = spoken(tmp_path, [1.0, 6.0])
    model = FakeModel()
    with pytest.raises(DataError) as error:
        transcribe_all(model, utterances, max_duration_s=5.0, long_audio=LongAudio.error)
    assert str(error.value) == (
        "test.jsonl:1: utterance 'u1' lasts 6.0 s, more than decode.max_duration_s=5; set decode.long_audio=split to cut "
        "it at silences, or remove it"
    )
    assert model.batches == []


def test_long_audio_drop_counts_it_as_failed(tmp_path: Path) -> None:
    predictions = transcribe_all(
        FakeModel(),
        spoken(tmp_path, [1.0, 6.0]),
        max_duration_s=5.0,
        long_audio=LongAudio.drop,
        max_failed_fraction=0.5,
    )
    assert [bool(p.failed) for p in predictions] == [False, True]
