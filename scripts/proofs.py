"""Owns the frozen proofs: what the recipes print and write, kept under tests/frozen and compared after every change of the code.

    python scripts/proofs.py freeze [PART ...]   run the parts (all of them by default) and write what came out
    python scripts/proofs.py check [PART ...]    run them and compare with what was written; exit status 1 at a difference
    python scripts/proofs.py resume --began-with CHECKOUT    runs that another checkout began, finished by this one

Input: the calls of proof_calls.py, the clips of proof_inputs.py. The code is reached by its command lines alone and `--code
CHECKOUT` says which code, so the proofs outlive every move inside the package. Times, speeds, versions, commits and absolute
paths are masked; the rest is compared to the character, floats too, so `check` is for the machine that froze (or one that
computes alike). tests/test_frozen.py compares with a tolerance.
"""

import argparse
import difflib
import hashlib
import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.proof_calls import PARTS, Call, Chain  # noqa: E402
from scripts.proof_inputs import make_inputs  # noqa: E402

FROZEN = ROOT / "tests" / "frozen"
MAX_DIFF_LINES, LINE_WIDTH = 14, 160
CALL_LIMIT_S = 600
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "offline",
    "MPLBACKEND": "Agg",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "PYTHONWARNINGS": "ignore",
    "COLUMNS": "120",
}
MASKS = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", "<time>"),
    (r"\b[0-9a-f]{40}\b", "<commit>"),
    (r'("is_dirty": )(true|false)', r"\1<dirty>"),
    (r'("(?!family|name|path|id)[a-z_]+": )"\d+\.\d+(\.\d+)?[\w.+]*"', r'\1"<version>"'),
    (r"\bat commit [0-9a-f]{12}( with local changes)?", "at commit <commit>"),
    (r"\b(transformers|peft) \d+\.\d[\w.]*", r"\1 <version>"),
    (r"\btorch \d[\w.+]*", "torch <version>"),
    (r"\bafter \d+\.\d s\b", "after <time>"),
    (r"(&quot;[a-z_]+&quot;: )&quot;\d+\.\d+(\.\d+)?[\w.+]*&quot;", r"\1<version>"),
)
# Of metrics.jsonl, scores.json and predictions: what is measured in seconds.
SPEED = (
    r'("(?:time|time_s|rtfx|inference_s|[\w/]+_per_s|[\w/]*data_wait_fraction|[\w/]*slowest_process_ratio)": )[-+.\de]+'
)
LAUNCHER = r"(?m)^(?:[WE]\d{4} |Traceback|\[rank\d|error \(process)"  # what follows the first process's error
# The first is written only where processes drift apart.
UNSTEADY = r', "train/(?:own_s_per_step/process_\d+|host_memory_gib)": [-+.\de]+'


# ---- running


def main() -> int:
    """Read the command line and do what it says; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["freeze", "check", "resume"])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; a single call as PART/CALL")
    parser.add_argument("--code", type=Path, default=ROOT, help="checkout whose recipes run (default: this one)")
    parser.add_argument("--began-with", type=Path, help="checkout that begins the runs of `resume`")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="chains that run at a time")
    given = parser.parse_args()
    wanted = given.parts or list(PARTS)
    if unknown := [part for part in wanted if part.partition("/")[0] not in PARTS]:
        parser.error(f"no part {unknown[0]}; there are {', '.join(PARTS)}")
    if given.what == "resume":
        if given.began_with is None:
            parser.error("resume needs --began-with CHECKOUT")
        from scripts.proof_resume import prove_resuming  # it calls what stands here

        return prove_resuming(given.began_with.resolve(), given.code.resolve())
    num_different = 0
    for part in wanted:
        began_s = time.monotonic()
        found = run_part(part, given.code.resolve(), num_jobs=given.jobs)
        if given.what == "freeze":
            write(part, found)
            outcome = f"{len(found)} files written"
        else:
            different = list(differences(part, found))
            num_different += len(different)
            print("".join(different), end="")
            outcome = f"{len(different)} of {len(found)} files differ" if different else f"{len(found)} files equal"
        print(f"{part}: {outcome} ({time.monotonic() - began_s:.0f} s)", flush=True)
    return int(num_different > 0)


def run_part(part: str, code: Path, *, num_jobs: int | None = 1) -> dict[str, str]:
    """What the calls of a part give: `CALL/FILE` -> masked text. A part `PART/CALL` runs that chain alone, as far as the call."""
    name, _, only = part.partition("/")
    chains = [chain for chain in PARTS[name] if not only or any(call.name == only for call in chain)]
    with ThreadPoolExecutor(num_jobs) as pool:
        outcomes = list(pool.map(lambda chain: run_chain(chain, code), chains))
    found = {file: text for outcome in outcomes for file, text in outcome.items()}
    return {file: text for file, text in found.items() if not only or _is_of(only, file)}


def run_chain(chain: Chain, code: Path) -> dict[str, str]:
    """Run calls one after the other in a new folder; what they print and what they keep."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="qasr-proof-") as folder:
        work = Path(folder).resolve()
        make_inputs(work)
        for call in chain:
            shown = run(call, work, code)
            found[f"{call.name}/shown.txt" if call.keep else f"{call.name}.txt"] = mask(shown, work, code, call)
            for file, text in kept(call, work):
                found[f"{call.name}/{file}"] = mask(text, work, code, call)
    return {file: _digest(text) if Path(file).suffix == ".digest" else text for file, text in found.items()}


