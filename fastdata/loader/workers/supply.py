"""Where a loader's batches come from: processes, threads or the caller's thread, made ahead."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.utils.data
from torch.utils.data import ConcatDataset, IterableDataset, Subset, default_collate

from ...core import map_tensors
from ...datasets import ImageDataset, image_datasets, pinned_batches
from ...errors import WorkerError
from ...images import single_threaded_opencv
from ..delivery import Delivery, Task
from ..progress import Indices, Progress
from .background import BackgroundIterator
from .fetch import Fetch, describe, name_of
from .processes import ProcessIterator, owned
from .threads import ThreadBatches
from .torch_loader import DeliveringLoader

# Deprecated by torch, and gone some day: their workers need the pipe itself.
_PIPES = tuple(p for p in [getattr(torch.utils.data, "MapDataPipe", None)] if p is not None)


class Supply:
    """Makes the deliveries of a ``DataLoaderX``, one iteration after the other.

    The loader is handed in each time: kept here it would be a cycle, and a loader that is dropped
    must end its workers without waiting for the garbage collector.
    """

    def __init__(self, indices: Indices) -> None:
        self._indices = indices
        self._persistent: ProcessIterator | None = None
        self._processes: Callable[[], ProcessIterator | None] = _nothing
        self._background: Callable[[], BackgroundIterator[Any] | None] = _nothing
        self._threads: Callable[[], ThreadBatches | None] = _nothing
        self._last_thread: Callable[[], threading.Thread | None] = _nothing

    def begin(self, loader: Any) -> Iterator[Delivery]:
        """Start, or wake, the workers for one iteration."""
        self._end_previous()
        self._processes = _nothing
        fetch = fetch_of(loader)
        if loader.worker_type == "thread" and loader.num_workers > 0 and fetch is not None:
            threads = self._thread_batches(loader, fetch)
            self._threads = weakref.ref(threads)
            return _closing(threads)
        iterator = self._torch_iterator(loader, fetch)
        if isinstance(iterator, ProcessIterator):
            self._processes = weakref.ref(iterator)
        source = owned(iterator, loader.persistent_workers)
        if fetch is None:
            source = _later(source, self._indices.progress.done)
        return self._ahead(loader, source, getattr(iterator, "stop", None))

    def ready(self) -> int:
        """How many batches are there that the consumer has not asked for yet."""
        ahead = self._background() or self._threads()
        return 0 if ahead is None else ahead.ready

    def explainer(
        self, dataset: Any, progress: Progress
    ) -> Callable[[RuntimeError], WorkerError | None]:
        """What makes a better error of one about the worker processes begun last."""
        return partial(_explained, self._processes, dataset, progress)

    def _torch_iterator(self, loader: Any, fetch: Fetch | None) -> Iterator[Delivery]:
        if self._persistent is not None and self._persistent.usable:
            self._restart(self._persistent, loader)
            return self._persistent
        iterator: Any = DeliveringLoader(loader, fetch, self._indices)._get_iterator()
        lasting = loader.persistent_workers and isinstance(iterator, ProcessIterator)
        self._persistent = iterator if lasting else None
        return iterator  # type: ignore[no-any-return]

    def _restart(self, processes: ProcessIterator, loader: Any) -> None:
        self._processes = weakref.ref(processes)
        try:
            processes.restart(loader)
        except RuntimeError as error:
            told = self.explainer(loader.dataset, self._indices.progress)(error)
            if told is None:
                raise
            try:
                raise told from error
            finally:
                del told  # a cycle through its traceback

    def _thread_batches(self, loader: Any, fetch: Fetch) -> ThreadBatches:
        # torch's iterators draw one number, for the seeds of their workers; the samplers' draws
        # from the same generator come behind it.
        torch.empty((), dtype=torch.int64).random_(generator=loader.generator)
        return ThreadBatches(
            _InThread(fetch, loader.pin_memory and _can_pin()),
            iter(self._indices),
            threads=loader.num_workers,
            ahead=loader.num_workers * (loader.prefetch_factor or 2),
            timeout=loader.timeout,
            start=loader.worker_init_fn,
        )

    def _ahead(
        self, loader: Any, source: Iterator[Delivery], stop: Callable[[], None] | None
    ) -> Iterator[Delivery]:
        if loader.prefetch_batches == 0:
            return source
        if loader.num_workers == 0:
            return self._ahead_of_caller(loader, source) if _background_safe(loader) else source
        background = BackgroundIterator(source, loader.prefetch_batches, interrupt=stop)
        self._background = weakref.ref(background)
        self._last_thread = weakref.ref(background.thread)
        return _closing(background)

    def _ahead_of_caller(self, loader: Any, source: Iterator[Delivery]) -> Iterator[Delivery]:
        # The first batch is made here: that is when samplers draw from torch's global generator.
        for first in source:
            with BackgroundIterator(source, loader.prefetch_batches) as background:
                self._background = weakref.ref(background)
                yield first
                del first
                yield from background

    def _end_previous(self) -> None:
        """Persistent workers serve one iteration at a time: wait for the thread of the last one."""
        background, self._background = self._background(), _nothing
        thread, self._last_thread = self._last_thread(), _nothing
        if self._persistent is not None and background is not None:
            background.close()
        if self._persistent is not None and thread is not None:
            thread.join()


def fetch_of(loader: Any) -> Fetch | None:
    """What makes a loader's batches; None where torch has to read the dataset in its own way."""
    if isinstance(loader.dataset, (IterableDataset, *_PIPES)):
        return None
    batched = loader.batch_sampler is not None
    return Fetch(loader.dataset, loader.collate_fn, batched, loader.on_error)


