"""The workers of a loader: processes, threads or the caller's thread, all of them ahead."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.utils.data
from torch.utils.data import ConcatDataset, IterableDataset, Subset, default_collate

from ...core import map_tensors
from ...datasets import ImageDataset, image_datasets, pinned_batches
from ...errors import WorkerError
from ...images import single_threaded_opencv
from ..delivery import Deliveries, Delivery, Task
from ..progress import Progress
from ..tasks import Tasks
from ..torch_private.iterators import DeliveringLoader, owned
from ..torch_private.processes import ProcessIterator
from .background import AheadFromSecond, BackgroundIterator
from .batch_maker import BatchMaker
from .deaths import explained
from .threads import ThreadBatches

# Deprecated by torch, and gone some day: their workers need the pipe itself.
_PIPES = tuple(p for p in [getattr(torch.utils.data, "MapDataPipe", None)] if p is not None)


class Workers:
    """Makes the deliveries of a ``DataLoaderX``, one iteration after the other.

    The loader is handed in each time: kept here it would be a cycle, and a loader that is dropped
    must end its workers without waiting for the garbage collector.
    """

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._persistent: ProcessIterator | None = None
        # Of the last iteration over processes; weakly, as an iteration that is dropped has to end.
        # The thread by itself, too: for a moment it may outlive the object that it belongs to.
        self._background: Callable[[], BackgroundIterator[Any] | None] = _nothing
        self._thread: Callable[[], threading.Thread | None] = _nothing

    def begin(self, loader: Any) -> Deliveries:
        """Start, or wake, the workers for one iteration."""
        self._end_previous()
        maker = maker_of(loader)
        if loader.worker_type == "thread" and loader.num_workers > 0 and maker is not None:
            return Deliveries(self._thread_batches(loader, maker))
        iterator = self._torch_iterator(loader, maker)
        source = owned(iterator, loader.persistent_workers)
        if maker is None:
            source = _later(source, self._tasks.progress.done)
        ahead = self._ahead(loader, source, getattr(iterator, "stop", None))
        if not isinstance(iterator, ProcessIterator):
            return Deliveries(ahead)
        return ProcessDeliveries(ahead, iterator, loader.dataset, self._tasks.progress)

    def _torch_iterator(self, loader: Any, maker: BatchMaker | None) -> Iterator[Delivery]:
        if self._persistent is not None and self._persistent.usable:
            self._restart(self._persistent, loader)
            return self._persistent
        iterator = DeliveringLoader(loader, maker, self._tasks).iterator()
        self._persistent = None
        if loader.persistent_workers and isinstance(iterator, ProcessIterator):
            self._persistent = iterator
        return iterator

    def _restart(self, processes: ProcessIterator, loader: Any) -> None:
        try:
            processes.restart(loader)
        except RuntimeError as error:
            # One has died since the last iteration, of which nobody knows but this one.
            told = explained(error, processes.lost, loader.dataset, self._tasks.progress)
            if told is None:
                raise
            try:
                raise told from error
            finally:
                del told  # a cycle through its traceback

    def _thread_batches(self, loader: Any, maker: BatchMaker) -> ThreadBatches:
        # torch's iterators draw one number, for the seeds of their workers; the samplers' draws
        # from the same generator come behind it.
        torch.empty((), dtype=torch.int64).random_(generator=loader.generator)
        return ThreadBatches(
            _InThread(maker, loader.pin_memory and _can_pin()),
            iter(self._tasks),
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
            safe = _background_safe(loader)
            return AheadFromSecond(source, loader.prefetch_batches) if safe else source
        # The workers start, and have their first tasks, when torch's iterator is made: that was in
        # this thread. The background one asks the sampler for the tasks behind these.
        background = BackgroundIterator(source, loader.prefetch_batches, interrupt=stop)
        self._background = weakref.ref(background)
        self._thread = weakref.ref(background.thread)
        return background

    def _end_previous(self) -> None:
        """Persistent workers serve one iteration at a time: wait for the thread of the last one."""
        background, self._background = self._background(), _nothing
        thread, self._thread = self._thread(), _nothing
        if self._persistent is not None and background is not None:
            background.close()
        if self._persistent is not None and thread is not None:
            thread.join()


class ProcessDeliveries(Deliveries):
    """Deliveries made by worker processes, whose death can be explained.

    Args:
        source: as in ``Deliveries``.
        processes: the workers.
        dataset: the loader's.
        progress: of the iteration.
    """

    def __init__(
        self,
        source: Iterator[Delivery],
        processes: ProcessIterator,
        dataset: Any,
        progress: Progress,
    ) -> None:
        super().__init__(source)
        self._processes = processes
        self._dataset = dataset
        self._progress = progress

    def explained(self, error: RuntimeError) -> WorkerError | None:
        """The error with what each dead worker was doing; None if none has died."""
        return explained(error, self._processes.lost, self._dataset, self._progress)


def maker_of(loader: Any) -> BatchMaker | None:
    """Maker of a loader's batches; None where torch has to read the dataset in its own way."""
    if isinstance(loader.dataset, (IterableDataset, *_PIPES)):
        return None
    batched = loader.batch_sampler is not None
    return BatchMaker(loader.dataset, loader.collate_fn, batched, loader.on_error)


class _InThread:
    """Makes a delivery in a worker thread, in pinned memory if that was asked for."""

    def __init__(self, maker: BatchMaker, pinned: bool) -> None:
        self._maker = maker
        self._pinned = pinned

    def __call__(self, task: Task) -> Delivery:
        try:
            with pinned_batches(self._pinned), single_threaded_opencv:
                delivery = self._maker(task)
            if self._pinned:
                delivery.batch = map_tensors(_pin, delivery.batch)
            return delivery
        except Exception as error:  # the batches behind it can still be made
            return Delivery(number=task.number, error=error)


def _background_safe(loader: Any) -> bool:
    known = isinstance(loader.dataset, (ImageDataset, Subset, ConcatDataset))
    own = all(dataset.background_safe for dataset in image_datasets(loader.dataset))
    return known and own and loader.collate_fn is default_collate


def _later(deliveries: Iterator[Delivery], skipped: int) -> Iterator[Delivery]:
    """An iterable dataset's deliveries from a number on: the samples before are read, too."""
    # Nobody but the dataset knows what it will give: so its deliveries have numbers only now, in
    # the order in which they come.
    for number, delivery in enumerate(deliveries):
        delivery.number = number
        if number >= skipped:
            yield delivery
        del delivery  # else the batch would live until the next one is there


def _can_pin() -> bool:
    if hasattr(torch, "accelerator"):  # torch >= 2.6
        return torch.accelerator.is_available()
    return torch.cuda.is_available()


def _pin(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.is_pinned() else tensor.pin_memory()


def _nothing() -> None:
    return None