def run(call: Call, work: Path, code: Path) -> str:
    """Exit status, standard output and standard error of a call, without progress bars."""
    process = subprocess.Popen(
        command_line(call, code),
        cwd=work,
        env=environment(code),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=CALL_LIMIT_S)
    except BaseException as error:  # a launcher that is killed alone leaves its processes behind
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        errors += f"ran longer than {CALL_LIMIT_S} s\n"
    errors = re.split(LAUNCHER, errors, maxsplit=1)[0] if call.num_processes > 1 else errors
    return f"exit status {process.returncode}\n---- output\n{output}---- errors\n{without_bars(errors)}"


def command_line(call: Call, code: Path) -> list[str]:
    """The arguments of the process."""
    recipe, *arguments = shlex.split(call.command)
    script = [str(code / "recipes" / f"{recipe}.py"), *arguments]
    if call.num_processes == 1:
        return [sys.executable, *script]
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(code / "configs" / "launch" / "cpu.yaml")]
    number = ["--num_processes", str(call.num_processes), "--main_process_port", str(free_port())]
    return [sys.executable, *launch, *number, *script]


def environment(code: Path) -> dict[str, str]:
    """One thread, no network, no GPU, the package of that checkout; nothing of a launcher that may run around us."""
    outer = {
        name: value for name, value in os.environ.items() if not name.startswith(("QASR_", "ACCELERATE_", "PYTEST_"))
    }
    return outer | ENVIRONMENT | {"PYTHONPATH": str(code)}


def free_port() -> int:
    """A port that nothing listens to, below those that the system hands out to connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


# ---- what is kept, and as what


def kept(call: Call, work: Path) -> Iterator[tuple[str, str]]:
    """(name below tests/frozen, text) of what a call is to keep; a missing file says so."""
    for pattern in call.keep:
        if pattern.endswith("/"):
            yield f"{Path(pattern).name}.files", listing(work / pattern)
            continue
        is_digest = pattern.startswith("#")
        paths = sorted(work.glob(pattern.removeprefix("#")))
        if not paths:
            yield Path(pattern.removeprefix("#")).name.replace("*", "any"), "missing\n"
        for path in paths:
            name = str(path.relative_to(work)).replace("/", "-") if is_digest else path.name
            if path.suffix == ".safetensors":
                yield f"{path.name}.tensors", describe_tensors(path)
            else:
                yield (f"{name}.digest" if is_digest else name), path.read_text(encoding="utf-8")


def listing(folder: Path) -> str:
    """Every file below a folder, links with what they point to."""
    lines = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_symlink():
            lines.append(f"{name} -> {path.readlink()}")
        elif path.is_file():
            lines.append(str(name))
    return "\n".join(lines) + "\n"


def describe_tensors(path: Path) -> str:
    """Number, names and shapes, and bytes of the tensors of a safetensors file, as digests."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    names, values = hashlib.sha256(), hashlib.sha256()
    for name in sorted(header):
        begin, end = header[name]["data_offsets"]
        names.update(json.dumps([name, header[name]["dtype"], header[name]["shape"]]).encode())
        values.update(content[8 + size + begin : 8 + size + end])
    shapes, tensors = names.hexdigest()[:20], values.hexdigest()[:20]
    return f"{len(header)} tensors\nnames and shapes {shapes}\nvalues {tensors}\n"


