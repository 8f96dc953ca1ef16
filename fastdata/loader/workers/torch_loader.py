"""A loader as torch's own iterators read it, made to carry deliveries."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import torch.multiprocessing
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import (
    _MultiProcessingDataLoaderIter,
    _SingleProcessDataLoaderIter,
)

from ..delivery import Delivery
from ..progress import Indices
from .channels import WorkerContext
from .fetch import Fetch, ShowDataset
from .processes import ProcessIterator

#: Where pipes can be read without blocking. Elsewhere workers are torch's own in every respect.
OWN_PIPES = os.name == "posix"


class DeliveringLoader(DataLoader[Any]):
    """A loader as torch's iterators read it, whose batches are deliveries.

    Args:
        loader: the user's loader; its settings apply.
        fetch: makes the deliveries, from the tasks of ``indices``. None for an iterable dataset:
            then torch reads the dataset itself, and only collating is ours.
    """

    def __init__(self, loader: DataLoader[Any], fetch: Fetch | None, indices: Indices) -> None:
        self.__dict__.update(loader.__dict__)
        self._indices = indices if fetch else super()._index_sampler
        inner = Collating(loader.collate_fn) if fetch is None else as_it_is
        start = loader.worker_init_fn if fetch is None else ShowDataset(loader.worker_init_fn)
        self.__dict__.update(collate_fn=inner, worker_init_fn=start)
        self.__dict__["_IterableDataset_len_called"] = None  # ``Epoch`` checks, batch by batch
        if fetch is not None:
            self.__dict__["dataset"] = fetch

    @property
    def _index_sampler(self) -> Any:
        return self._indices

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
