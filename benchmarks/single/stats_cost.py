"""``python -m benchmarks.single.stats_cost PACK``: what ``loader.stats()`` costs of an epoch.

The counters cannot be switched off, so their own code is timed, on batches that cost nothing, and
compared with an epoch of the pack in one thread.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import fastdata
from fastdata import transforms as T
from fastdata.datasets.clock import clock, timed
from fastdata.loader.delivery import Delivery
from fastdata.loader.stats import Meter

BATCH = 64


def seconds_of(work: Callable[[int], None], count: int) -> float:
    """CPU seconds for one of ``count`` pieces of work, the least of five tries."""
    tries = []
    for _ in range(5):
        start = time.process_time()
        work(count)
        tries.append((time.process_time() - start) / count)
    return min(tries)


def batches(count: int) -> None:
    """What is measured for each batch, in the loader's process and in the worker."""
    meter = Meter()
    source = meter.inner(iter([Delivery() for _ in range(count)]))
    for _ in range(count):
        meter.outer(source, 0)
        meter.given()
        with timed({}):
            pass


def samples(count: int) -> None:
    """What is measured for each sample."""
    for _ in itertools.repeat(None, count):
        start = time.perf_counter()
        read = time.perf_counter()
        clock.add(start, read)


def main() -> int:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    transform = T.Compose([T.RandomResizedCrop(224), T.RandomHorizontalFlip()])
    dataset = fastdata.PackedImageFolder(parser.parse_args().pack, transform, seed=0)

    def epoch(_: int) -> None:
        for _batch in fastdata.DataLoaderX(dataset, BATCH, prefetch_batches=0):
            pass

    epoch(0)  # compiles, and brings the files into the page cache
    image = seconds_of(epoch, 1) / len(dataset)
    cost = seconds_of(samples, 100_000) + seconds_of(batches, 10_000) / BATCH
    print(f"{cost * 1e6:.2f} of {image * 1e6:.0f} µs an image: {cost / image:.2%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