def mask(text: str, work: Path, code: Path, call: Call) -> str:
    """Replace what differs from run to run or from machine to machine."""
    for path, name in ((work, "<work>"), (Path(sys.prefix), "<venv>"), (code, "<code>"), (ROOT, "<code>")):
        text = text.replace(str(path), name)
    for pattern, replacement in MASKS:
        text = re.sub(pattern, replacement, text)
    return without_speed(text) if call.is_timed else text


def without_speed(text: str) -> str:
    """Mask measured speeds: JSON figures, and the column RTFx of tables (Markdown, or of the terminal)."""
    text = re.sub(SPEED, r"\1<speed>", re.sub(UNSTEADY, "", text))
    lines: list[str] = []
    column, width = None, 0  # of Markdown: which cell; of the terminal: how wide a whole row is
    for line in text.split("\n"):
        cells = line.split("|")
        names = [cell.strip() for cell in cells]
        if "RTFx" in names:
            column = names.index("RTFx")
        elif column is not None and len(cells) > column and "--" not in cells[column]:
            cells[column] = " <speed> " if cells[column].strip() else cells[column]
            line = "|".join(cells)
        elif len(cells) == 1:
            column = None
        if re.search(r" RTFx$", line):
            width, line = len(line), re.sub(r"\s+RTFx$", " RTFx", line)
        elif width:
            width = width if line.strip() else 0
            line = re.sub(r"\s+[\d.]+$", " <speed>", line) if len(line) == width else line
        lines.append(line)
    return "\n".join(lines)


def without_bars(errors: str) -> str:
    """Standard error without what a progress bar drew."""
    lines = [line.split("\r")[-1] for line in errors.split("\n")]
    return "".join(f"{line}\n" for line in lines if line.strip() and not re.search(r"\d%\|", line))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20] + "\n"


# ---- frozen files


def write(part: str, found: dict[str, str]) -> None:
    """Replace the frozen files of a part."""
    name = part.partition("/")[0]
    for file in frozen(part):
        (FROZEN / name / file).unlink()
    for file, text in found.items():
        path = FROZEN / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def frozen(part: str) -> dict[str, str]:
    """The frozen files of a part, as `run_part` names them."""
    name, _, only = part.partition("/")
    paths = [path for path in sorted((FROZEN / name).rglob("*")) if path.is_file()]
    texts = {str(path.relative_to(FROZEN / name)): path.read_text(encoding="utf-8") for path in paths}
    return {file: text for file, text in texts.items() if not only or _is_of(only, file)}


def _is_of(call: str, file: str) -> bool:
    return file.startswith((f"{call}/", f"{call}.txt"))


def differences(part: str, found: dict[str, str]) -> Iterator[str]:
    """A short text for each file that is not as it was frozen."""
    expected = frozen(part)
    for file in sorted(expected.keys() | found.keys()):
        title = f"{part.partition('/')[0]}/{file}"
        if file not in found:
            yield f"== {title}: no longer written\n"
        elif file not in expected:
            yield f"== {title}: was not there\n"
        elif expected[file] != found[file]:
            yield f"== {title}\n{short_diff(expected[file].splitlines(), found[file].splitlines())}"


def short_diff(before: Sequence[str], after: Sequence[str]) -> str:
    """The first lines that differ; of long lines that stand at the same place the part from where they differ."""
    if len(before) == len(after):
        pairs = [(number, pair) for number, pair in enumerate(zip(before, after, strict=True), 1) if pair[0] != pair[1]]
        lines = [
            f"{number}{sign} {part}" for number, pair in pairs for sign, part in zip("-+", _apart(*pair), strict=True)
        ]
    else:
        diff = difflib.unified_diff(before, after, lineterm="", n=0)
        lines = [line[:LINE_WIDTH] for line in diff if not line.startswith(("---", "+++"))]
    more = [f"... {len(lines) - MAX_DIFF_LINES} more lines"] if len(lines) > MAX_DIFF_LINES else []
    return "".join(f"{line}\n" for line in lines[:MAX_DIFF_LINES] + more)


def _apart(before: str, after: str) -> tuple[str, str]:
    shared = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    begin = max(0, shared - 60) if max(len(before), len(after)) > LINE_WIDTH else 0
    return before[begin : begin + LINE_WIDTH], after[begin : begin + LINE_WIDTH]


if __name__ == "__main__":
    sys.exit(main())
