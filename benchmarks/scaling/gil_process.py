"""How long a worker thread holds the GIL: ``python -m benchmarks.scaling.gil_process JOB``.

Prints JSON."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from ..common.errors import BenchmarkError
from ..contenders.contenders import Job

#: (module, function) of what releases the GIL while it works, as fastdata calls it.
RELEASING = [
    ("cv2", "imdecode"),
    ("cv2", "resize"),
    ("cv2", "flip"),
    ("fastdata.images.jpeg._cut", "cut"),
    ("fastdata.images.resample._kernels", "resample"),
]

OUTDATED = "RELEASING in benchmarks/_gil.py is out of date"


class Meter:
    """CPU time of threads inside of the functions that it has wrapped.

    What the wrappers themselves cost counts as outside, so the time outside is rather too long.
    """

    def __init__(self) -> None:
        self.calls: list[int] = []  # nanoseconds of each; appending is atomic

    def wrap(self, module: str, name: str) -> None:
        """Put a measuring function in the place of ``module.name``.

        Raises:
            BenchmarkError: there is no such function any more.
        """
        try:
            home = importlib.import_module(module)
            function = getattr(home, name)
        except (ImportError, AttributeError) as error:
            raise BenchmarkError(f"{OUTDATED}: {error}") from error
        setattr(home, name, self.measured(function))

    def measured(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with the thread's CPU time of each call noted."""
        clock, note = time.thread_time_ns, self.calls.append

        def call(*arguments: Any, **options: Any) -> Any:
            start = clock()
            result = function(*arguments, **options)
            note(clock() - start)
            return result

        return call


def measure(job: Job) -> dict[str, Any]:
    """CPU time an image, in all and outside of the wrapped calls; an untimed epoch goes before."""
    meter = Meter()
    for module, name in RELEASING:
        meter.wrap(module, name)
    from ..cases.loaders import BUILDERS  # behind the wrappers, lest it keep what they replace

    loader = BUILDERS[job.contender](job)
    for _ in loader:
        pass
    meter.calls.clear()
    cpu, start, images = time.process_time_ns(), time.perf_counter(), 0
    while not images or time.perf_counter() - start < job.seconds:
        images += sum(len(batch) for batch, _ in loader)
    cpu = time.process_time_ns() - cpu
    if not meter.calls:
        raise BenchmarkError(f"{OUTDATED}: nothing was called")
    return {
        "images": images,
        "cpu_us_per_image": cpu / 1e3 / images,
        "held_us_per_image": (cpu - sum(meter.calls)) / 1e3 / images,
        "calls_per_image": len(meter.calls) / images,
    }


if __name__ == "__main__":
    print(json.dumps(measure(Job(**json.loads(sys.argv[1])))))
