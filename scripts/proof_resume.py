"""Owns the proof that what an older version began can be finished: runs are killed under one checkout and resumed under another.

Input: two checkouts, the clips of proof_inputs.py. Output: a line a run; exit status 1 where figures, transcripts or
weights are not those of a run that was not stopped. Called by `scripts/proofs.py resume`.
"""

import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from scripts.proof_calls import WORDS, Call
from scripts.proof_inputs import make_inputs
from scripts.proofs import command_line, environment, kept, mask, run, short_diff


@dataclass(frozen=True)
class Interruption:
    """A run that is killed once `num_lines` lines stand in the file `watched` of its folder, and what then must be equal."""

    command: str
    watched: str
    num_lines: int
    keep: tuple[str, ...]
    num_processes: int = 1


_ALL = f"{WORDS['RESUMED']} {WORDS['EVERYTHING']}"
_TRAINED = (
    "metrics.jsonl",
    "samples.jsonl",
    "checkpoints/last/*.safetensors",
    "checkpoints/last/state/optimizer.safetensors",
)
_EVALUATE = (
    "evaluate suite=demo suite.sets.medical.source.path=clips.jsonl suite.sets.medical.source.split=train "
    "suite.sets.general.source.path=speech.jsonl suite.sets.general.source.split=null decode.check_batch_invariance=0 "
    "decode.max_batch_rows=1 device=cpu"
)
_EVALUATED = ("predictions.jsonl", "utterances.jsonl")
INTERRUPTIONS = {
    "training": Interruption(f"{WORDS['RESUMED']} adapt=full", "metrics.jsonl", 6, _TRAINED),
    "training-everything": Interruption(f"{_ALL} adapt.lora.dropout=0.1", "metrics.jsonl", 9, _TRAINED),
    "training-two": Interruption(f"{_ALL} adapt=full", "metrics.jsonl", 7, _TRAINED, 2),
    "evaluation": Interruption(_EVALUATE, "predictions.partial.jsonl", 5, _EVALUATED),
    "labelling": Interruption(
        "pseudo_label model=tiny source.path=speech.jsonl decode.max_batch_rows=1 min_confidence=0.7 device=cpu",
        "predictions.partial.jsonl", 2, ("predictions.jsonl", "manifest.jsonl", "rejects.jsonl"),
    ),
}  # fmt: skip


def prove_resuming(began_with: Path, code: Path) -> int:
    """Kill runs of another checkout, finish them with this one, and compare with runs that this one did alone."""
    num_different = 0
    for name, interruption in INTERRUPTIONS.items():
        with tempfile.TemporaryDirectory(prefix="qasr-proof-") as folder:
            work = Path(folder).resolve()
            make_inputs(work)
            straight = _resume_call(name, interruption, "straight")
            shown = run(straight, work, code)
            expected = {file: mask(text, work, code, straight) for file, text in kept(straight, work)}
            told = interrupt(_resume_call(name, interruption, "resumed"), interruption, work, began_with)
            resumed = _resume_call(name, interruption, "resumed", "resume=true")
            shown += run(resumed, work, code)
            found = {file: mask(text, work, code, resumed) for file, text in kept(resumed, work)}
        different = [
            file for file in expected if _without_run_dir(expected[file]) != _without_run_dir(found.get(file, ""))
        ]
        for file in different:
            print(
                f"== {name}/{file}\n{short_diff(expected[file].splitlines(), found.get(file, '').splitlines())}", end=""
            )
        is_fine = not different and "missing\n" not in expected.values() and shown.count("exit status 0\n") == 2
        print(f"resume {name}: {told}; {'as the run that was not stopped' if is_fine else 'NOT as it should be'}")
        print("" if is_fine else shown, end="", flush=True)
        num_different += not is_fine
    return int(num_different > 0)


def _resume_call(name: str, interruption: Interruption, run_dir: str, *more: str) -> Call:
    command = " ".join([interruption.command, f"run_dir={run_dir}", *more])
    keep = tuple(f"{run_dir}/{file}" for file in interruption.keep)
    return Call(name, command, keep, interruption.num_processes, is_timed=True)


def _without_run_dir(text: str) -> str:
    return re.sub(r"\b(straight|resumed)\b", "RUN", text)


def interrupt(call: Call, interruption: Interruption, work: Path, code: Path) -> str:
    """Start a call and kill it, with all its processes, once enough lines stand in a file; says when that was.

    Raises:
        RuntimeError: it ended before, by itself.
    """
    process = subprocess.Popen(
        command_line(call, code), cwd=work, env=environment(code), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    path = work / "resumed" / interruption.watched
    while not path.exists() or path.read_bytes().count(b"\n") < interruption.num_lines:
        if process.poll() is not None:
            raise RuntimeError(f"{call.name}: ended with status {process.returncode} before it could be killed")
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = [str(one.relative_to(work / "resumed")) for one in sorted((work / "resumed").glob("checkpoints/step_*"))]
    return f"killed at line {path.read_bytes().count(10)} of {path.name}{', with ' if left else ''}{', '.join(left)}"
