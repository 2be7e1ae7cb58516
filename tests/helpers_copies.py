"""Owns copies of the test process (fork) that run a script, where what is tested needs a process but no fresh interpreter.

A new one imports torch and transformers first, some five seconds. What a copy prints goes to files; it ends by the status the
script ends with. What must start from nothing (imports, entry points, other programs) takes `subprocess`.
"""

import atexit
import logging
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_FORK = multiprocessing.get_context("fork")


class Copy:
    """As much of `subprocess.Popen` as tests ask of it; text, standard output and error kept apart."""

    def __init__(
        self,
        target: Callable[[], object],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        is_session: bool = False,
    ) -> None:
        """Run `target` in a copy; env: variables besides ours; is_session: its own group hears signals."""
        self._folder = tempfile.TemporaryDirectory(prefix="qasr_copy_")
        self._outputs = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        self._process = _FORK.Process(target=self._run, args=(target, cwd, dict(env or {}), is_session))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, minus the signal's number where it was killed."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a copy", timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; what it printed, and what it said on standard error."""
        self.wait(timeout)
        out, err = (path.read_text(encoding="utf-8") if path.exists() else "" for path in self._outputs)
        return out, err

    def _run(self, target: Callable[[], object], cwd: Path | None, env: dict[str, str], is_session: bool) -> None:
        _forget()
        if is_session:
            os.setsid()
        streams = [path.open("w", buffering=1, encoding="utf-8") for path in self._outputs]
        for number, stream in enumerate(streams, start=1):
            os.dup2(stream.fileno(), number)
        sys.stdout, sys.stderr = streams
        os.environ |= env
        os.chdir(cwd or ".")
        status = 1
        try:
            target()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        multiprocessing.util._exit_function()
        for stream in streams:
            stream.flush()
        os._exit(status)


def _forget() -> None:
    """What this process would do at its end, who hears its log and its signals is left to the process it is a copy of."""
    atexit._clear()
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    atexit.register(multiprocessing.util._exit_function)
    for log in (logging.getLogger(), logging.getLogger("qasr_train")):
        log.handlers.clear()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def start_script(script: Path, arguments: Sequence[str], **given: object) -> Copy:
    """`python SCRIPT ARGUMENTS` in a copy; given: as `Copy` takes them."""

    def run() -> None:
        sys.argv = [str(script), *arguments]
        runpy.run_path(str(script), run_name="__main__")

    return Copy(run, **given)  # type: ignore[arg-type]


def run_module(
    name: str, arguments: Sequence[str], *, timeout: float = 180, **given: object
) -> subprocess.CompletedProcess[str]:
    """`python -m NAME ARGUMENTS` in a copy, to its end; given: as `Copy` takes them."""

    def run() -> None:
        sys.modules.pop(name, None)
        sys.argv = [name, *arguments]
        runpy.run_module(name, run_name="__main__", alter_sys=True)

    copy = Copy(run, **given)  # type: ignore[arg-type]
    end_s = time.monotonic() + timeout
    while copy.poll() is None and time.monotonic() < end_s:
        copy._process.join(0.1)
    copy.kill()
    out, err = copy.communicate(10)
    return subprocess.CompletedProcess([name, *arguments], copy.returncode or 0, out, err)
