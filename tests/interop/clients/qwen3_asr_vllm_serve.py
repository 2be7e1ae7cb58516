"""`vllm serve` on this machine alone, and the openai client: python qwen3_asr_vllm_serve.py EXPORT CLIPS.json OUT.json [BASE].

BASE is what an adapter lies over, unmerged.
"""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from common import MAX_NEW_TOKENS, read_files, write_texts
from openai import OpenAI
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE
from vllm_cpu import MAX_TOKENS, prepare

START_LIMIT_S = 900
export, clips_file, out_file, *base = sys.argv[1:]
prepare(Path(out_file).with_suffix(".path"))
with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
command = [str(Path(sys.executable).with_name("vllm")), "serve", base[0] if base else export, "--dtype", "float32"]
command += ["--host", "127.0.0.1", "--port", str(port), "--enforce-eager", "--skip-mm-profiling", "--max-num-seqs", "2"]
command += ["--max-model-len", str(MAX_TOKENS), "--max-num-batched-tokens", str(MAX_TOKENS)]
if base:
    command += [
        "--served-model-name",
        "base",
        "--enable-lora",
        "--max-lora-rank",
        "16",
        "--lora-modules",
        f"tuned={export}",
    ]
else:
    command += ["--served-model-name", "tuned"]


def wait_for(server: subprocess.Popen[bytes]) -> None:
    """Until it answers."""
    end_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end_s:
        assert server.poll() is None, log.read_text(encoding="utf-8")[-3000:]
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(1)
    raise TimeoutError(log.read_text(encoding="utf-8")[-3000:])


log = Path(out_file).with_suffix(".log")
with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as server:
    try:
        wait_for(server)
        client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        texts = [
            client.audio.transcriptions.create(
                model="tuned",
                file=Path(audio),
                language=TO_LANGUAGE_CODE[language.lower()],
                temperature=0,
                extra_body={"max_completion_tokens": MAX_NEW_TOKENS},
            ).text
            for audio, language in read_files(clips_file)
        ]
    finally:
        server.terminate()
write_texts(out_file, texts)
