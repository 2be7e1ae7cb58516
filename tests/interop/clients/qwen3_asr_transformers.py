"""Plain transformers, or plain PEFT over it: python qwen3_asr_transformers.py EXPORT CLIPS.json OUT.json [BASE]."""

import sys

import torch
from common import read_clips, write_texts
from peft import PeftModel
from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration

export, clips_file, out_file, *base = sys.argv[1:]
whole = base[0] if base else export
model, report = Qwen3ASRForConditionalGeneration.from_pretrained(whole, dtype=torch.float32, output_loading_info=True)
assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
if base:
    model = PeftModel.from_pretrained(model, export)
model.eval()
processor = AutoProcessor.from_pretrained(whole)
texts = []
for samples, language in read_clips(clips_file):
    inputs = processor.apply_transcription_request(samples, language=language)
    ids = model.generate(**inputs, max_new_tokens=80)
    # The card's way: it takes loops of repetition out, as qwen-asr does and we do.
    texts += processor.decode(ids[:, inputs["input_ids"].shape[1] :], return_format="transcription_only")
write_texts(out_file, texts)
