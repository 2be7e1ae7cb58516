"""Plain transformers, or plain PEFT over it: python whisper_transformers.py EXPORT CLIPS.json OUT.json [peft|auto]."""

import sys

import torch
from common import read_clips, write_texts
from transformers import AutoProcessor, WhisperForConditionalGeneration

export, clips_file, out_file, *how = sys.argv[1:]
whole = export
if how:
    from peft import AutoPeftModel, PeftConfig, PeftModel

    whole = PeftConfig.from_pretrained(export).base_model_name_or_path
if how == ["auto"]:
    model = AutoPeftModel.from_pretrained(export)
else:
    model, report = WhisperForConditionalGeneration.from_pretrained(whole, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
if how == ["peft"]:
    model = PeftModel.from_pretrained(model, export)
model = model.to(torch.float32).eval()
processor = AutoProcessor.from_pretrained(whole)
texts = []
for samples, language in read_clips(clips_file):
    features = processor(samples, sampling_rate=16_000, return_tensors="pt").input_features
    greedy = {"do_sample": False, "num_beams": 1, "max_new_tokens": 200}
    ids = model.generate(input_features=features, language=language.lower(), task="transcribe", **greedy)
    texts.append(processor.batch_decode(ids, skip_special_tokens=True)[0])
write_texts(out_file, texts)
