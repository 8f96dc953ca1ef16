"""Runs a contender's interpreter; a rival that fails or hangs does not stop the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..common.data import ROOT
from ..contenders.contenders import Job
from .environment.environments import HERE, interpreter
from .environment.places import STATE

LAST_LINES = 12


class RivalError(Exception):
    """A contender could not be prepared or measured; the message ends with what it said."""


def run(python: str, command: str, argument: str, timeout: float) -> dict[str, Any]:
    """What ``benchmarks.rivals.environment.runner`` prints under that interpreter.

    Raises:
        RivalError: it failed, took longer than ``timeout`` seconds, or printed no result.
    """
    words = [python, "-m", "benchmarks.rivals.environment.runner", command, argument]
    pipe = subprocess.PIPE
    # A session of its own: whatever it leaves behind is ended with it.
    with subprocess.Popen(
        words, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            said, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise RivalError(f"{command} took more than {timeout:.0f} s") from None
        finally:
            end(process)
    return result_of(command, process.returncode, said, errors)


def end(process: subprocess.Popen[str]) -> None:
    """Kill the process and its workers."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def result_of(command: str, code: int, said: str, errors: str) -> dict[str, Any]:
    """The JSON on the last line, or RivalError."""
    if code:
        lines = "\n".join(errors.strip().splitlines()[-LAST_LINES:])
        raise RivalError(f"{command} failed with exit code {code}:\n{hidden(lines)}")
    try:
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        raise RivalError(f"{command} printed no result") from None
    return found


def hidden(text: str) -> str:
    """The text without this machine's folders, as results are passed on."""
    for folder in (str(ROOT), str(Path.home())):
        text = text.replace(folder, "…")
    return text


def run_job(python: str, command: str, job: Job, timeout: float) -> dict[str, Any]:
    """``run`` with a job."""
    return run(python, command, json.dumps(asdict(job)), timeout)


def python_of(environment: str, envs: Path) -> str:
    """The interpreter of an environment.

    Raises:
        RivalError: ``benchmarks/setup`` has not made it, or could not; says why.
    """
    if environment == HERE:
        return sys.executable
    python, state = interpreter(envs, environment), envs / environment / STATE
    if state.exists() and (error := json.loads(state.read_text(encoding="utf-8"))["error"]):
        raise RivalError(f"benchmarks/setup {environment} failed: {hidden(error)}")
    if not python.exists() or not state.exists():
        raise RivalError(f"not installed; `benchmarks/setup {environment}` does it")
    return str(python)
