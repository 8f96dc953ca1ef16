"""``python -m benchmarks.single.verify_cost PACK``: what checking records when they are read costs.

An epoch of the pack in one thread, with each of the reader's ways, interleaved; and one read alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import fastdata
from fastdata import transforms as T
from fastdata.store import PackReader
from fastdata.store.reader import VERIFY

from ..cases.rounds import interleaved
from ..common import markdown

BATCH = 64
READS = 20_000


def epoch(pack: Path, verify: str, number: int) -> dict[str, float]:
    """Speed and CPU time of one epoch of a data set that is new, in one thread of this process."""
    transform = T.Compose([T.RandomResizedCrop(224), T.RandomHorizontalFlip()])
    dataset = fastdata.PackedImageFolder(pack, transform, seed=number, verify=verify)
    cpu, wall = time.process_time(), time.perf_counter()
    for _batch in fastdata.DataLoaderX(dataset, BATCH, prefetch_batches=0):
        pass
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_s_per_1000": 1000 * cpu / len(dataset), "images_per_s": len(dataset) / wall}


def read_ns(pack: Path, verify: str) -> float:
    """Nanoseconds of one ``PackReader.read`` of a record that was read before, the least of five
    tries."""
    reader = PackReader(pack, verify)
    indices = [i % len(reader) for i in range(READS)]
    tries = []
    for _ in range(6):
        start = time.perf_counter()
        for index in indices:
            reader.read(index)
        tries.append((time.perf_counter() - start) / READS * 1e9)
    return min(tries[1:])


def measure(pack: Path, rounds: int) -> str:
    """The table."""
    epoch(pack, "never", 0)  # compiles, and brings the files into the page cache
    runs = interleaved(list(VERIFY), rounds, lambda name, i: epoch(pack, name, i), "verify")
    base = [found["cpu_s_per_1000"] for found in runs["never"]["rounds"]]
    rows = []
    for name in VERIFY:
        costs = [found["cpu_s_per_1000"] for found in runs[name]["rounds"]]
        more = [100 * (cost / least - 1) for cost, least in zip(costs, base, strict=True)]
        spread = f"{median(more):+.1f} % ({min(more):+.1f} to {max(more):+.1f})"
        rows.append([f"`{name}`", f"{median(costs):.3f}", spread, f"{read_ns(pack, name):.0f}"])
    heads = ["verify", "CPU s per 1,000 images", "more than `never`", "a read, ns"]
    return markdown.table(heads, rows)


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    options = parser.parse_args()
    print(measure(options.pack, options.rounds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
