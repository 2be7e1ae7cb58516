"""Owns what an export knows of Whisper: transformers' layout and adapters, how each is opened, saved and described."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel

from qasr_train.models.exporting.family import CardText, Converter, FamilyExport, Form, LayoutText, Opened
from qasr_train.models.lora_files import merge_adapter
from qasr_train.models.settings import ExportDtype, ExportLayout, ExportTarget
from qasr_train.models.whisper.checkpoints import (
    ADAPTER_KIND,
    TIED,
    digest_of,
    open_whisper,
    save_whisper,
    weights_of,
)
from qasr_train.models.whisper.config import PARTS, Window
from qasr_train.models.whisper.converted import convert, open_converted, require_converter

_TRANSCRIBE = """inputs = processor(samples, sampling_rate=16_000, return_tensors="pt").to(model.device, model.dtype)
output = model.generate(**inputs, language="en", task="transcribe")
print(processor.batch_decode(output, skip_special_tokens=True)[0])"""
_FASTER = """```python
from faster_whisper import WhisperModel

segments, _ = WhisperModel("THIS_FOLDER").transcribe("speech.wav", language="en", beam_size=1, without_timestamps=True)
print("".join(segment.text for segment in segments))
```

It fills the window after a clip with zeros of the spectrogram, which are no silence there, and may hear short clips otherwise;
given samples with silence up to 30 s, it says what transformers says."""
_CONVERTED = f"""{_FASTER}

`WhisperModel("THIS_FOLDER", compute_type=...)` says in which number format it computes; by default the one of the file."""
_NATIVE = f"""```python
import soundfile
from transformers import AutoProcessor, WhisperForConditionalGeneration

processor = AutoProcessor.from_pretrained("THIS_FOLDER")
model = WhisperForConditionalGeneration.from_pretrained("THIS_FOLDER", dtype="auto", device_map="auto")
samples, _ = soundfile.read("speech.wav")  # 16 kHz, one channel, at most 30 s
{_TRANSCRIBE}
```

An English-only model takes neither `language` nor `task`. For faster-whisper, converted once:

```sh
ct2-transformers-converter --model THIS_FOLDER --output_dir CONVERTED --quantization float16 \\
  --copy_files tokenizer.json preprocessor_config.json
```

"""
_NATIVE += _FASTER.replace("THIS_FOLDER", "CONVERTED")
_ADAPTER = f"""```python
import soundfile
from peft import PeftModel
from transformers import AutoProcessor, WhisperForConditionalGeneration

processor = AutoProcessor.from_pretrained("BASE_MODEL")
model = WhisperForConditionalGeneration.from_pretrained("BASE_MODEL")
model = PeftModel.from_pretrained(model, "THIS_FOLDER")
samples, _ = soundfile.read("speech.wav")  # 16 kHz, one channel, at most 30 s
{_TRANSCRIBE}
```

`AutoPeftModel.from_pretrained("THIS_FOLDER")` opens both where the base lies at the place that `adapter_config.json` names. What
converts from transformers (faster-whisper, whisper.cpp) needs whole weights: export `layout=native`."""


def _training(model: Mapping[str, Any]) -> list[str]:
    """What the encoder was given; other programs give it the full window."""
    window = model.get("window")
    if window is None:
        return []
    if window == Window.full.value:
        return ["- sound given to the encoder: the full window of 30 s"]
    share = model.get("full_window_fraction") or 0
    rest = f"; the full window of 30 s in {share:.0%} of the batches" if share else ", never the full window of 30 s"
    return [
        f"- sound given to the encoder: the clip alone{rest}. Other programs than qasr_train give it the full window"
    ]


def _open_whole(folder: Path, dtype: torch.dtype) -> Opened:
    model, processor, _ = open_whisper(folder, dtype=dtype)
    return Opened(cast(Any, model), processor)


def _open_merged(adapter: Path, base: str | None, strength: float) -> Opened:
    model, processor, _ = open_whisper(adapter, base=base)
    return Opened(merge_adapter(cast(PeftModel, model), strength), processor)


def _save(opened: Opened, folder: Path, form: Form, new_languages: Sequence[str]) -> None:
    assert form.layout is ExportLayout.native
    save_whisper(opened.model, opened.processor, folder, dtype=form.dtype, max_shard_bytes=form.max_shard_bytes)


EXPORT = FamilyExport(
    card=CardText(
        title="Whisper",
        layouts={
            ExportLayout.native: LayoutText("the layout of transformers", _NATIVE),
            ExportLayout.ctranslate2: LayoutText("a CTranslate2 model, which faster-whisper computes", _CONVERTED),
            ExportLayout.adapter: LayoutText("a LoRA adapter, to be loaded over its base", _ADAPTER),
        },
        licences={"openai/whisper-large-v3-turbo": "mit", "openai/whisper-": "apache-2.0", "distil-whisper/": "mit"},
        licence=(
            "OpenAI's Whisper models are published under the Apache License 2.0 on the Hub (large-v3-turbo, like OpenAI's own "
            "repository of them all, under the MIT License); both ask that their notice stays with them."
        ),
        training=_training,
    ),
    dtypes=(ExportDtype.float16, ExportDtype.bfloat16, ExportDtype.float32),
    targets={
        ExportTarget.transformers: (ExportLayout.native,),
        ExportTarget.vllm: (ExportLayout.native,),
        ExportTarget.peft: (ExportLayout.adapter,),
        ExportTarget.faster_whisper: (ExportLayout.ctranslate2, ExportLayout.native),
    },
    lacks={
        ExportLayout.gguf: "is a form of Qwen3-ASR, which CrispASR computes; of Whisper there is layout=ctranslate2",
        ExportTarget.crispasr: "is given Qwen3-ASR alone; for Whisper take target=faster_whisper, target=vllm or "
        "target=transformers",
        ExportDtype.int8: "is written by layout=ctranslate2 alone (target=faster_whisper)",
        ExportTarget.qwen_asr: "computes Qwen3-ASR alone; for Whisper take target=transformers, target=vllm or "
        "target=faster_whisper",
        ExportLayout.original: "is a layout of Qwen3-ASR, and Whisper has none beside transformers' own, which vLLM and the "
        "converter of faster-whisper read; export layout=native, or layout=adapter for LoRA alone",
    },
    parts=PARTS,
    adapter=ADAPTER_KIND,
    weights=weights_of,
    digest=digest_of,
    tied=TIED,
    hides_from_transformers=lambda folder: None,
    open_whole=_open_whole,
    open_merged=_open_merged,
    save=_save,
    converters={
        ExportLayout.ctranslate2: Converter(
            (ExportDtype.float16, ExportDtype.bfloat16, ExportDtype.float32, ExportDtype.int8),
            require_converter,
            convert,
            open_converted,
        )
    },
)
