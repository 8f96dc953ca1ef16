"""CPU time and memory of this process and all below it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil


def cpu_seconds() -> float:
    """User and system time used so far by this process and its descendants, living or waited for.

    The living ones are read from the system's counters, in steps of 10 ms on Linux: the usage of a
    worker that outlives an epoch appears in ``RUSAGE_CHILDREN`` only after its end.
    """
    return time.process_time() + ended_children_seconds() + living_children_seconds()


def living_children_seconds() -> float:
    """What the living descendants have used so far, with the children they waited for."""
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def ended_children_seconds() -> float:
    """What the children that were waited for have used (``RUSAGE_CHILDREN``); 0 on Windows."""
    used = os.times()
    return used.children_user + used.children_system


def memory_bytes() -> int | None:
    """Anonymous and shared memory of the process tree, each page counted once; None off Linux.

    The proportional set size (``/proc/PID/smaps_rollup``) shares a page's size among the processes
    that map it, so the sum counts it once. Pages of mapped files (libraries, an LMDB shard) are the
    system's cache and left out.
    """
    if not sys.platform.startswith("linux"):
        return None
    root = psutil.Process()
    return sum(_proportional(p.pid) for p in [root, *root.children(recursive=True)])


def _proportional(pid: int) -> int:
    """Pss_Anon + Pss_Shmem of one process (Linux 5.4)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = [int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))]
    return 1024 * sum(kib)
