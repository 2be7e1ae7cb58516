"""Owns the frame every recipe runs in: command line, --help, --cfg, --multirun, one sentence for a user's mistake, exit status.

Input: a recipe's name, the tables it stands in, the command line. Output: the process's exit status: 0, what the job returns,
2 for a user's mistake, 75 for a training that was asked to stop and saved. The module of the job, and torch with it, is imported
once every config is checked. Hydra composes the config but writes no file and changes no folder.
"""

import argparse
import atexit
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import OmegaConf

from qasr_train.config.compose import (
    Composed,
    ConfigFolders,
    compose_config,
    expand_sweeps,
    open_folders,
    parse_override,
)
from qasr_train.config.environment import is_debugging, prepare_environment
from qasr_train.config.help import help_text
from qasr_train.config.load import Tables, build_config, import_named, name_files, name_output, register_schemas
from qasr_train.config.terminal import plain_terminal
from qasr_train.errors import EXIT_USER_ERROR, ConfigError, UserError
from qasr_train.files import os_error_sentence

Job = Callable[[Any], int | None]


def run_recipe(recipe_name: str, tables: Tables) -> NoReturn:
    """Run a job as the command line asks and end the process with its exit status."""
    end_process(exit_status(lambda: run_command_line(recipe_name, sys.argv[1:], tables)))


def end_process(status: int) -> NoReturn:
    """End with this status and no other: what was registered for the end runs, output is flushed, nothing is torn down.

    While Python shuts down, threads of Arrow (streamed Parquet) and gloo have now and then aborted a process that was done, with
    status -6 for 0, or for the 75 by which a cluster knows that the job goes on.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader has gone
            stream.flush()
    os._exit(status)


def exit_status(action: Callable[[], int | None]) -> int:
    """Run `action`; a user's mistake becomes one `error: ...` line and status 2, a bug of ours keeps its traceback."""
    with plain_terminal():
        return _status(action)


def _status(action: Callable[[], int | None]) -> int:
    try:
        return action() or 0
    except KeyboardInterrupt:
        return _report("interrupted; nothing more was done")
    except BrokenPipeError:  # `--help | head`: the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UserError as error:
        return _report(str(error), error.exit_status)
    except OSError as error:
        sentence = os_error_sentence(error)
        if sentence is None:
            raise
        return _report(sentence)


def run_command_line(recipe_name: str, arguments: Sequence[str], tables: Tables, program: str | None = None) -> int:
    """What `run_recipe` does, for a given command line; returns the exit status, raises UserError.

    Args:
        program: how a user calls the recipe, for --help. None: `python recipes/NAME.py`.
    """
    options = _parser(recipe_name).parse_args(arguments)
    prepare_environment()
    user_dirs = tuple(Path(folder) for folder in options.config_dir)
    tables = replace(tables, search_dirs=(*tables.search_dirs, *user_dirs))
    top = register_schemas(recipe_name, tables)
    recipe = tables.recipes[recipe_name]
    options.overrides = name_output(name_files(options.overrides, recipe, top), recipe)
    with open_folders(recipe_name, tables.search_dirs) as folders:
        if options.help:
            program = program or f"python recipes/{recipe_name}.py"
            print(help_text(recipe_name, tables.recipes[recipe_name], top, folders, options.overrides, program))
            return 0
        if options.cfg:
            composed = compose_config(folders, options.overrides, is_complete=False)
            print(OmegaConf.to_yaml(composed.tree, resolve=options.resolve), end="")
            return 0
        if not options.multirun:
            configs = [("", build_config(compose_config(folders, options.overrides), folders, tables))]
        else:
            configs = _sweep(recipe_name, options.overrides, folders, tables)
    return _run_jobs(import_named(tables.recipes[recipe_name].job), configs)


def _parser(recipe_name: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"recipes/{recipe_name}.py", add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--cfg", "-c", choices=["job"])
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--config-dir", "-cd", action="append", default=[])
    return parser


class _Parser(argparse.ArgumentParser):
    """argparse whose complaint is a ConfigError like any other."""

    def parse_args(self, args: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        # parse_intermixed_args lets flags stand between overrides: `a=1 --multirun b=2`.
        return self.parse_intermixed_args(args)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(
            f"{message}; options are --help, --cfg job, --resolve, --multirun, --config-dir DIR, then key=value"
        )


def _sweep(recipe_name: str, overrides: Sequence[str], folders: ConfigFolders, tables: Tables) -> list[tuple[str, Any]]:
    """(what sets it apart, config) of every job of a multirun; all are checked before the first one runs."""
    output = tables.recipes[recipe_name].output
    is_output_swept = any(
        override.is_sweep_override() and override.key_or_group == output
        for override in (parse_override(text, folders.loader) for text in overrides)
    )
    configs = []
    for number, job_overrides in enumerate(expand_sweeps(folders, overrides)):
        title = " ".join(o for o in job_overrides if o not in overrides)
        try:
            composed = compose_config(folders, job_overrides)
            if output is not None and not is_output_swept:
                _nest_output(composed, output, number)
            configs.append((title, build_config(composed, folders, tables)))
        except ConfigError as error:
            raise ConfigError(f"job {number} ({title}): {error}") from error
    return configs


def _nest_output(composed: Composed, output: str, number: int) -> None:
    """Give a job its own output: `runs/x` -> `runs/x/<number>`; a file `x.jsonl` -> `<number>/x.jsonl` beside it."""
    value = OmegaConf.select(composed.tree, output, throw_on_missing=False)
    if value is None:
        return
    path = Path(value)
    is_file = path.suffix in (".json", ".jsonl", ".md", ".html")
    composed.tree[output] = str(path.parent / str(number) / path.name if is_file else path / str(number))


def _run_jobs(job: Job, configs: list[tuple[str, Any]]) -> int:
    if len(configs) == 1:
        return job(configs[0][1]) or 0
    statuses = []
    for number, (title, config) in enumerate(configs):
        print(f"job {number + 1} of {len(configs)}: {title}", file=sys.stderr, flush=True)
        try:
            statuses.append(job(config) or 0)
        except UserError as error:  # the others still run; the sweep as a whole has failed
            statuses.append(_report(f"job {number} ({title}): {error}", error.exit_status))
    return max(statuses)


def _report(sentence: str, status: int = EXIT_USER_ERROR) -> int:
    """Print `error: ...`; with QASR_DEBUG=1 the traceback before it. Of several processes, each says which one it is."""
    if is_debugging():
        traceback.print_exc()
    rank = os.environ.get("RANK", "0")
    process = "" if rank == "0" else f" (process {rank})"
    print(f"error{process}: {' '.join(sentence.split())}", file=sys.stderr, flush=True)
    return status
