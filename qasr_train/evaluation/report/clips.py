"""Owns the recordings inside a report: off unless asked for, because whoever has the file can then hear them.

Input: the rows of the explorer, where their recordings are. Output: base64 MP3 (16 kHz, mono) in the rows, and what to say of it.
"""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import soundfile

from qasr_train.audio.decode import SAMPLE_RATE_HZ, load_audio
from qasr_train.errors import AudioError
from qasr_train.evaluation.scoring.utterance import UtteranceScore
from qasr_train.transcription.predictions import Prediction
from qasr_train.transcription.sets import UtteranceSet

# A recording that differs more from its row's duration is another stretch of sound than what was transcribed.
_MAX_DIFFERENCE_S = 0.1
_BYTES_PER_S = 5_500  # base64 of some 4 kB of MP3: what a clip will take, before it is read

LoadClip = Callable[[Prediction], np.ndarray]


def embed_clips(
    explored: Sequence[dict[str, Any]], rows: Sequence[UtteranceScore], max_audio_mb: float, load: LoadClip
) -> list[str]:
    """Put the clip of an utterance into its explorer row (key "p"), from the first row on, until the limit is reached.

    Args:
        load: the samples, float32 [S] at 16 kHz, that a prediction was made from; raises AudioError.

    Returns: sentences for the head of the report: how many are in it, and why others are not.
    """
    prediction_of = {row.key: row.prediction for row in rows}
    left = max_audio_mb * 1e6
    num_embedded = num_too_many = 0
    failures: list[str] = []
    for content in explored:
        row = prediction_of[content["s"], content["i"]]
        if (row.duration_s or 0.0) * _BYTES_PER_S > left:
            num_too_many += 1
            continue
        try:
            clip = _encode(load(row))
        except AudioError as error:
            failures.append(f"{row.id!r}: {error}")
            continue
        if len(clip) > left:
            num_too_many += 1
            continue
        content["p"] = clip
        left -= len(clip)
        num_embedded += 1
    sentences = [f"report.html holds the recordings of {num_embedded} utterances: whoever has it can hear them."]
    if num_too_many:
        sentences.append(f"{num_too_many} recordings did not fit into report.max_audio_mb={max_audio_mb:g}.")
    if failures:
        sentences.append(f"{len(failures)} recordings could not be embedded, the first {failures[0]}")
    return sentences


def clip_of_file(row: Prediction) -> np.ndarray:
    """The recording that a prediction names (its channel), as long as what was transcribed: which part that was, nothing says.

    Raises:
        AudioError: no such file, not audio, or of another length.
    """
    if not row.audio_filepath:
        raise AudioError("the predictions name no recording")
    waveform = load_audio(row.audio_filepath, channel=row.channel, name=row.id)
    found_s = len(waveform) / SAMPLE_RATE_HZ
    if row.duration_s is not None and abs(found_s - row.duration_s) > _MAX_DIFFERENCE_S:
        raise AudioError(
            f"{row.audio_filepath}: lasts {found_s:.1f} s, the utterance {row.duration_s:.1f} s; only evaluate.py knows "
            "which part it is"
        )
    return waveform


def clip_of_sets(sets: Sequence[UtteranceSet]) -> LoadClip:
    """Clips of the sets' own utterances: the very sound that was transcribed, part, noise and all."""
    found = {(one.name, utterance.id): (one, utterance) for one in sets for utterance in one.utterances}

    def load(row: Prediction) -> np.ndarray:
        if (row.set, row.id) not in found:
            raise AudioError("it was transcribed in chunks")
        one, utterance = found[row.set, row.id]
        return one.load_clip(utterance)

    return load


def _encode(waveform: np.ndarray) -> str:
    """MP3, which every browser plays, as base64."""
    out = io.BytesIO()
    soundfile.write(out, np.clip(waveform, -1.0, 1.0), SAMPLE_RATE_HZ, format="MP3", subtype="MPEG_LAYER_III")
    return base64.b64encode(out.getvalue()).decode("ascii")