class _InThread:
    """Makes a delivery in a worker thread, in pinned memory if that was asked for."""

    def __init__(self, fetch: Fetch, pinned: bool) -> None:
        self._fetch = fetch
        self._pinned = pinned

    def __call__(self, task: Task) -> Delivery:
        try:
            with pinned_batches(self._pinned), single_threaded_opencv:
                delivery = self._fetch(task)
            if self._pinned:
                delivery.batch = map_tensors(_pin, delivery.batch)
            return delivery
        except Exception as error:  # the batches behind it can still be made
            return Delivery(number=task.number, error=error)


def _background_safe(loader: Any) -> bool:
    known = isinstance(loader.dataset, (ImageDataset, Subset, ConcatDataset))
    own = all(dataset.background_safe for dataset in image_datasets(loader.dataset))
    return known and own and loader.collate_fn is default_collate


def _explained(
    processes: Callable[[], ProcessIterator | None],
    dataset: Any,
    progress: Progress,
    error: RuntimeError,
) -> WorkerError | None:
    iterator = processes()
    if iterator is None or not iterator.lost:
        return None
    parts = []
    for worker, tasks in iterator.lost:
        batches = [progress.issued.get(progress.first + task) for task in tasks]
        parts.append(f"worker {worker} was {_reading(dataset, worker, batches)}")
    return WorkerError(f"{error} ({'; '.join(parts)})")


def _reading(dataset: Any, worker: int, batches: list[Any]) -> str:
    """What a worker was doing when it died; the first of its batches may be made and not sent."""
    if not batches or batches[0] is None:
        return "waiting for work"
    listed = [i for b in batches for i in (b if isinstance(b, (list, tuple)) else [b])]
    for inner in image_datasets(dataset):
        index = inner.reading(worker)
        now = (inner.root, inner.key_of(index)) if index >= 0 else None
        if now and any(name_of(dataset, i) == now for i in listed):
            return f"reading sample {index} ({now[1]} of {now[0]})"
    return f"making the batch of {describe(dataset, batches[0])}"


def _closing(batches: BackgroundIterator[Any] | ThreadBatches) -> Iterator[Any]:
    """The batches; a consumer that stops early waits until the threads have ended."""
    with batches:
        yield from batches


def _later(deliveries: Iterator[Delivery], skipped: int) -> Iterator[Delivery]:
    """An iterable dataset's deliveries from a number on: the samples before are read, too."""
    for number, delivery in enumerate(deliveries):
        delivery.number = number
        if number >= skipped:
            yield delivery
        del delivery


def _can_pin() -> bool:
    if hasattr(torch, "accelerator"):  # torch >= 2.6
        return torch.accelerator.is_available()
    return torch.cuda.is_available()


def _pin(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.is_pinned() else tensor.pin_memory()


def _nothing() -> None:
    return None
