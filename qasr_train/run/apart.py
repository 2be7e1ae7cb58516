"""Owns running a function in a process of its own, and how much memory that took at its peak.

Input: a function that a new process can import, and its arguments. Output: what it returns, with the peak; its error raised here.
"""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import psutil

from qasr_train.errors import UserError

_EVERY_S = 0.05
_PATIENCE_S = 10.0  # between an interruption, which reaches the process too, and ending it


def run_apart(function: Callable[..., Any], *arguments: Any, only_children: bool = False) -> tuple[Any, int]:
    """(what the function returns, bytes of resident memory at the peak, sampled twenty times a second).

    Memory that processes share counts in each of them.

    Args:
        only_children: count what the process starts, without itself: of a job that does nothing but run a command.

    Raises:
        UserError: the function raised it. RuntimeError: the process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")  # forked, it would have this process's memory, and torch's threads
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, arguments))
    process.start()
    sender.close()
    peak = 0
    try:
        while process.is_alive() and not receiver.poll(_EVERY_S):
            peak = max(peak, _resident(process.pid, only_children=only_children))
        answer = _received(receiver)
    finally:
        _end(process)
        receiver.close()
    if answer is None:
        raise RuntimeError(f"a process of its own ended with status {process.exitcode}; what it said stands above")
    if isinstance(answer[1], UserError):
        raise answer[1]
    return answer[0], peak


def _answer(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """In the new process."""
    try:
        sender.send((function(*arguments), None))
    except UserError as error:
        sender.send((None, error))


def _received(receiver: Connection) -> tuple[Any, UserError | None] | None:
    try:
        received: tuple[Any, UserError | None] = receiver.recv()
    except EOFError:
        return None
    return received


def _end(process: BaseProcess) -> None:
    process.join(_PATIENCE_S)
    if process.is_alive():
        process.terminate()
        process.join()


def _resident(pid: int | None, *, only_children: bool) -> int:
    """Bytes of a process and of all below it, as far as they are still there."""
    total = 0
    try:
        top = psutil.Process(pid)
        for one in [*([] if only_children else [top]), *top.children(recursive=True)]:
            try:
                total += one.memory_info().rss
            except psutil.Error:
                continue
    except psutil.Error:
        time.sleep(0)
    return total
