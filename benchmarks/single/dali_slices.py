"""``python -m benchmarks.single.dali_slices PACK...``: what DALI gains by being fed parts of JPEGs.

Each way runs in fresh processes, the ways interleaved: DALI on the pack's records, and on them
uncut where they are sliceable; beside it DataLoaderX with threads. All train on the same crops.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import fastdata
from fastdata import transforms as T
from fastdata.images.stored import EncodedImage

from ..cases.rounds import interleaved
from ..common import markdown, usage

BATCH = 64
THREADS = 2
WAYS = ("DALI", "DALI, uncut", "DataLoaderX")


class Uncut(fastdata.PackedImageFolder):
    """A pack whose JPEGs nobody can cut, as if they had no index."""

    def encoded_image(
        self, index: int, record: memoryview | None = None, name: str = ""
    ) -> EncodedImage:
        return super().encoded_image(index, record, name)._replace(slice_index=0)


def loader_of(way: str, pack: Path, antialias: bool) -> Iterable[Any]:
    """The loader that a way stands for."""
    crop = T.RandomResizedCrop(224, antialias=antialias)
    transform = T.Compose([crop, T.RandomHorizontalFlip()])
    if way == "DataLoaderX":
        dataset = fastdata.PackedImageFolder(pack, transform, seed=0)
        return fastdata.DataLoaderX(dataset, BATCH, num_workers=THREADS, worker_type="thread")
    from fastdata.dali import DALILoader

    kind = Uncut if way == "DALI, uncut" else fastdata.PackedImageFolder
    return DALILoader(kind(pack, transform, seed=0), BATCH, num_threads=THREADS)


def one(way: str, pack: Path, antialias: bool, epochs: int) -> dict[str, float]:
    """Speed and CPU time in this process, after an epoch that is not timed."""
    loader = loader_of(way, pack, antialias)
    count = sum(len(targets) for _, targets in loader)
    cpu, wall = usage.cpu_seconds(), time.perf_counter()
    for _ in range(epochs):
        for _batch in loader:
            pass
    cpu, wall = usage.cpu_seconds() - cpu, time.perf_counter() - wall
    images = epochs * count
    return {"cpu_s_per_1000": 1000 * cpu / images, "images_per_s": images / wall}


def in_fresh_process(way: str, pack: Path, antialias: bool, epochs: int) -> dict[str, float]:
    """``one``, in a process of its own."""
    job = json.dumps([way, str(pack), antialias, epochs])
    command = [sys.executable, "-m", "benchmarks.single.dali_slices", "--job", job]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def rows(pack: Path, antialias: bool, rounds: int, epochs: int) -> list[list[str]]:
    """The table's rows for a pack, with or without antialiasing."""

    def measure(way: str, _: int) -> dict[str, float]:
        return in_fresh_process(way, pack, antialias, epochs)

    sliceable = fastdata.PackedImageFolder(pack).pack.slice_indices.any()
    ways = [way for way in WAYS if sliceable or way != "DALI, uncut"]
    runs = interleaved(ways, rounds, measure, f"{pack.name}, antialias={antialias}")
    found = []
    for way in ways:
        costs = [run["cpu_s_per_1000"] for run in runs[way]["rounds"]]
        speed = median(run["images_per_s"] for run in runs[way]["rounds"])
        spread = f"{min(costs):.3f} to {max(costs):.3f}"
        cells = [pack.name, "on" if antialias else "off", way, f"{median(costs):.3f}", spread]
        found.append([*cells, f"{speed:.0f}"])
    return found


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packs", nargs="*", type=Path, metavar="PACK")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="timed in each run (%(default)s)")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        way, pack, antialias, epochs = json.loads(options.job)
        print(json.dumps(one(way, Path(pack), antialias, epochs)))
        return 0
    if not options.packs:
        parser.error("give a pack, or several")
    heads = ["pack", "antialias", "loader", "CPU s per 1,000 images", "from to", "images/s"]
    cases = [(pack, antialias) for pack in options.packs for antialias in (True, False)]
    body = [row for case in cases for row in rows(*case, options.rounds, options.epochs)]
    print(markdown.table(heads, body, left=3))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
