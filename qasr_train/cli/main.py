"""Owns the console script `qasr`: `qasr JOB key=value ...` is `python recipes/JOB.py key=value ...`.

Input: the command line. Output: the process's exit status, as that of a recipe; of `qasr` alone, the list of jobs.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from qasr_train.cli.completion import OPTIONS as COMPLETION_OPTIONS
from qasr_train.cli.completion import complete
from qasr_train.config.command_line import end_process, exit_status, run_command_line
from qasr_train.config.keys import did_you_mean
from qasr_train.errors import UserError
from qasr_train.jobs.recipes import PROJECT

INFO = "info"
_INFO_SUMMARY = "Print versions, devices, free memory and disk, installed extras: what a report of a bug should hold."
_OPTIONS = """\
options:
  JOB --help                     its groups, keys, values and examples
  --version                      the version of qasr_train
  --shell-completion install=bash (or zsh, fish): shell code by which the Tab key completes jobs, groups and keys;
                                 in ~/.bashrc: eval "$(qasr --shell-completion install=bash)\""""


def main() -> NoReturn:
    """What the console script calls."""
    end_process(exit_status(lambda: run_command(sys.argv[1:])))


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line of `qasr`, without the word itself; returns the exit status.

    Raises:
        UserError: there is no such job; whatever the job raises.
    """
    if not arguments or arguments[0] in ("--help", "-h"):
        print(overview())
        return 0
    job, *rest = arguments
    if job == "--version":
        print(f"qasr_train {own_version()}")
        return 0
    if job in COMPLETION_OPTIONS:
        complete(" ".join(rest), PROJECT, [*PROJECT.recipes, INFO])
        return 0
    if job == INFO and not rest:
        from qasr_train.cli.info import describe_machine  # brings torch

        print(describe_machine())
        return 0
    if job not in PROJECT.recipes:
        raise UserError(_unknown_job(job))
    return run_command_line(job, rest, PROJECT, program=f"qasr {job}")


def overview() -> str:
    """How to call it, and the jobs with a line each."""
    summaries = {name: recipe.summary for name, recipe in PROJECT.recipes.items()} | {INFO: _INFO_SUMMARY}
    width = max(map(len, summaries))
    return "\n".join(
        [
            "usage: qasr JOB [key=value ...] [group=name ...] [options]",
            "",
            "jobs:",
            *(f"  {name:{width}}  {summary}" for name, summary in summaries.items()),
            "",
            _OPTIONS,
        ]
    )


def own_version() -> str:
    """The version of the installed package."""
    try:
        return version("qasr_train")
    except PackageNotFoundError:  # imported from a clone that is not installed
        return "(not installed)"


def _unknown_job(word: str) -> str:
    if word == INFO:
        return "qasr info takes no settings; leave them out"
    jobs = [*PROJECT.recipes, INFO]
    if "=" in word:
        return f"{word!r}: the job comes first, e.g. qasr finetune {word}; `qasr` lists the jobs"
    return f"qasr has no job {word!r}{did_you_mean(word, jobs)}; choose from {', '.join(jobs)}"
