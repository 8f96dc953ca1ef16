"""Costs of each stage between a file and a batch on this machine: ``bench``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset

from ...core import available_cores, tensors_in
from ...datasets import ImageDataset, PackedImageFolder
from ...errors import OptionError
from ...images import single_threaded_opencv
from ..trials import Setting, Transform, Trials, open_images, synchronize, usable_device
from .report import HEAD, BenchReport, Row
from .work import StageWork, disk_bytes

_WARM = 4  # samples
_COPIES = 20
_TICK = 1e-9  # seconds, where the work is shorter than the clock can tell
_PASSES = 3


def bench(
    path: str | os.PathLike[str],
    *,
    transform: Transform = "train",
    size: int = 224,
    batch_size: int = 64,
    samples: int = 1000,
    seconds: float = 2.0,
    seed: int = 0,
    device: torch.device | str | int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    show: Callable[[str], object] | None = None,
) -> BenchReport:
    """Measure what this machine does with this data, stage by stage, then as a whole.

    The stages run in one thread, over the same samples, drawn at random: reading (each page of a
    record is touched), at first and again, where the first reading in a process has a pack's
    checksums to compare, too; decoding the part of an image that the transform needs; the transform
    (resize, flip and whatever follows), into the batch; collating; and the copy of batches from
    pinned memory to a GPU. "one thread" is all of that together, but for the first reading and the
    copy, and a stage's share is of it. Reading and copying are timed by the clock, the rest by the
    thread's CPU time, so that what else the machine does counts less. Each stage is timed by
    itself: shares add up to about, not exactly, one. Then whole loaders read the same samples, in
    turn: without workers, and with a thread, or a process, for each core; of those the rates are
    medians by the clock.

    Args:
        path: a pack, its URL, or an image folder.
        transform: "train" (RandomResizedCrop and flip), "val" (Resize and CenterCrop), or a
            callable as the datasets take it.
        size: of "train" and "val", in pixels.
        batch_size: samples in a batch.
        samples: how many are measured at most.
        seconds: for each stage and each loader, at most; few samples take a stage less.
        seed: of the draw of samples, and of crops.
        device: of the copy and the loaders; None is CUDA where there is any.
        cache_dir, cache_limit, storage_options: as for ``PackedImageFolder``.
        show: called with each line of the table, as soon as it is known.

    Raises:
        OptionError: an argument is out of its range, or torch cannot use the device.
        EmptySourceError: there is no sample.
        SampleError: a sample cannot be read or decoded.
        PackError, RemoteError, CacheError, SourceError: as ``PackedImageFolder`` and
            ``ImageFolder``.

    Example:
        >>> report = fastdata.bench("photos.pack", size=32, batch_size=4, seconds=0.05)
        >>> print(report.header)
        photos.pack: 8 samples, transform train 32, batches of 4, ...
    """
    for name, value in (("batch_size", batch_size), ("samples", samples)):
        if value < 1:
            raise OptionError(f"{name} must be >= 1, got {value}")
    if not seconds > 0:
        raise OptionError(f"seconds must be > 0, got {seconds}")
    found = usable_device("cuda" if device is None and torch.cuda.is_available() else device)
    subject = open_images(
        path,
        transform,
        size,
        cache_dir=cache_dir,
        cache_limit=cache_limit,
        storage_options=storage_options,
    )
    dataset = subject.dataset
    dataset.seed = seed
    packed = isinstance(dataset, PackedImageFolder)
    report = BenchReport(
        path=subject.name,
        samples=len(dataset),
        transform=f"{transform} {size}" if isinstance(transform, str) else "given",
        batch_size=batch_size,
        cores=available_cores(),
        encoding=dataset.pack.manifest.encoding["name"] if packed else None,
    )
    return _Bench(dataset, report, seconds, found, show).run(samples)


class _Bench:
    """Measures the rows of a report; arguments as for ``bench``."""

    def __init__(
        self,
        dataset: ImageDataset,
        report: BenchReport,
        seconds: float,
        device: torch.device | None,
        show: Callable[[str], object] | None,
    ) -> None:
        self._dataset, self._head = dataset, report
        self._rows: list[Row] = []
        self._seconds, self._device, self._show = seconds, device, show
        self._work = StageWork(dataset)

    def run(self, samples: int) -> BenchReport:
        """Measure everything."""
        rng, count = np.random.default_rng(self._dataset.seed), len(self._dataset)
        indices: list[int] = rng.choice(count, min(samples, count), replace=False).tolist()
        self._tell(self._head.header, HEAD)
        self._dataset.begin_epoch()  # loads the kernels
        with single_threaded_opencv:
            indices, from_disk = self._read_first(indices)
            self._stages(indices)
        self._loaders(indices)
        facts = self._work.facts(indices[: self._head.batch_size])
        report = replace(self._head, rows=self._rows, disk_bytes=from_disk, facts=facts)
        self._tell(*report.verdict)
        return report

    def _read_first(self, indices: list[int]) -> tuple[list[int], int | None]:
        """The samples that were read before the time was over, and the bytes read from disks."""
        sizes: list[int] = []
        before, start = disk_bytes(), time.perf_counter()
        for i in indices:
            sizes += self._work.read([i])
            if time.perf_counter() - start > self._seconds:
                break
        spent, count = time.perf_counter() - start, len(sizes)
        found = None if before is None else (disk_bytes() or 0) - before
        note = _disk_note(found)
        self._add(Row("read, first time", count, spent / count, sum(sizes) / count, note=note))
        return indices[:count], found

    def _stages(self, indices: list[int]) -> None:
        work = self._work
        work.everything(indices[:_WARM])
        count, spent, batch = self._timed(indices, _same, work.everything)
        whole = spent / count
        self._add(Row("one thread", count, whole))

        count, spent, _ = self._timed(indices, _same, work.read, time.perf_counter)
        size = self._rows[0].bytes
        self._add(Row("read", count, spent / count, size, spent / count / whole))
        for name, prepare, run in (
            ("decode", work.fetch, work.decode),
            ("transform", work.decoded, work.transform),
            ("collate", work.transformed, work.collate),
        ):
            count, spent, _ = self._timed(indices, prepare, run)
            self._add(Row(name, count, spent / count, share=spent / count / whole))
        self._add(self._copy(batch))

    def _timed(
        self,
        indices: list[int],
        prepare: Callable[[Any], Any],
        run: Callable[[Any], Any],
        clock: Callable[[], float] = time.thread_time,
    ) -> tuple[int, float, Any]:
        """Number of samples worked on, the seconds of ``run`` alone, and its first result."""
        count, spent = 0, 0.0
        results: list[Any] = []
        deadline, step = time.perf_counter() + self._seconds, self._head.batch_size
        for at in range(0, len(indices), step):
            chunk = indices[at : at + step]
            prepared = prepare(chunk)
            start = clock()
            result = run(prepared)
            count, spent = count + len(chunk), spent + clock() - start
            results = results or [result]
            del prepared, result
            if time.perf_counter() > deadline:
                break
        return count, max(spent, _TICK), results[0]

    def _copy(self, batch: Any) -> Row:
        device = self._device
        if device is None or device.type == "cpu":
            return Row("copy", note="not measured: no GPU")
        pinned = device.type in ("cuda", "xpu")
        hosts = [t.pin_memory() if pinned else t for t in tensors_in(batch)]
        images = len(hosts[0])

        def copies(count: int) -> float:
            start = time.perf_counter()
            for _ in range(count):
                for host in hosts:
                    host.to(device, non_blocking=True)
            synchronize(device)
            return (time.perf_counter() - start) / (count * images)

        copies(2)
        size = sum(host.nbytes for host in hosts) / images
        return Row("copy", _COPIES * images, copies(_COPIES), size, note="beside the rest")

    def _loaders(self, indices: Sequence[int]) -> None:
        batch_size, cores = self._head.batch_size, self._head.cores
        part = Subset(self._dataset, list(indices))
        trials = Trials(part, batch_size, self._device, self._dataset.seed, {})
        settings = (Setting(), Setting(cores, "thread"), Setting(cores, "process"))
        rates: dict[Setting, list[float]] = {setting: [] for setting in settings}
        for left in range(_PASSES, 0, -1):
            for setting in settings:
                found = trials.rate(setting, self._seconds / _PASSES)
                rates[setting].append(found.images_per_s)
                if left == 1:
                    self._add(_loader_row(setting, rates[setting], self._seconds))

    def _add(self, row: Row) -> None:
        self._rows.append(row)
        self._tell(str(row))

    def _tell(self, *lines: str) -> None:
        for line in lines if self._show is not None else ():
            self._show(line)  # type: ignore[misc]


def _loader_row(setting: Setting, rates: list[float], seconds: float) -> Row:
    rate, extremes = median(rates), (min(rates), max(rates))
    note = f"{extremes[0]:,.0f} to {extremes[1]:,.0f} images/s"
    return Row(str(setting), round(rate * seconds), 1 / rate, note=note, extremes=extremes)


def _same(chunk: Any) -> Any:
    return chunk


def _disk_note(size: int | None) -> str:
    if size is None:
        return "from a disk, or from memory"
    return f"{size / 1e6:,.1f} MB of it from a disk" if size else "no disk read"
