"""Owns what the frozen proofs call: reading tests/frozen/calls.txt, which holds command lines of the recipes in parts.

Output: `PARTS`, name -> chains, and `WORDS`. The chains of a part run side by side, each in its own folder (proof_inputs.py);
the calls of a chain run one after the other and see each other's files. The file's grammar, indented lines going on:

    $NAME some words                  stands for these words further down
    ## PART                           `## PART (not timed)`: figures of speed follow from saved predictions, so they stay
    NAME: [2x] RECIPE ARGUMENTS       one call; `2x` is under `accelerate launch` with two processes. A blank line ends a chain
        -> FILES                      what is kept besides what is printed
"""

import re
from dataclasses import dataclass
from pathlib import Path

CALLS_FILE = Path(__file__).resolve().parents[1] / "tests" / "frozen" / "calls.txt"


@dataclass(frozen=True)
class Call:
    """One recipe with its arguments.

    name: of the folder below tests/frozen/PART that holds what came out.
    command: the recipe and its arguments, as a shell would split them.
    keep: files of the work folder, globs too; `NAME/` stands for the list of what lies below a folder, FILE.safetensors for
        digests of its tensors, `#FILE` for a digest of the (masked) text where the whole would be large.
    is_timed: the figures of speed in its output are measured, so masked.
    """

    name: str
    command: str
    keep: tuple[str, ...]
    num_processes: int
    is_timed: bool


Chain = tuple[Call, ...]


def read_calls(text: str) -> tuple[dict[str, tuple[Chain, ...]], dict[str, str]]:
    """The parts of a file of calls, and what each $NAME stands for."""
    words: dict[str, str] = {}
    parts: dict[str, list[Chain]] = {}
    is_timed = True
    for block in re.split(r"\n\s*\n", re.sub(r"\n {4,}", " ", text.strip())):
        if block.startswith("## "):
            part = block.split()[1]
            parts[part], is_timed = [], not block.endswith("(not timed)")
        elif block.startswith("$"):
            name, _, meaning = block[1:].partition(" ")
            words[name] = meaning
        else:
            lines = [re.sub(r"\$([A-Z]+)", lambda found: words[found[1]], line) for line in block.split("\n")]
            parts[part].append(tuple(_call(line, is_timed=is_timed) for line in lines))
    return {name: tuple(chains) for name, chains in parts.items()}, words


def _call(line: str, *, is_timed: bool) -> Call:
    name, _, rest = line.partition(": ")
    command, _, keep = rest.partition(" -> ")
    launched = re.match(r"(\d+)x ", command)
    num_processes = int(launched[1]) if launched else 1
    return Call(name, command[launched.end() if launched else 0 :], tuple(keep.split()), num_processes, is_timed)


PARTS, WORDS = read_calls(CALLS_FILE.read_text(encoding="utf-8"))
