"""Measure one contender in this process: ``python -m benchmarks.common.process JOB``.

The job is JSON. The last line of the output is the result as JSON.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch

from ..contenders.contenders import CONTENDERS, Batches, Job
from . import usage
from .errors import BenchmarkError


def measure(job: Job) -> dict[str, Any]:
    """Measure the contender, or the case's column, that the job names."""
    return measure_with(builder(job), job)


def measure_with(build: Callable[[Job], Batches], job: Job) -> dict[str, Any]:
    """Build the contender, run one epoch that is not timed, then the timed ones.

    Imports are over before any clock starts. The workers, if any, are idle when the timed part
    begins and idle again when it ends, as all their batches have been taken.
    """
    torch.manual_seed(job.seed)
    start = time.perf_counter()
    loader = build(job)
    batches = checked(loader, job)
    next(batches, None)
    first_batch = time.perf_counter() - start
    for _ in batches:
        pass
    result = timed(loader, job) | {"first_batch_s": first_batch}
    result["memory_bytes"] = memory_while_loading(loader)
    result["children_living_s"] = usage.living_children_seconds()
    del loader, batches
    gc.collect()
    result["children_ended_s"] = usage.ended_children_seconds()
    return result


def builder(job: Job) -> Callable[[Job], Batches]:
    """Import what builds the job's batches."""
    if not job.case:
        return CONTENDERS[job.contender].builder()
    from ..cases import loaders as case_loaders

    return case_loaders.BUILDERS[job.contender]


def timed(loader: Batches, job: Job) -> dict[str, Any]:
    """Images, wall time and CPU time of ``job.epochs`` epochs, or more to fill ``job.seconds``."""
    cpu, start = usage.cpu_seconds(), time.perf_counter()
    count = sum(1 for _ in range(job.epochs) for _ in checked(loader, job))
    if not count:
        raise BenchmarkError(f"{job.contender} gave no batch of {job.batch} images")
    while time.perf_counter() - start < job.seconds:
        count += sum(1 for _ in checked(loader, job))
    wall = time.perf_counter() - start
    cpu = usage.cpu_seconds() - cpu
    images = count * job.batch
    return {
        "images": images,
        "wall_s": wall,
        "cpu_s": cpu,
        "images_per_s": images / wall,
        "cpu_s_per_1000": 1000 * cpu / images,
    }


def checked(loader: Batches, job: Job) -> Iterator[None]:
    """Iterate over the loader; BenchmarkError if a batch is not what the rules ask for."""
    expected = (job.batch, 3, job.size, job.size)
    for images, _ in loader:
        if tuple(images.shape) != expected or images.dtype != torch.uint8:
            raise BenchmarkError(
                f"{job.contender}: expected batches of {expected} torch.uint8, "
                f"found {tuple(images.shape)} {images.dtype}"
            )
        yield


def memory_while_loading(loader: Batches) -> int | None:
    """Memory in the midst of another epoch, with batches ahead; then the epoch is left."""
    batches = iter(loader)
    held = list(islice(batches, 1))
    time.sleep(0.3)  # the workers fill their queues meanwhile
    memory = usage.memory_bytes()
    del held
    getattr(batches, "close", lambda: None)()
    return memory


if __name__ == "__main__":
    print(json.dumps(measure(Job(**json.loads(sys.argv[1])))))
