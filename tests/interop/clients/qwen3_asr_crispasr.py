"""CrispASR's runtime: python qwen3_asr_crispasr.py EXPORT CLIPS.json OUT.json ours ROOT | converter CONVERTER.py.

`ours` has our export write the file (target=crispasr), `converter` CrispASR's own script, which writes the end token of the
published models whatever the tokenizer says; that file is given the export's own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from common import MAX_NEW_TOKENS, read_clips, write_texts
from crispasr import Session
from gguf import GGUFReader
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
    """By the script at `path`; then the end token is set."""
    command = [sys.executable, path, "--input", export, "--output", str(converted)]
    subprocess.run(command, stdout=sys.stderr, check=True)
    settings = json.loads((Path(export) / "generation_config.json").read_text(encoding="utf-8"))
    reader = GGUFReader(converted, "r+")
    for key, value in (("eos_token_id", settings["eos_token_id"][0]), ("pad_token_id", settings["pad_token_id"])):
        field = reader.get_field(f"qwen3asr.{key}")
        field.parts[field.data[0]][0] = value
    return converted


session = Session(str(write_ours() if how == "ours" else write_theirs()))
session.set_max_new_tokens(MAX_NEW_TOKENS)
texts = []
for samples, language in read_clips(clips_file):
    segments = session.transcribe(samples, sample_rate=16_000, language=TO_LANGUAGE_CODE[language.lower()])
    texts.append(" ".join(segment.text for segment in segments))
write_texts(out_file, texts)
