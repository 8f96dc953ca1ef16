"""A loader as torch's own iterators read it, made to carry deliveries."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch.multiprocessing
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data.dataloader import (
    _MultiProcessingDataLoaderIter,
    _SingleProcessDataLoaderIter,
)

from ...core import close_if_possible
from ..delivery import Delivery
from ..tasks import Tasks
from ..workers.batch_maker import BatchMaker
from .channels import WorkerContext
from .processes import IterationStopped, ProcessIterator

#: Where pipes can be read without blocking. Elsewhere workers are torch's own in every respect.
OWN_PIPES = os.name == "posix"


class DeliveringLoader(DataLoader[Any]):
    """A loader as torch's iterators read it, whose batches are deliveries.

    Args:
        loader: the user's loader; its settings apply.
        maker: makes the deliveries, from ``tasks``. None for an iterable dataset: then torch reads
            the dataset itself, and only collating is ours.
    """

    def __init__(self, loader: DataLoader[Any], maker: BatchMaker | None, tasks: Tasks) -> None:
        # The constructor of torch's would check, and warn, a second time; and what it makes of its
        # arguments is there already. Item by item, as most of these refuse to be set.
        own = self.__dict__
        own.update(loader.__dict__)
        own["_IterableDataset_len_called"] = None  # ``Epoch`` checks, batch by batch
        if maker is None:
            self._tasks = super()._index_sampler
            own["collate_fn"] = Collating(loader.collate_fn)
            return
        self._tasks = tasks
        own["dataset"] = maker
        own["collate_fn"] = as_it_is
        own["worker_init_fn"] = ShowDataset(loader.worker_init_fn)

    def iterator(self) -> Iterator[Delivery]:
        """Begin an iteration: ``owned`` is to read it."""
        return self._get_iterator()  # type: ignore[no-any-return]

    @property
    def _index_sampler(self) -> Any:
        return self._tasks

    def _get_iterator(self) -> Any:
        if self.num_workers == 0:
            return _SingleProcessDataLoaderIter(self)
        self.check_worker_number_rationality()
        if not OWN_PIPES:
            return _MultiProcessingDataLoaderIter(self)
        context = WorkerContext(self.multiprocessing_context or torch.multiprocessing)
        # torch checks what is set by name; this stands for a context that was checked before.
        self.__dict__["_DataLoader__multiprocessing_context"] = context
        return ProcessIterator(self, context)


def owned(iterator: Iterator[Delivery], persistent: bool) -> Iterator[Delivery]:
    """The deliveries; workers that need not persist, or are broken, end when this ends.

    An error is a delivery, too, where torch's iterator can go on behind it.
    """
    try:
        while True:
            try:
                delivery = next(iterator)
            except (StopIteration, IterationStopped):
                return
            except Exception as error:
                # Dead workers, and pipes with half a message in them: nothing comes behind that.
                if isinstance(iterator, ProcessIterator) and iterator.broken:
                    raise
                delivery = Delivery(error=error)
            yield delivery
            del delivery  # else the batch would live until the next one is there
    finally:
        # What watches the sampler's indices is not to wait for the garbage collector.
        close_if_possible(getattr(iterator, "_sampler_iter", None))
        if isinstance(iterator, ProcessIterator):
            iterator.end(persistent)


class ShowDataset:
    """A ``worker_init_fn`` that lets ``get_worker_info().dataset`` be the user's dataset."""

    def __init__(self, start: Callable[[int], None] | None) -> None:
        self.start = start

    def __call__(self, worker: int) -> None:
        info = get_worker_info()
        if info is not None and isinstance(info.dataset, BatchMaker):
            # An ordinary assignment is refused: to users the record is read-only.
            object.__setattr__(info, "dataset", info.dataset.dataset)
        if self.start is not None:
            self.start(worker)


class Collating:
    """Makes a delivery of what torch's workers read from an iterable dataset."""

    def __init__(self, collate_fn: Callable[[Any], Any]) -> None:
        self.collate_fn = collate_fn

    def __call__(self, samples: Any) -> Delivery:
        start = time.perf_counter()
        batch = self.collate_fn(samples)
        return Delivery(batch, seconds={"collating": time.perf_counter() - start}).sealed()


def as_it_is(delivery: Delivery) -> Delivery:
    """The ``collate_fn`` of a loader whose samples are deliveries."""
    return delivery
