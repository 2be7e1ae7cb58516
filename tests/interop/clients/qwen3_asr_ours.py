"""Our own evaluation over another transformers: python qwen3_asr_ours.py EXPORT CLIPS.json OUT.json ROOT.

Every warning of a deprecation that our code causes ends it.
"""

import os
import subprocess
import sys
from pathlib import Path

import transformers
from common import write_texts

export, clips_file, out_file, root = sys.argv[1:]
sys.path.insert(0, root)
from tests.interop.exports import evaluation, read_heard  # noqa: E402

clips, out = Path(clips_file).parent, Path(out_file).with_suffix(".heard")
arguments = evaluation("tiny", Path(export), clips, out, "own")
command = [sys.executable, "-W", "always", str(Path(root) / "recipes/evaluate.py"), *arguments]
done = subprocess.run(
    command,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env=os.environ | {"PYTHONPATH": root},
    check=False,
)
assert done.returncode == 0, done.stdout[-3000:]
# transformers says its own through its logger, once, without a line of code; Python names the file.
words = ("qasr_train/", "past_key_values", "is deprecated")
said = [line for line in done.stdout.splitlines() if any(word in line for word in words) and "arning" in line]
print("transformers", transformers.__version__, *said, sep="\n")
assert not said, "\n".join(said)
write_texts(out_file, read_heard(out, clips))
