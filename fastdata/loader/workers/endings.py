"""What is done about worker processes that end, and said about those that died."""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch.multiprocessing

_JOIN_SECONDS = 0.002
_SHARED_MEMORY = Path("/dev/shm")


def join(processes: Iterable[Any], seconds: float) -> None:
    """Wait until all have ended, or so many seconds in total."""
    # Not ``Process.join``: that waits for the end of a pipe, which a process that the worker has
    # forked keeps open.
    deadline = time.monotonic() + seconds
    for process in processes:
        while process.exitcode is None and time.monotonic() < deadline:
            time.sleep(_JOIN_SECONDS)


def death_of(worker: Any) -> str:
    """How a worker died, in the words by which users of torch look for it."""
    name, code = f"DataLoader worker (pid {worker.pid})", worker.exitcode
    if code is None or code >= 0:
        # Ctrl-C reaches the loader's process, too, but Python drops it in the middle of a fork.
        hint = ", as it does at Ctrl-C" if code == 0 else ""
        return f"{name} exited unexpectedly with exit code {code}{hint}"
    hints = {
        signal.SIGKILL: ", as the system does when memory runs out",
        signal.SIGBUS: ", as happens when shared memory (/dev/shm) is full",
    }
    hint = hints.get(-code, "")
    return f"{name} is killed by signal: {signal.strsignal(-code)}{hint}"


def explained(error: Exception) -> Exception:
    """The error of a message that cannot be read though its worker lives."""
    if getattr(error, "errno", None) != errno.EMFILE and "ancdata" not in str(error):
        return error
    return RuntimeError(
        "too many open files: tensors of workers need a file descriptor each for as long as they "
        "live; raise the limit with `ulimit -n`, or call "
        "torch.multiprocessing.set_sharing_strategy('file_system') first"
    )


def remove_shared_memory(pids: Iterable[int], began: float) -> None:
    """Remove what workers killed in the middle of making shared memory have left.

    torch gives it a name for a moment only, unless told to share by name: then it is left to torch.
    """
    strategy = torch.multiprocessing.get_sharing_strategy()  # type: ignore[no-untyped-call]
    if strategy != "file_descriptor":
        return
    for pid in pids:
        for path in _SHARED_MEMORY.glob(f"torch_{pid}_*"):
            with suppress(OSError):  # not ours, or gone
                if path.stat().st_ctime >= began:
                    path.unlink()
