"""Search of the fastest settings of ``DataLoaderX`` on this machine: ``tune``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset
from tqdm import tqdm

from ...datasets import image_datasets
from ...errors import OptionError
from ..trials import Subject, Transform, Trials, open_images, usable_device
from .report import TuneReport
from .search import Search, WorkerType, first_settings


def tune(
    data: str | os.PathLike[str] | Dataset[Any],
    batch_size: int,
    *,
    device: torch.device | str | int | None = None,
    step_ms: float | None = None,
    seconds: float = 60.0,
    max_workers: int | None = None,
    worker_types: Sequence[WorkerType] | None = None,
    collate_fn: Callable[[list[Any]], Any] | None = None,
    batch_transform: Callable[[Any], Any] | None = None,
    transform: Transform = "train",
    size: int = 224,
    seed: int = 0,
    quiet: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> TuneReport:
    """Search the worker type, the number of workers and how far they work ahead.

    Successive halving (Karnin et al., 2013) in four rounds: all numbers of workers of both types;
    the faster half; the fastest with other lengths of the queues; and the finalists. In a round the
    candidates are tried in turn, forwards and then backwards, and compared turn by turn, so that a
    machine that becomes slower or faster meanwhile does so for all. What is measured is the rate
    that lasts: samples are drawn with replacement, the start of the workers does not count, and the
    loop does nothing else. Of those as fast as the fastest, within its spread, the one with the
    fewest workers is chosen.

    With ``step_ms`` the chosen loader then feeds a loop that sleeps so long for each batch. A real
    training takes some of the cores' time, too, which neither shows.

    A candidate that fails is kept with its error. No thread or process is left behind.

    Args:
        data: a pack, its URL, an image folder, or a map-style dataset. A dataset of fastdata's
            counts on the epochs: give a training's own another one.
        batch_size: samples in a batch, no more than there are.
        device: as for ``DataLoaderX``.
        step_ms: milliseconds that the training needs for a batch.
        seconds: for everything; what has begun is finished, so it may be a little more.
        max_workers: the most to try; None: as many as there are cores. More may pay where they wait
            for a network.
        worker_types: to try; None: both for datasets of fastdata, but for others "process" only,
            as threads may not be able to share them.
        collate_fn, batch_transform: as for ``DataLoaderX``.
        transform, size, cache_dir, cache_limit, storage_options: as for ``bench``, where ``data``
            is a path.
        seed: of the samples' order.
        quiet: no progress bar, which otherwise shows where standard error is a terminal.

    Raises:
        OptionError: an argument is out of its range, or torch cannot use the device.
        EmptySourceError: there is no sample.
        SampleError: a sample cannot be read or decoded.
        PackError, RemoteError, CacheError, SourceError: as ``PackedImageFolder`` and
            ``ImageFolder``.
        KeyboardInterrupt: it was interrupted; the only one of its ``args`` is the ``TuneReport`` of
            what had been found, if anything had.

    If every candidate fails, the first one's error is raised.

    Example:
        >>> dataset = fastdata.PackedImageFolder("photos.pack", T.CenterCrop(32))
        >>> report = fastdata.tune(
        ...     dataset, batch_size=4, seconds=1, max_workers=1, worker_types=["thread"], quiet=True
        ... )
        >>> print(report.line)
        fastdata.DataLoaderX(dataset, 4, shuffle=True...)
    """
    _check(batch_size, step_ms, seconds, max_workers)
    found = usable_device(device)
    if isinstance(data, (str, os.PathLike)):
        subject = open_images(
            data,
            transform,
            size,
            cache_dir=cache_dir,
            cache_limit=cache_limit,
            storage_options=storage_options,
        )
    else:
        subject = Subject(data, type(data).__name__, "")
    samples = _length(subject.dataset)
    if batch_size > samples:
        raise OptionError(
            f"{subject.name} has {samples} samples: no batch of {batch_size}; choose a batch_size "
            f"up to {samples}"
        )
    given = {"collate_fn": collate_fn, "batch_transform": batch_transform}
    more = {name: value for name, value in given.items() if value is not None}
    types = worker_types or _worker_types(subject.dataset)
    trials = Trials(subject.dataset, batch_size, found, seed, more)
    words = "".join(f", {name}={name}" for name in more)
    if device is not None:
        words = f', device="{found if isinstance(device, int) else device}"{words}'
    search = Search(trials, first_settings(types, max_workers), seconds, step_ms)
    with _TrialBar(
        total=round(seconds, 1), disable=True if quiet else None, bar_format=_FORMAT
    ) as search.bar:
        try:
            search.run()
        except KeyboardInterrupt:
            if not search.measured:
                raise
            raise KeyboardInterrupt(search.report(subject, words, True)) from None
    return search.report(subject, words)


class _TrialBar(tqdm):  # type: ignore[misc]
    """A progress bar without the thread that tqdm starts and leaves behind."""

    monitor_interval = 0


_FORMAT = "{percentage:3.0f} %|{bar}| {elapsed} of {total:.0f} s, {desc}"


def _check(batch_size: int, step_ms: float | None, seconds: float, max_workers: int | None) -> None:
    if batch_size < 1:
        raise OptionError(f"batch_size must be >= 1, got {batch_size}")
    if step_ms is not None and not step_ms > 0:
        raise OptionError(f"step_ms must be > 0 milliseconds, got {step_ms}")
    if not seconds > 0:
        raise OptionError(f"seconds must be > 0, got {seconds}")
    if max_workers is not None and max_workers < 0:
        raise OptionError(f"max_workers must be >= 0, got {max_workers}")


def _length(dataset: Any) -> int:
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise OptionError(
            f"tune needs a map-style dataset with a length, not {type(dataset).__name__}: it reads "
            "samples at random"
        )
    return len(dataset)


def _worker_types(dataset: Any) -> Sequence[WorkerType]:
    return ("thread", "process") if any(image_datasets(dataset)) else ("process",)
