"""Whether memory grows from epoch to epoch: a pack of many rows, read by worker processes."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import product, starmap
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ..cases.rounds import header
from ..common import data, markdown, usage
from ..common.errors import BenchmarkError
from ..common.rounds import say
from ..scaling import big_pack
from ..scaling.suite import child

AIM = 0.02  # growth of ``memory_bytes`` behind the first epoch
FIGURES = {"memory_bytes": "Memory, MB", "uss_bytes": "Unique set size, MB"}
PROBES = 20  # in an epoch
BLOCK = 10_000  # rows whose pixels are made at a time


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured: each number of ``workers``, persistent and not.

    An epoch reads ``samples`` random rows, or each row once where that is 0.
    """

    rows: int = 1_000_000
    epochs: int = 20
    workers: tuple[int, ...] = (2, 4)
    batch: int = 512
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One configuration, measured in a fresh process."""

    pack: str
    epochs: int
    workers: int
    persistent: bool
    batch: int
    samples: int


def run(settings: Settings, work: Path) -> dict[str, Any]:
    """Make the pack and measure every configuration; the result as JSON types.

    Raises:
        BenchmarkError: not on Linux, or the epochs are too short.
    """
    if usage.memory_bytes() is None:
        raise BenchmarkError("memory of processes is read from /proc, which needs Linux")
    result: dict[str, Any] = header("memory", settings, None, None) | {"runs": {}}
    result["command"] = command(settings)
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="memory-", dir=work) as temporary:
        pack = make_pack(Path(temporary, "pack"), settings.rows)
        say(f"made a pack of {settings.rows:,} rows")
        data.read_all([pack])
        common = (settings.batch, settings.samples)
        for workers, persistent in product(settings.workers, (True, False)):
            job = Job(str(pack), settings.epochs, workers, persistent, *common)
            name = f"{workers} {'persistent' if persistent else 'new'} workers"
            found = result["runs"][name] = child("benchmarks.memory.suite", json.dumps(asdict(job)))
            say(f"{name}: {growth(found):+.2%} in {found['seconds']:.0f} s")
    return result


def command(settings: Settings) -> str:
    """The command that repeats it."""
    values = asdict(settings) | {"workers": " ".join(map(str, settings.workers))}
    return " ".join(["python -m benchmarks memory", *(f"--{k} {v}" for k, v in values.items())])


def make_pack(folder: Path, rows: int) -> Path:
    """Write a pack of ``rows`` different raw images of 8×8 pixels."""
    big_pack.write(folder, starmap(big_pack.record, enumerate(images(rows))))
    return folder


def images(count: int) -> Iterator[bytes]:
    """Different pixels."""
    rng = np.random.default_rng(0)
    for first in range(0, count, BLOCK):
        size = min(BLOCK, count - first), big_pack.SIDE**2 * 3
        yield from map(bytes, rng.integers(0, 256, size, np.uint8))


def measure(job: Job) -> dict[str, Any]:
    """Run the epochs; of each, the most that its probes have found.

    Raises:
        BenchmarkError: in one epoch the workers had ended before the first probe.
    """
    loader = make_loader(job)
    every = -(-len(loader) // PROBES)
    start, found = time.perf_counter(), []
    for _ in range(job.epochs):
        probes = [m for n, _ in enumerate(loader) if n % every == 0 and (m := memory(job.workers))]
        if not probes:
            raise BenchmarkError("the epochs are too short: use more rows, or smaller batches")
        found.append({name: max(probe[name] for probe in probes) for name in FIGURES})
    return {"seconds": time.perf_counter() - start, "epochs": found}


def make_loader(job: Job) -> Any:
    """The loader as a training has it."""
    import torch
    from torch.utils.data import RandomSampler

    import fastdata
    from fastdata.transforms import RandomHorizontalFlip

    torch.manual_seed(0)
    dataset = fastdata.PackedImageFolder(job.pack, RandomHorizontalFlip())
    sampler = RandomSampler(dataset, replacement=True, num_samples=job.samples or None)
    return fastdata.DataLoaderX(
        dataset,
        batch_size=job.batch,
        shuffle=None if job.samples else True,
        sampler=sampler if job.samples else None,
        num_workers=job.workers,
        persistent_workers=job.persistent,
    )


def memory(workers: int) -> dict[str, int] | None:
    """FIGURES of the process tree now; None unless all workers live.

    At the end of an epoch workers may have ended while their last batches wait. What they shared
    with the training process is its own from then on, so its USS is larger, but no memory is used.
    """
    main = psutil.Process()
    with suppress(psutil.NoSuchProcess, OSError):
        tree = [main, *main.children(recursive=True)]
        unique = sum(process.memory_full_info().uss for process in tree)
        found = {"memory_bytes": usage.memory_bytes() or 0, "uss_bytes": unique}
        return found if len(tree) == 1 + workers and all(p.is_running() for p in tree) else None
    return None


def growth(run: dict[str, Any], figure: str = "memory_bytes") -> float:
    """How much more the largest later epoch takes than the first, as a share of that."""
    first, *later = (epoch[figure] for epoch in run["epochs"])
    return max(later) / first - 1


def report(result: dict[str, Any]) -> str:
    """Memory by epoch, growth with its verdict, the notes and the command."""
    parts = [
        *(table(title, result["runs"], figure) for figure, title in FIGURES.items()),
        markdown.bullets([verdict(result["runs"]), *notes(result)]),
        markdown.command(result["command"]),
    ]
    return "\n\n".join(parts) + "\n"


def table(title: str, runs: dict[str, Any], figure: str) -> str:
    """One figure by epoch, and its growth."""
    epochs = zip(*(run["epochs"] for run in runs.values()), strict=True)
    rows = [
        [str(number), *(f"{epoch[figure] / 1e6:.1f}" for epoch in found)]
        for number, found in enumerate(epochs, 1)
    ]
    rows.append(["growth", *(f"{growth(run, figure):+.2%}" for run in runs.values())])
    return markdown.table([f"{title}: epoch", *runs], rows)


def verdict(runs: dict[str, Any]) -> str:
    """Whether every configuration stays below the aim."""
    most = max(map(growth, runs.values()))
    met = "met" if most < AIM else "not met"
    return f"Aim: no later epoch takes {AIM:.0%} more memory than the first: {met}."


def notes(result: dict[str, Any]) -> list[str]:
    """How it was measured, and on what."""
    s = result["settings"]
    reads = f"{s['samples']:,} random rows" if s["samples"] else "each row once, in random order"
    return [
        f"A pack of {s['rows']:,} raw images of 8×8 pixels in batches of {s['batch']}; an epoch "
        f"reads {reads}. Figures are sums over the training process and its workers, the most of "
        f"{PROBES} looks at the same batches of each epoch.",
        "Memory: anonymous and shared memory (Pss_Anon and Pss_Shmem in /proc/PID/smaps_rollup), "
        "each page once, however many processes have it; no pages of files.",
        "Unique set size (psutil's `uss`): pages that just one process has. It counts a page of a "
        "mapped file (the pack's shard and table, libraries) for as long as only one process on "
        "the machine has touched it, so it follows who happens to read what. It counts a page "
        "shared since the fork only when one side has written to it, be it a reference count.",
        markdown.machine_note(result["machine"]),
    ]


if __name__ == "__main__":
    print(json.dumps(measure(Job(**json.loads(sys.argv[1])))))
