"""Owns what an export knows of Qwen3-ASR: native and original layouts and adapters, how each is opened, saved and described."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from transformers import Qwen3ASRForConditionalGeneration

from qasr_train.models.exporting.family import CardText, Converter, FamilyExport, Form, LayoutText, Opened
from qasr_train.models.qwen3_asr.config import PARTS
from qasr_train.models.qwen3_asr.converted import convert, open_converted, require_converter
from qasr_train.models.qwen3_asr.layouts import (
    ADAPTER_KIND,
    TIED,
    Layout,
    detect_layout,
    digest_of,
    load_checkpoint,
    load_merged,
    save_native,
    save_original,
    weights_of,
)
from qasr_train.models.settings import ExportDtype, ExportLayout, ExportTarget
from qasr_train.text.languages import LANGUAGES

_NATIVE = """```python
from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration

processor = AutoProcessor.from_pretrained("THIS_FOLDER")
model = Qwen3ASRForConditionalGeneration.from_pretrained("THIS_FOLDER", dtype="auto", device_map="auto")
inputs = processor.apply_transcription_request("speech.wav", language="English").to(model.device, model.dtype)
output = model.generate(**inputs, max_new_tokens=512)
print(processor.decode(output[:, inputs["input_ids"].shape[1]:], return_format="transcription_only"))
```

`pipeline("automatic-speech-recognition")` fails with this family in transformers itself (5.17, 5.24): the tag of that name says
what the model does, not that this function runs it."""
_ORIGINAL = """```python
import torch
from qwen_asr import Qwen3ASRModel

model = Qwen3ASRModel.from_pretrained(
    "THIS_FOLDER", dtype=torch.bfloat16, device_map="cuda:0", attn_implementation="flash_attention_2"
)
print(model.transcribe(audio="speech.wav", language="English")[0].text)
```

FlashAttention 2 is no matter of speed here: without it qwen-asr (0.0.6) hears a clip of more than 8 s whole, where the model was
made to hear it in windows of 8 s, and gives other output.

Or `vllm serve THIS_FOLDER`."""
_GGUF = """```python
import soundfile
from crispasr import Session

samples, _ = soundfile.read("speech.wav", dtype="float32")  # 16 kHz, one channel, at most 8 s
segments = Session("THIS_FOLDER/model.gguf").transcribe(samples, sample_rate=16_000, language="en")
print(" ".join(segment.text for segment in segments))
```

CrispASR (0.8.45) hears a clip of more than 8 s whole, where the model was made to hear it in windows of 8 s, and gives other
output: cut longer recordings at silences. It takes no context."""
_ADAPTER = """```python
from peft import PeftModel
from transformers import Qwen3ASRForConditionalGeneration

model = Qwen3ASRForConditionalGeneration.from_pretrained("BASE_MODEL")  # in the native layout
model = PeftModel.from_pretrained(model, "THIS_FOLDER")
```

or `vllm serve BASE_MODEL --enable-lora --lora-modules tuned=THIS_FOLDER` (an adapter on the encoder or projector needs
`--enable-tower-connector-lora` too)."""


def _open_whole(folder: Path, dtype: torch.dtype) -> Opened:
    return Opened(*load_checkpoint(folder, dtype=dtype))


def _open_merged(adapter: Path, base: str | None, strength: float) -> Opened:
    return Opened(*load_merged(adapter, base=base, dtype=torch.float32, scale=strength))


def _save(opened: Opened, folder: Path, form: Form, new_languages: Sequence[str]) -> None:
    model = cast(Qwen3ASRForConditionalGeneration, opened.model)
    dtype, shard = form.dtype, form.max_shard_bytes
    if form.layout is ExportLayout.native:
        save_native(model, opened.processor, folder, dtype=dtype, max_shard_bytes=shard)
        return
    languages = [*LANGUAGES, *(name for name in new_languages if name not in LANGUAGES)]
    save_original(model, opened.processor, folder, dtype=dtype, max_shard_bytes=shard, languages=languages)


def _hidden(folder: Path) -> str | None:
    """transformers reads no thinker_config, fills in default sizes and draws the weights, with a warning alone."""
    if detect_layout(folder) is Layout.NATIVE:
        return None
    return (
        "has the original layout, of which transformers, and so PEFT, makes a model of random weights; name its native copy "
        "(of Qwen/Qwen3-ASR-0.6B it is base=Qwen/Qwen3-ASR-0.6B-hf), or export the merged weights: layout=native"
    )


EXPORT = FamilyExport(
    card=CardText(
        title="Qwen3-ASR",
        layouts={
            ExportLayout.native: LayoutText("the native layout of transformers", _NATIVE),
            ExportLayout.original: LayoutText("the original layout, as qwen-asr and vLLM read it", _ORIGINAL),
            ExportLayout.gguf: LayoutText("a GGUF file, which CrispASR computes", _GGUF),
            ExportLayout.adapter: LayoutText("a LoRA adapter, to be loaded over its base", _ADAPTER),
        },
        licences={"Qwen/": "apache-2.0"},
        licence="The published Qwen3-ASR models are under the Apache License 2.0, which asks that this notice stays with them.",
        training=lambda model: [],
    ),
    dtypes=(ExportDtype.bfloat16, ExportDtype.float32),
    targets={
        ExportTarget.transformers: (ExportLayout.native,),
        ExportTarget.vllm: (ExportLayout.original, ExportLayout.native, ExportLayout.adapter),
        ExportTarget.qwen_asr: (ExportLayout.original,),
        ExportTarget.peft: (ExportLayout.adapter,),
        ExportTarget.crispasr: (ExportLayout.gguf,),
    },
    lacks={
        ExportLayout.ctranslate2: "is a form of Whisper, which CTranslate2 computes; of Qwen3-ASR there is layout=gguf",
        ExportDtype.int8: "is written by layout=gguf alone (target=crispasr)",
        ExportTarget.faster_whisper: "computes Whisper alone; for Qwen3-ASR take target=vllm, target=transformers or "
        "target=qwen_asr",
        ExportDtype.float16: "Qwen3-ASR's decoder overflows in it (its states leave float16's range); export bfloat16 or float32",
    },
    parts=PARTS,
    adapter=ADAPTER_KIND,
    weights=weights_of,
    digest=digest_of,
    tied=TIED,
    hides_from_transformers=_hidden,
    open_whole=_open_whole,
    open_merged=_open_merged,
    save=_save,
    converters={
        ExportLayout.gguf: Converter(
            (ExportDtype.float16, ExportDtype.int8), require_converter, convert, open_converted, takes_context=False
        )
    },
)
