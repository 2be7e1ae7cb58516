"""`qasr serve` on this machine alone, and the openai client: python qwen3_asr_ours_serve.py EXPORT CLIPS.json OUT.json ROOT."""

import os
import subprocess
import sys
import time
from pathlib import Path

from common import MAX_NEW_TOKENS, read_files, write_texts
from openai import APIConnectionError, BadRequestError, OpenAI
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

START_LIMIT_S = 300
export, clips_file, out_file, root = sys.argv[1:]
log = Path(out_file).with_suffix(".log")
command = [sys.executable, str(Path(root) / "recipes/serve.py"), "model=tiny", f"model.path={export}", "name=tuned"]
command += ["port=0", "device=cpu", "precision=fp32", f"decode.max_new_tokens={MAX_NEW_TOKENS}"]


def address(server: subprocess.Popen[bytes]) -> str:
    """Where it listens, once it says so."""
    end_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end_s:
        told = [word for word in log.read_text(encoding="utf-8").split() if word.startswith("http://")]
        if told:
            return told[0]
        assert server.poll() is None, log.read_text(encoding="utf-8")[-3000:]
        time.sleep(0.5)
    raise TimeoutError(log.read_text(encoding="utf-8")[-3000:])


with (
    log.open("wb") as file,
    subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": root}) as server,
):
    try:
        client = OpenAI(base_url=f"{address(server)}v1", api_key="none", max_retries=0)
        assert [one.id for one in client.models.list()] == ["tuned"]
        texts = []
        for audio, language in read_files(clips_file):
            code = TO_LANGUAGE_CODE[language.lower()]
            given = {"model": "tuned", "file": Path(audio), "language": code, "temperature": 0}
            texts.append(client.audio.transcriptions.create(**given).text)
        # Of the last clip, what the client makes of the other formats, and of what is refused.
        verbose = client.audio.transcriptions.create(**given, response_format="verbose_json")
        assert verbose.text == texts[-1] and verbose.duration > 0 and verbose.segments[0].end <= verbose.duration
        assert "-->" in client.audio.transcriptions.create(**given, response_format="srt")
        try:
            client.audio.transcriptions.create(**given, stream=True)
        except BadRequestError as error:
            assert error.param == "stream", error
        else:
            raise AssertionError("stream=True was not refused")
    finally:
        server.terminate()
try:
    client.models.list()
except APIConnectionError:
    write_texts(out_file, texts)
