"""A route to Qwen3-ASR: vLLM, offline. python qwen3_asr_vllm.py EXPORT MANIFEST PREDICTIONS; docs/serving.md, vLLM.

EXPORT: of `export.py target=vllm`. Run it in an environment that has vLLM. The prompt has the empty system turn of training.
"""

import sys

from clips import RATE_HZ, hear_each, token_limit
from vllm import LLM, SamplingParams

PROMPT = (
    "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n"
    "<|im_start|>assistant\n"
)
path, manifest, predictions = sys.argv[1:]
model = LLM(model=path, limit_mm_per_prompt={"audio": 1})


def transcribe(samples, duration_s, language):
    """One clip, greedy; a language that is not given the model writes itself, before the tag."""
    prompt = PROMPT + (f"language {language}<asr_text>" if language else "")
    request = {"prompt": prompt, "multi_modal_data": {"audio": (samples, RATE_HZ)}}
    [answer] = model.generate(
        [request], SamplingParams(temperature=0, max_tokens=token_limit(duration_s)), use_tqdm=False
    )
    return answer.outputs[0].text.rpartition("<asr_text>")[2]


hear_each(manifest, predictions, transcribe)
