"""Forks of the test process that are killed, and that tell what became of them.

A fork has everything imported, so it is at work at once, and there is no mock in it.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

#: How many mutations, or kills, a test makes: the default run makes a share of them.
MUTATIONS = int(os.environ.get("FASTDATA_FUZZ", "600"))

#: Audit events that come before something in the file system changes.
_STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "ctypes.dlsym"}
_LONGEST = 50.0


class Ended(NamedTuple):
    """How a child has ended: its exit code, or minus its signal; what it said; how long it took."""

    code: int
    text: str
    seconds: float

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


def forked(
    function: Callable[[], Any],
    *,
    kill_after: float | None = None,
    kill_at_step: int | None = None,
    memory: int | None = None,
) -> Ended:
    """Run ``function`` in a child. 0: it returned; 1: it raised, and ``text`` ends with what.

    Args:
        kill_after: SIGKILL after so many seconds.
        kill_at_step: SIGKILL right before this step of the child in the file system, from 0.
        memory: bytes that the child's address space may grow by.
    """
    reading, writing = os.pipe()
    started = time.monotonic()
    child = _fork()
    if child == 0:
        os.close(reading)
        _run(function, writing, kill_at_step, memory)
    os.close(writing)
    if kill_after is not None:
        time.sleep(max(started + kill_after - time.monotonic(), 0))
        os.kill(child, signal.SIGKILL)
    return _ended(child, reading, started)


def killed_until_it_ends(function: Callable[[], Any], moments: random.Random, most: float) -> int:
    """Run ``function`` again and again, each time killed at a random moment, until it has ended.

    Returns how often it was killed.
    """
    for kills in range(20):
        ended = forked(function, kill_after=moments.uniform(0, most))
        if not ended.killed:
            assert ended.code == 0, ended.text
            return kills
    ended = forked(function)
    assert ended.code == 0, ended.text
    return 20


def steps_of(function: Callable[[], Any]) -> int:
    """How many steps in the file system ``function`` makes."""

    def counted() -> None:
        count = 0

        def hook(event: str, _: Any) -> None:
            nonlocal count
            count += event in _STEPS

        sys.addaudithook(hook)
        function()
        print(count)

    ended = forked(counted)
    assert ended.code == 0, ended.text
    return int(ended.text.split()[-1])


def _fork() -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads: the child uses none of ours
        return os.fork()


def _run(
    function: Callable[[], Any], writing: int, kill_at_step: int | None, memory: int | None
) -> None:
    code = 1
    try:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        sys.stdout = sys.stderr = os.fdopen(os.dup(writing), "w", buffering=1)
        signal.alarm(0)
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + memory,) * 2)
        if kill_at_step is not None:
            sys.addaudithook(_Killer(kill_at_step))
        function()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


class _Killer:
    """Kills its process right before a step."""

    def __init__(self, left: int) -> None:
        self._left = left

    def __call__(self, event: str, _: Any) -> None:
        if event in _STEPS:
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    return pages * resource.getpagesize()


def _ended(child: int, reading: int, started: float) -> Ended:
    os.set_blocking(reading, False)
    text = b""
    while True:
        text += _available(reading)
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > started + _LONGEST:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reading)
            raise AssertionError(f"hangs: {text.decode(errors='replace')}")
        time.sleep(0.002)
    seconds = time.monotonic() - started
    text += _available(reading)
    os.close(reading)
    return Ended(os.waitstatus_to_exitcode(status), text.decode(errors="replace"), seconds)


def _available(reading: int) -> bytes:
    found = b""
    with contextlib.suppress(BlockingIOError):
        while block := os.read(reading, 1 << 16):
            found += block
    return found
