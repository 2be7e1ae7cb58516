"""A route to Qwen3-ASR: the official package. python qwen3_asr_qwen_asr.py EXPORT MANIFEST PREDICTIONS; see docs/serving.md.

EXPORT: of `export.py target=qwen_asr`. Run it in an environment that has qwen-asr.
"""

import sys

import torch
from clips import RATE_HZ, hear_each
from qwen_asr import Qwen3ASRModel

path, manifest, predictions = sys.argv[1:]
device = "cuda" if torch.cuda.is_available() else "cpu"
dtype = torch.bfloat16 if device == "cuda" else torch.float32
program = Qwen3ASRModel.from_pretrained(path, dtype=dtype, device_map=device, max_new_tokens=512)
hear_each(
    manifest,
    predictions,
    lambda samples, duration_s, language: program.transcribe((samples, RATE_HZ), language=language)[0].text,
)
