"""What an ended loader must not leave behind: threads, processes, descriptors, shared memory."""

from __future__ import annotations

import os
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch.utils.data import DataLoader

#: Seconds in which even a busy machine does what takes it a fraction of one.
PROMISE = 40.0


class Leftovers:
    """What there is more than when this was made."""

    def __init__(self) -> None:
        _start_what_stays()
        self._pids = {os.getpid()}
        self._before = _present()

    def now(self) -> dict[str, set[Any]]:
        present = _present()
        self._pids |= {child.pid for child in present["processes"]}
        left = {kind: present[kind] - self._before[kind] for kind in present}
        left["shared memory"] = {
            path.name for pid in self._pids for path in Path("/dev/shm").glob(f"torch_{pid}_*")
        }
        return {kind: things for kind, things in left.items() if things}

    def check(self, but: str = "") -> None:
        """Fails if anything but ``but`` is still there when the promised time is over."""
        deadline = time.monotonic() + PROMISE
        while self.now().keys() - {but} and time.monotonic() < deadline:
            time.sleep(0.01)
        left = self.now()
        if left.keys() - {but}:
            pytest.fail(f"left behind: {left}")


@cache
def _start_what_stays() -> None:
    """What the first workers of a process start once and for all is not counted."""
    list(DataLoader([0], num_workers=1))


def workers(recursive: bool = False) -> list[psutil.Process]:
    """The processes that this one has started, but for those that multiprocessing keeps."""
    children = psutil.Process().children(recursive=recursive)
    kept = ("resource_tracker", "forkserver")
    return [child for child in children if not any(name in _command(child) for name in kept)]


def _present() -> dict[str, set[Any]]:
    return {
        "threads": set(threading.enumerate()),
        "processes": set(workers(recursive=True)),
        "descriptors": {(fd, path) for fd, path in _descriptors() if not _is_memory(path)},
        "batches": {(fd, path) for fd, path in _descriptors() if _is_memory(path)},
    }


def _is_memory(path: str) -> bool:
    return path.startswith("/dev/shm/torch")


def _descriptors() -> set[Any]:
    found = set()
    for fd in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            found.add((fd, os.readlink(f"/proc/self/fd/{fd}")))
        except OSError:  # the one by which the listing was made
            continue
    return found


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return "resource_tracker"
