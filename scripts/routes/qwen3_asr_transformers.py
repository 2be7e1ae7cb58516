"""A route to Qwen3-ASR without a line of ours: plain transformers.

python qwen3_asr_transformers.py MODEL MANIFEST PREDICTIONS [int8]

MODEL: native layout (a checkpoint of finetune.py, or an export). int8: a copy whose matrices are int8, for a CPU.
"""

import sys

import torch
from clips import hear_each, token_limit
from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration

path, manifest, predictions, *how = sys.argv[1:]
device = "cuda" if torch.cuda.is_available() and not how else "cpu"
dtype = torch.bfloat16 if device == "cuda" else torch.float32
model = Qwen3ASRForConditionalGeneration.from_pretrained(path, dtype=dtype).to(device).eval()
if how == ["int8"]:
    model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
processor = AutoProcessor.from_pretrained(path)


@torch.inference_mode()
def transcribe(samples, duration_s, language):
    """One clip, greedy."""
    inputs = processor.apply_transcription_request(samples, language=language).to(device, dtype)
    ids = model.generate(**inputs, max_new_tokens=token_limit(duration_s), do_sample=False)
    return processor.decode(ids[:, inputs["input_ids"].shape[1] :], return_format="transcription_only")[0]


hear_each(manifest, predictions, transcribe)
