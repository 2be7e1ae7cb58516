"""A route to Whisper: faster-whisper. python whisper_faster_whisper.py EXPORT MANIFEST PREDICTIONS [TYPE]; docs/serving.md.

EXPORT: of `export.py target=faster_whisper` (dtype=int8 for a copy in int8). TYPE: what it computes in, default "default".
"""

import sys

import numpy as np
from clips import RATE_HZ, hear_each
from faster_whisper import WhisperModel
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

path, manifest, predictions, *compute_type = sys.argv[1:]
model = WhisperModel(path, compute_type=compute_type[0] if compute_type else "default")


def transcribe(samples, duration_s, language):
    """One clip, greedy; filled up with silence to the window of 30 s, as our own decoder does."""
    segments, _ = model.transcribe(
        np.pad(samples, (0, max(0, 30 * RATE_HZ - len(samples)))),
        language=TO_LANGUAGE_CODE[language.lower()] if language else None,
        beam_size=1,
        temperature=0.0,
        without_timestamps=True,
        condition_on_previous_text=False,
    )
    return "".join(segment.text for segment in segments)


hear_each(manifest, predictions, transcribe)
