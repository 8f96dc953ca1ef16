"""Maker of batches, in whichever worker: reads the samples, deals with bad ones, collates."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from operator import index as as_int
from typing import Any

from torch.utils.data import ConcatDataset, Subset, default_collate

from ...datasets import ImageDataset, collate, timed
from ...errors import OptionError, SampleError
from ..delivery import Delivery, SampleFailure, Task

_MOST_SUBSTITUTES = 32


class BatchMaker:
    """Makes the batches of a map-style dataset.

    torch's workers take it for a dataset whose samples are whole deliveries: they call
    ``__getitems__`` or ``__getitem__`` with a ``Task``.

    Args:
        dataset: the user's dataset.
        collate_fn: the user's; torch's own default is replaced by one that copies less.
        batched: whether a task has a list of indices, not one.
        on_error: "raise", "skip" or "substitute"; see ``DataLoaderX``.
    """

    def __init__(
        self, dataset: Any, collate_fn: Callable[[Any], Any], batched: bool, on_error: str
    ) -> None:
        self.dataset = dataset
        self.collate_fn = collate if collate_fn is default_collate else collate_fn
        self.batched = batched
        self.on_error = on_error

    def __call__(self, task: Task) -> Delivery:
        """The batch of ``task``; errors keep their type."""
        delivery = Delivery(number=task.number)
        indices = task.indices if self.batched else [task.indices]
        with timed(delivery.seconds):
            if self.on_error == "raise":
                samples = self._read(indices)
            else:
                samples = self._read_good(list(indices), delivery.failures)
        delivery.dropped = not samples and self.on_error != "raise"
        if not delivery.dropped:
            start = time.perf_counter()
            delivery.batch = self.collate_fn(samples if self.batched else samples[0])
            delivery.seconds["collating"] = time.perf_counter() - start
        return delivery.sealed()

    __getitem__ = __getitems__ = __call__

    def _read(self, indices: Any) -> Any:
        if self.batched and getattr(self.dataset, "__getitems__", None):
            return self.dataset.__getitems__(indices)
        return [self.dataset[index] for index in indices]

    def _read_good(self, indices: list[Any], failures: list[SampleFailure]) -> Any:
        """The samples that can be read, with others in place of the bad if that was asked for."""
        known: dict[Any, SampleFailure | None] = {}
        while indices:
            try:
                return self._read(indices)
            except Exception:
                found = {i: known[i] if i in known else self._tried(i) for i in indices}
                if not any(found[i] for i in indices):
                    raise  # each sample can be read alone: then it is no sample's fault
                new = [failure for i, failure in found.items() if failure and i not in known]
                failures += new
                known.update(found)
                indices = self._others(indices, known, failures)
        return []

    def _tried(self, index: Any) -> SampleFailure | None:
        try:
            self.dataset[index]
        except Exception as error:
            source, key = name_of(self.dataset, index)
            reason = f"{type(error).__name__}: {error}"
            return SampleFailure(source, key, _number(index), reason)
        return None

    def _others(
        self,
        indices: list[Any],
        known: dict[Any, SampleFailure | None],
        failures: list[SampleFailure],
    ) -> list[Any]:
        if self.on_error == "skip":
            return [i for i in indices if not known[i]]
        return [self._substitute(i, known, failures) for i in indices]

    def _substitute(
        self, index: Any, known: dict[Any, SampleFailure | None], failures: list[SampleFailure]
    ) -> Any:
        """The next sample of the dataset that can be read: in a folder mostly of the same class."""
        found = index
        for _ in range(_MOST_SUBSTITUTES):
            failure = known[found]
            if failure is None:
                return found
            found = (_number(found) + 1) % len(self.dataset)
            if found not in known:
                known[found] = self._tried(found)
                failures += [f for f in [known[found]] if f]
        raise SampleError(
            f"on_error='substitute': sample {index!r} and the {_MOST_SUBSTITUTES - 1} after it "
            f"cannot be read; the last one said: {failures[-1].reason}"
        )


def name_of(dataset: Any, index: Any) -> tuple[str, str]:
    """The origin of sample ``index`` and its name there, through torch's wrappers."""
    if isinstance(dataset, Subset):
        return name_of(dataset.dataset, dataset.indices[index])
    if isinstance(dataset, ConcatDataset):
        i = range(len(dataset))[index]
        part = bisect_right(dataset.cumulative_sizes, i)
        before = dataset.cumulative_sizes[part - 1] if part else 0
        return name_of(dataset.datasets[part], i - before)
    if isinstance(dataset, ImageDataset):
        return dataset.root, dataset.key_of(index)
    return type(dataset).__name__, repr(index)


def describe(dataset: Any, indices: Any) -> str:
    """A few words on the samples of a batch, for a message."""
    listed = list(indices) if isinstance(indices, (list, tuple)) else [indices]
    names = []
    for index in listed[:3]:
        try:
            source, key = name_of(dataset, index)
            names.append(f"sample {index!r} ({key} of {source})")
        except Exception:  # the index itself may be what is wrong
            names.append(f"sample {index!r}")
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(names) + more


def _number(index: Any) -> int:
    try:
        return as_int(index)
    except TypeError as error:
        raise OptionError(
            f"on_error needs samples that are known by integers, but the sampler gave {index!r}"
        ) from error
