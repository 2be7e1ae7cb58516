"""vLLM's LLM.generate: python qwen3_asr_vllm.py EXPORT CLIPS.json OUT.json [BASE].

BASE is what an adapter lies over, unmerged.
"""

import sys
from pathlib import Path

from common import MAX_NEW_TOKENS, PROMPT, read_clips, write_texts
from vllm_cpu import MAX_TOKENS, prepare

export, clips_file, out_file, *base = sys.argv[1:]
prepare(Path(out_file).with_suffix(".path"))
from vllm import LLM, SamplingParams  # noqa: E402
from vllm.lora.request import LoRARequest  # noqa: E402

model = LLM(
    model=base[0] if base else export,
    dtype="float32",
    max_model_len=MAX_TOKENS,
    max_num_batched_tokens=MAX_TOKENS,
    max_num_seqs=2,
    enforce_eager=True,
    skip_mm_profiling=True,
    limit_mm_per_prompt={"audio": 1},
    **({"enable_lora": True, "max_lora_rank": 16} if base else {}),
)
requests = [
    {"prompt": PROMPT.format(language=language), "multi_modal_data": {"audio": (samples, 16_000)}}
    for samples, language in read_clips(clips_file)
]
answers = model.generate(
    requests,
    SamplingParams(temperature=0, max_tokens=MAX_NEW_TOKENS),
    lora_request=LoRARequest("tuned", 1, export) if base else None,
)
write_texts(out_file, [answer.outputs[0].text for answer in answers])
