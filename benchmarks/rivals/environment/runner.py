"""What a contender's own interpreter runs; it has PyTorch, psutil and the contender alone.

    python -m benchmarks.rivals.environment.runner check ENVIRONMENT  # imports, and tells versions
    python -m benchmarks.rivals.environment.runner prepare JOB
    python -m benchmarks.rivals.environment.runner measure JOB

JOB is a ``benchmarks.contenders.contenders.Job`` as JSON.

The last line of the output is the result as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.common.errors import BenchmarkError
from benchmarks.contenders.contenders import Job

from .cases import CASES
from .contenders import CONTENDERS
from .environments import ENVIRONMENTS, HERE


def check(name: str) -> dict[str, Any]:
    """Import what an environment is there for; the versions of its distributions."""
    if name == HERE:
        return check_here()
    environment = ENVIRONMENTS[name]
    for module in ("torch", "psutil", *environment.modules):
        importlib.import_module(module)
    return {each: version(each) for each in ("torch", *environment.distributions)}


def check_here() -> dict[str, Any]:
    """The same of the benchmark's own interpreter; compiles fastdata's kernels where need be."""
    from benchmarks.common.machine import package_versions
    from fastdata.images.decode import load_kernels

    load_kernels()
    return package_versions(("torch", "fastdata", "cv2", "PIL"))


def prepare(job: Job) -> dict[str, Any]:
    """Make the contender's own format; imports are over before the clock starts."""
    target = Path(str(job.pack))
    module = module_of(job)
    start = time.perf_counter()
    module.prepare(Path(job.images), target, CASES[job.case])
    seconds = time.perf_counter() - start
    files = [target] if target.is_file() else target.rglob("*")
    return {"seconds": seconds, "bytes": sum(f.stat().st_size for f in files if f.is_file())}


def measure(job: Job) -> dict[str, Any]:
    """One untimed epoch, then timed ones; of a cold case its first epoch alone."""
    from benchmarks.common import process

    build = module_of(job).build
    return first_epoch(build, job) if CASES[job.case].cold else process.measure_with(build, job)


def first_epoch(build: Any, job: Job) -> dict[str, Any]:
    """The first epoch of a fresh loader: up to its first batch, and from there to its end.

    What is compiled or started is over with the first batch; reading is not.
    """
    from benchmarks.common import process, usage

    start = time.perf_counter()
    loader = build(job)
    batches = process.checked(loader, job)
    next(batches, None)
    first, cpu = time.perf_counter(), usage.cpu_seconds()
    images = job.batch * sum(1 for _ in batches)
    wall, cpu = time.perf_counter() - first, usage.cpu_seconds() - cpu
    if not images:
        raise BenchmarkError(f"{job.contender} gave less than two batches of {job.batch} images")
    return {
        "images": images,
        "wall_s": wall,
        "cpu_s": cpu,
        "images_per_s": images / wall,
        "cpu_s_per_1000": 1000 * cpu / images,
        "first_batch_s": first - start,
        "memory_bytes": usage.memory_bytes(),
    }


def module_of(job: Job) -> Any:
    """The module that prepares and builds for the job's contender."""
    return importlib.import_module(
        f"benchmarks.rivals.environment.{CONTENDERS[job.contender].module}"
    )


COMMANDS = {"prepare": prepare, "measure": measure}

if __name__ == "__main__":
    command, argument = sys.argv[1:]
    if command == "check":
        print(json.dumps(check(argument)))
    else:
        print(json.dumps(COMMANDS[command](Job(**json.loads(argument)))), flush=True)
        os._exit(0)  # FFCV's threads, if an epoch was left, abort an ordinary exit
