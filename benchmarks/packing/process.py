"""One way of packing or copying in this process; prints its figures as JSON.

``python -m benchmarks.packing.process JSON``, called by ``packing``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..common import usage
from ..common.machine import usable_cores

_PROBE_S = 0.02
SHORT, QUALITY = 256, 90


@dataclass(frozen=True, slots=True)
class Job:
    """One run: what is done with the folder ``images``, into the new directory ``target``."""

    way: str
    images: str
    target: str
    shard_size: str
    cold: bool = False


def measure(job: Job) -> dict[str, Any]:
    """Run it; time, CPU time and the most anonymous memory."""
    work = WORK[job.way](job)
    if job.cold:
        forget(Path(job.images))
    os.sync()  # what earlier runs have written must not be in the way
    with peak_memory() as memory:
        cpu, start = usage.cpu_seconds(), time.perf_counter()
        work()
        wall, cpu = time.perf_counter() - start, usage.cpu_seconds() - cpu
    files = [path for path in Path(job.images).rglob("*") if path.is_file()]
    return {
        "images": len(files),
        "wall_s": wall,
        "cpu_s": cpu,
        "images_per_s": len(files) / wall,
        "mb_per_s": sum(path.stat().st_size for path in files) / wall / 1e6,
        "cpu_s_per_1000": 1000 * cpu / len(files),
        "memory_bytes": memory[0] or None,
    }


def forget(folder: Path) -> None:
    """Have the system drop a folder's files from its page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)  # dirty pages would stay
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The most anonymous memory of this process meanwhile, looked at every 20 ms; 0 off Linux."""
    most, done = [0], threading.Event()

    def watch() -> None:
        while True:
            most[0] = max(most[0], anonymous_bytes())
            if done.wait(_PROBE_S):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def anonymous_bytes() -> int:
    """Resident anonymous memory of this process."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def copying(job: Job) -> Callable[[], None]:
    """``cp -r``."""

    def work() -> None:
        subprocess.run(["cp", "-r", job.images, job.target], check=True)

    return work


def copying_durably(job: Job) -> Callable[[], None]:
    """``cp -r``, then fsync of each copy and each directory."""
    copy = copying(job)

    def work() -> None:
        copy()
        for path in [Path(job.target), *Path(job.target).rglob("*")]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    return work


def looping(job: Job, one: Callable[[bytes], object]) -> Callable[[], None]:
    """A bare loop over all files, in as many threads as there are cores."""
    cores = usable_cores()
    cv2.setNumThreads(0)

    def work() -> None:
        files = sorted(path for path in Path(job.images).rglob("*") if path.is_file())

        def some(first: int) -> None:
            for path in files[first::cores]:
                one(path.read_bytes())

        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(some, range(cores)))

    return work


def decoded(data: bytes) -> Any:
    """BGR pixels."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def shrunk(data: bytes) -> Any:
    """A JPEG whose shorter side has SHORT pixels at most."""
    image = decoded(data)
    height, width = image.shape[:2]
    scale = SHORT / min(height, width)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def packing(job: Job, **options: Any) -> Callable[[], None]:
    """``fastdata.pack_image_folder``; kernels are loaded before."""
    import fastdata
    from fastdata.images.decode import load_kernels

    if options["encoding"] != "keep":
        load_kernels()

    def work() -> None:
        fastdata.pack_image_folder(
            job.images, job.target, shard_size=job.shard_size, quiet=True, **options
        )

    return work


WORK: dict[str, Callable[[Job], Callable[[], None]]] = {
    "cp": copying,
    "cp+fsync": copying_durably,
    "keep-header": lambda job: packing(job, encoding="keep", check="header"),
    "decode-loop": lambda job: looping(job, decoded),
    "keep": lambda job: packing(job, encoding="keep"),
    "sliceable": lambda job: packing(job, encoding="sliceable"),
    "jpeg-loop": lambda job: looping(job, shrunk),
    "jpeg": lambda job: packing(job, encoding="jpeg", resize_short=SHORT, quality=QUALITY),
}


if __name__ == "__main__":
    job = Job(**json.loads(sys.argv[1]))
    try:
        print(json.dumps(measure(job)))
    finally:
        shutil.rmtree(job.target, ignore_errors=True)
