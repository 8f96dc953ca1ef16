"""One iteration over a loader: batches from deliveries, and the iterator that its user has."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from ..core import Closable, close_if_possible
from .delivery import BatchFailed, Deliveries, Delivery
from .failures import FailureLog
from .progress import Progress
from .stats import Meter
from .torch_private.names import told_length


class Arrivals(Iterator[Any]):
    """The batches of deliveries; where one is an error, ``BatchFailed`` is raised in its turn.

    Args:
        deliveries: what the workers made.
        progress: told of each batch that comes, and of those that will not.
        failures: told of the samples that could not be read; raises if they are too many.
    """

    # Not a generator, which would have ended with the first error that it let out.

    def __init__(
        self, deliveries: Iterator[Delivery], progress: Progress, failures: FailureLog
    ) -> None:
        self._deliveries = deliveries
        self._progress = progress
        self._failures = failures

    def __next__(self) -> Any:
        while True:
            delivery = next(self._deliveries)
            self._failures.add(delivery.failures)
            if delivery.error is not None:
                error, delivery.error = delivery.error, None  # its traceback may refer to it
                raise BatchFailed(error)
            if not delivery.dropped:
                self._progress.arrived(delivery.number)
                return delivery.batch
            self._progress.without(delivery.number)


class Epoch(Closable, Iterator[Any]):
    """Iterator over a loader's batches.

    After an error of the dataset the next batch can be asked for, as with torch's iterators.
    Dropping it is closing it: what made its batches has ended then.

    Args:
        loader: whose epoch it is.
        batches: what the user gets, where the user wants it.
        deliveries: what they are made of. Closed after any error that is raised on the way: a
            traceback that somebody keeps would keep the workers.
        progress: told of each batch that the user gets.
        meter: measures.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        batches: Iterator[Any],
        deliveries: Deliveries,
        progress: Progress,
        meter: Meter,
    ) -> None:
        self._loader = loader
        self._batches = batches
        self._deliveries = deliveries
        self._progress = progress
        self._meter = meter
        self._told_length = told_length(loader)

    def __next__(self) -> Any:
        try:
            batch = self._taken()
        except BatchFailed as failed:
            errors = failed.errors  # the exception itself would be a cycle through its traceback
        else:
            self._progress.given()
            self._check_length(self._meter.given())
            return batch
        del self  # the error's traceback is not to keep the workers alive
        raise errors.pop()  # here, where BatchFailed is not its context

    def __len__(self) -> int:
        return len(self._loader)

    def close(self) -> None:
        """Stop early: batches made ahead are dropped, and what made them has ended on return."""
        close_if_possible(self._batches)
        self._deliveries.close()

    def __del__(self) -> None:
        self.close()

    def _taken(self) -> Any:
        try:
            return self._meter.outer(self._batches, self._deliveries.ready)
        except StopIteration:
            self._progress.finished = True
            raise
        except BatchFailed:
            raise
        except BaseException as error:
            self.close()
            told = self._deliveries.explained(error) if isinstance(error, RuntimeError) else None
            if told is None:
                raise
            try:
                raise told from error
            finally:
                del told  # a cycle through its traceback, in which a batch could stay

    def _check_length(self, given: int) -> None:
        """Warn as torch does, when an iterable dataset goes on behind the length it told."""
        told, dataset = self._told_length, self._loader.dataset
        if told is None or given <= told or not isinstance(dataset, IterableDataset):
            return
        hint = "For multiprocessing data-loading, this is what a dataset does that gives all its "
        hint += "samples to each worker, not a share"
        warnings.warn(
            f"Length of IterableDataset {dataset} was reported to be {told} (when accessing "
            f"len(dataloader)), but {given} samples have been fetched. "
            + (hint if self._loader.num_workers > 0 else ""),
            stacklevel=3,
        )
