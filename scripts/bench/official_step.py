"""Owns the official package in bench_train.py: a process over an overlay with transformers 4.57.6, asked for a step at a time.

The parent imports `OfficialStep`; the child runs this file. Input: lines on stdin. Output: a StepResult as JSON a line.
The child does what the official script does to a batch and to the model (two processor calls, its labels, the thinker's own
loss of each microbatch's mean), but in float32 on a CPU, where the script takes bf16 weights. Without FlashAttention 2, as
here, its encoder attends over the whole of a clip of more than 8 s: another model than ours, see docs/systems.md.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.train_step import Clock, StepResult, saved_bytes, target_text


class OfficialStep:
    """The child process, started at once; `step` asks it for one optimizer step."""

    def __init__(
        self, arguments: argparse.Namespace, folder: Path, utterances: list[Any], microbatches: list[list[int]]
    ) -> None:
        from scripts.bench.bench_input import OFFICIAL

        if not arguments.official.is_dir():
            install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(arguments.official)]
            subprocess.run([*install, *OFFICIAL], check=True)
        job = {
            "model": str(folder / "original"),
            "microbatches": microbatches,
            "paths": [str(one.audio) for one in utterances],
            "targets": [target_text(one) for one in utterances],
            "adapt": arguments.adapt,
            "device": arguments.device,
            "threads": arguments.threads,
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        paths = [str(arguments.official.resolve()), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(folder / "job.json")],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": str(arguments.threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer("ready")

    def step(self, weigh: bool) -> StepResult:
        """One optimizer step of the child."""
        assert self.process.stdin
        print(int(weigh), file=self.process.stdin, flush=True)
        return StepResult(**json.loads(self._answer("{")))

    def _answer(self, start: str) -> str:
        """The next line of the child that begins so; the package prints others."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        raise SystemExit("the official package stopped; its message stands above")


def serve(job: dict[str, Any]) -> None:
    """Answer every line with one optimizer step."""
    torch.set_num_threads(job["threads"])
    torch.set_flush_denormal(True)
    parts = _package()
    device = torch.device(job["device"])
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = parts.modeling.Qwen3ASRForConditionalGeneration.from_pretrained(job["model"], dtype=dtype).to(device)
    processor = parts.processing.Qwen3ASRProcessor.from_pretrained(job["model"], fix_mistral_regex=False)
    thinker = model.thinker
    if job["adapt"] == "lora":
        from peft import LoraConfig, inject_adapter_in_model

        names = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
        inject_adapter_in_model(LoraConfig(r=16, target_modules=rf"thinker\.model\..*({names})"), model)
        model.requires_grad_(False)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)
    trained = [p for p in thinker.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0, fused=True)
    thinker.train()
    print("ready", flush=True)
    clock, kept = Clock(device, is_wall=job["threads"] > 1 or device.type == "cuda"), {}
    for line in sys.stdin:
        result = _step(job, thinker, processor, optimizer, clock, kept, weigh=line.strip() == "1")
        print(json.dumps(vars(result)), flush=True)


def _step(
    job: dict, thinker: Any, processor: Any, optimizer: Any, clock: Clock, kept: dict[int, Any], *, weigh: bool
) -> StepResult:
    """kept: on a GPU the batches, made once."""
    began_s, is_cuda = clock(), clock.device.type == "cuda"
    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    batches = [kept.get(i) or _collate(processor, rows, job) for i, rows in enumerate(job["microbatches"])]
    if is_cuda and not kept:
        kept.update(enumerate({name: tensor.pin_memory() for name, tensor in batch.items()} for batch in batches))
        batches = list(kept.values())
    input_s = clock() - began_s
    losses, numbers, heaviest, padded = [], [], 0, 0.0
    for batch in batches:
        padded += 1.0 - float(batch["attention_mask"].float().mean())
        numbers.append(int((batch["labels"] != -100).sum()))
        inputs = {name: _there(tensor, thinker, clock.device) for name, tensor in batch.items()}
        forward = lambda inputs=inputs: thinker(**inputs).loss  # noqa: E731
        loss, size = saved_bytes(forward, thinker) if weigh else (forward(), 0)
        (loss / len(batches)).backward()
        losses.append(loss.detach())
        heaviest = max(heaviest, size)
    torch.nn.utils.clip_grad_norm_([p for p in thinker.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return StepResult(
        seconds=clock() - began_s,
        input_s=input_s,
        loss_nats=sum(float(loss) * number for loss, number in zip(losses, numbers, strict=True)) / sum(numbers),
        num_targets=sum(numbers),
        padded_fraction=padded / len(batches),
        saved_bytes=heaviest,
        peak_bytes=torch.cuda.max_memory_allocated() if is_cuda else 0,
    )


def _there(tensor: torch.Tensor, thinker: Any, device: torch.device) -> torch.Tensor:
    """On the device, numbers in the model's own format, as the script has them."""
    dtype = thinker.dtype if tensor.is_floating_point() else tensor.dtype
    return tensor.to(device, non_blocking=True).to(dtype)


def _collate(processor: Any, rows: list[int], job: dict[str, Any]) -> dict[str, torch.Tensor]:
    from scripts.bench.official_collator import _collate as collate

    system = {"role": "system", "content": ""}
    user = {"role": "user", "content": [{"type": "audio", "audio": None}]}
    prompt = processor.apply_chat_template([[system, user]], add_generation_prompt=True, tokenize=False)[0]
    return collate(processor, [job["paths"][i] for i in rows], [job["targets"][i] for i in rows], prompt)


def _package() -> Any:
    """Model and processor files of the package, without the web demo and aligner that its own __init__ imports."""
    import importlib
    import importlib.util

    found = importlib.util.find_spec("qwen_asr")
    assert found and found.submodule_search_locations, "PYTHONPATH names no overlay with qwen-asr"
    for name in ("qwen_asr", "qwen_asr.core"):
        package = ModuleType(name)
        package.__path__ = [str(Path(found.submodule_search_locations[0], *name.split(".")[1:]))]
        sys.modules[name] = package
    base = "qwen_asr.core.transformers_backend"
    parts = ModuleType("parts")
    parts.modeling = importlib.import_module(f"{base}.modeling_qwen3_asr")  # type: ignore[attr-defined]
    parts.processing = importlib.import_module(f"{base}.processing_qwen3_asr")  # type: ignore[attr-defined]
    return parts


if __name__ == "__main__":
    serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
