"""Ends processes in the midst of an epoch, and prints as JSON what became of each.

For test_lifecycle.py. Each case is a fork of this process, in a session of its own.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.utils.data import Dataset

from fastdata import DataLoaderX

KINDS = {
    "no workers": {"num_workers": 0},
    "workers": {"num_workers": 2},
    "persistent": {"num_workers": 2, "persistent_workers": True},
    "threads": {"num_workers": 2, "worker_type": "thread"},
}
ENDINGS = ("exit", "ctrl-c", "ctrl-c for the parent only", "ctrl-c while stuck")
WAIT = 30.0


class Images(Dataset[Any]):
    def __init__(self, stuck: bool) -> None:
        self.stuck = stuck

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> Any:
        time.sleep(60 if self.stuck and index >= 8 else 0.001)
        return torch.full((100,), index)


def train(ending: str, kind: dict[str, Any], ready: int) -> None:
    """Reads batches, says so, and goes on for as long as the ending leaves it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    loader = DataLoaderX(Images(stuck="stuck" in ending), 4, device="cpu", **kind)
    global kept  # alive when the interpreter exits
    kept = iter(loader)
    for number, _ in enumerate(kept):
        if number == 1:
            os.write(ready, b"!")
            if ending == "exit":
                return


def run(ending: str, kind: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as errors:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.dup2(errors.fileno(), 2)
            os.dup2(2, 1)
            train(ending, kind, writer)
            sys.exit(0)  # up to the end of this script, as any other would
        os.close(writer)
        assert os.read(reader, 1) == b"!"
        os.close(reader)
        left = session(pid)
        time.sleep(0.05)
        start = time.monotonic()
        if ending == "ctrl-c":
            os.killpg(pid, signal.SIGINT)
        elif ending != "exit":
            os.kill(pid, signal.SIGINT)
        status = wait_for(pid)
        while any(alive(process) for process in left) and time.monotonic() - start < WAIT:
            time.sleep(0.01)
        seconds = time.monotonic() - start
        errors.seek(0)
        text = errors.read().decode()
    files = [path.name for p in left for path in Path("/dev/shm").glob(f"torch_{p.pid}_*")]
    return {"status": status, "seconds": seconds, "stderr": text, "files": files}


def session(pid: int) -> list[psutil.Process]:
    """The process and its workers."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def wait_for(pid: int) -> int:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 999


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    found = {
        f"{ending}, {name}": run(ending, kind)
        for ending in ENDINGS
        for name, kind in KINDS.items()
        if ending in ("exit", "ctrl-c") or name in ("workers", "persistent")
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
