"""Open a pack, read it at random: ``python -m benchmarks.scaling.rows_process PACK SEED``.

Prints JSON."""

from __future__ import annotations

import json
import pickle
import sys
import time
from typing import Any

import numpy as np

import fastdata
from fastdata.transforms import RandomHorizontalFlip

from ..common import usage
from ..common.errors import BenchmarkError
from .big_pack import READS

BATCH = 64


def measure(path: str, seed: int) -> dict[str, Any]:
    """Time and memory of opening, and time of READS random reads through ``DataLoaderX``."""
    before, start = usage.memory_bytes(), time.perf_counter()
    dataset = fastdata.PackedImageFolder(path, RandomHorizontalFlip())
    opened = time.perf_counter() - start
    after = usage.memory_bytes()
    rng = np.random.default_rng(seed)
    read(dataset, rng)  # opens the shards, and brings pages in
    cpu, start = time.process_time(), time.perf_counter()
    count = read(dataset, rng)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "open_s": opened,
        "memory_bytes": None if before is None or after is None else max(after - before, 0),
        "pickled_bytes": len(pickle.dumps(dataset.pack)),
        "images": count,
        "wall_s": wall,
        "cpu_s": cpu,
        "images_per_s": count / wall,
        "cpu_us_per_image": 1e6 * cpu / count,
    }


def read(dataset: Any, rng: np.random.Generator) -> int:
    """Read random samples in batches, without worker; how many."""
    indices = rng.integers(0, len(dataset), (READS // BATCH, BATCH)).tolist()
    loader = fastdata.DataLoaderX(dataset, batch_sampler=indices, prefetch_batches=0)
    count = sum(len(images) for images, _ in loader)
    if count != READS // BATCH * BATCH:
        raise BenchmarkError(f"expected {READS // BATCH * BATCH} images, found {count}")
    return count


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
