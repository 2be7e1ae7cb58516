"""CTranslate2's converter and faster-whisper: python whisper_faster_whisper.py EXPORT CLIPS.json OUT.json [silence].

`silence` gives it 30 s of sound, the clip and silence after it: by itself it fills the window with zeros of the log-mel, which
are no silence there.
"""

import sys
from pathlib import Path

import numpy as np
from common import read_clips, write_texts
from ctranslate2.converters import TransformersConverter
from faster_whisper import WhisperModel
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

WINDOW_SAMPLES = 480_000
export, clips_file, out_file, *how = sys.argv[1:]
converted = str(Path(out_file).with_suffix(".ct2"))
files = ["tokenizer.json", "preprocessor_config.json"]
TransformersConverter(export, copy_files=files).convert(converted, quantization="float32")
model = WhisperModel(converted, device="cpu", compute_type="float32", cpu_threads=1)
texts = []
for samples, language in read_clips(clips_file):
    segments, _ = model.transcribe(
        np.pad(samples, (0, WINDOW_SAMPLES - len(samples))) if how == ["silence"] else samples,
        language=TO_LANGUAGE_CODE[language.lower()],
        beam_size=1,
        temperature=0.0,
        without_timestamps=True,
        condition_on_previous_text=False,
        compression_ratio_threshold=None,
        log_prob_threshold=None,
        no_speech_threshold=None,
    )
    texts.append("".join(segment.text for segment in segments))
write_texts(out_file, texts)
