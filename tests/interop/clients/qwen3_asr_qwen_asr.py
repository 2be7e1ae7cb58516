"""The official package: python qwen3_asr_qwen_asr.py EXPORT CLIPS.json OUT.json [windows].

`windows` keeps its encoder within windows of 8 s, as transformers, vLLM and we do: without FlashAttention 2 it hears the whole
clip. It stops at the end tokens of the published models alone, so that it is given the export's own where they are others.
"""

import itertools
import json
import sys
import types
from pathlib import Path

import torch
from common import MAX_NEW_TOKENS, read_clips, write_texts
from qwen_asr import Qwen3ASRModel

PUBLISHED_END = 151645
export, clips_file, out_file, *how = sys.argv[1:]
program = Qwen3ASRModel.from_pretrained(export, dtype=torch.float32, max_new_tokens=MAX_NEW_TOKENS)
ends = json.loads((Path(export) / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
if PUBLISHED_END not in ends:
    generate = program.model.generate
    program.model.generate = lambda *positional, **named: generate(*positional, **(named | {"eos_token_id": ends}))


def in_windows(self, hidden_states, cu_seqlens=None, attention_mask=None, **named):
    """Attention of an encoder layer within the bounds that FlashAttention 2 alone is told of."""
    num_positions = hidden_states.shape[0]
    mask = torch.full((1, 1, num_positions, num_positions), torch.finfo(hidden_states.dtype).min)
    for start, end in itertools.pairwise(cu_seqlens):
        mask[..., start:end, start:end] = 0
    return type(self).forward(self, hidden_states, cu_seqlens=cu_seqlens, attention_mask=mask, **named)


if how == ["windows"]:
    for layer in program.model.thinker.audio_tower.layers:
        layer.self_attn.forward = types.MethodType(in_windows, layer.self_attn)
texts = []
for samples, language in read_clips(clips_file):
    texts += [result.text for result in program.transcribe((samples, 16_000), language=language)]
write_texts(out_file, texts)
