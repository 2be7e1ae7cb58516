"""Plain transformers, or PEFT over it: python qwen3_asr_transformers.py EXPORT CLIPS.json OUT.json [peft BASE | auto BASE].

BASE is what an adapter lies over, which plain PEFT is given; AutoPeftModel finds it, and BASE is for the processor alone.
"""

import sys

import torch
from common import MAX_NEW_TOKENS, read_clips, write_texts
from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration

export, clips_file, out_file, *how = sys.argv[1:]
whole = how[-1] if how else export
if how[:-1] == ["auto"]:
    from peft import AutoPeftModel

    model = AutoPeftModel.from_pretrained(export, dtype=torch.float32)
else:
    model, report = Qwen3ASRForConditionalGeneration.from_pretrained(
        whole, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
if how[:-1] == ["peft"]:
    from peft import PeftModel

    model = PeftModel.from_pretrained(model, export)
model.eval()
processor = AutoProcessor.from_pretrained(whole)
texts = []
for samples, language in read_clips(clips_file):
    inputs = processor.apply_transcription_request(samples, language=language)
    ids = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS)
    # The card's way: it takes loops of repetition out, as qwen-asr does and we do.
    texts += processor.decode(ids[:, inputs["input_ids"].shape[1] :], return_format="transcription_only")
write_texts(out_file, texts)
