"""CrispASR's runtime: python qwen3_asr_crispasr.py EXPORT CLIPS.json OUT.json ours ROOT | converter CONVERTER.py.

`ours` has our export write the file (target=crispasr), `converter` CrispASR's own script, which writes the end token of the
published models whatever the tokenizer says; its runtime (0.8.45) stops at the model's own all the same.
"""

import os
import subprocess
import sys
from pathlib import Path

from common import MAX_NEW_TOKENS, read_clips, write_texts
from crispasr import Session
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

export, clips_file, out_file, how, path = sys.argv[1:]
converted = Path(out_file).with_suffix(".gguf")


def write_ours() -> Path:
    """By recipes/export.py of the checkout at `path`."""
    command = [
        sys.executable,
        f"{path}/recipes/export.py",
        f"checkpoint={export}",
        "target=crispasr",
        f"out={converted}",
    ]
    subprocess.run(command, stdout=sys.stderr, env=os.environ | {"PYTHONPATH": path}, check=True)
    return next(converted.glob("*.gguf"))


def write_theirs() -> Path:
    """By the script at `path`."""
    command = [sys.executable, path, "--input", export, "--output", str(converted)]
    subprocess.run(command, stdout=sys.stderr, check=True)
    return converted


session = Session(str(write_ours() if how == "ours" else write_theirs()))
session.set_max_new_tokens(MAX_NEW_TOKENS)
texts = []
for samples, language in read_clips(clips_file):
    segments = session.transcribe(samples, sample_rate=16_000, language=TO_LANGUAGE_CODE[language.lower()])
    texts.append(" ".join(segment.text for segment in segments))
write_texts(out_file, texts)
