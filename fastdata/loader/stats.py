"""Measuring an epoch: the time of the loader, its workers and the training, by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TypeVar

from torch.profiler import record_function

from .delivery import Delivery

T = TypeVar("T")

_ENOUGH = 0.05


@dataclass(frozen=True, kw_only=True)
class LoaderStats:
    """Seconds of one epoch, by what they were spent on.

    ``total`` is the consumer's time from the first request to the end (or to now), and it is
    ``waiting`` (inside the loader) and ``step`` (in the user's code). Of the waiting,
    ``first_batch`` was for the first one, in which workers start. Counted another way, ``copying``
    of it was spent moving batches to the device and in ``batch_transform``, as far as the host
    takes part, and the rest was for batches that were not ready.

    The workers' time is summed over all of them: ``dataset`` is everything in the dataset's code,
    of which fastdata's own datasets tell ``reading`` and ``decoding`` (with cropping and resizing);
    ``collating`` comes on top.

    ``batches`` were delivered, ``batches_ahead`` is how many more were ready, on average, when one
    was asked for, and ``errors`` how many samples could not be read.

    Example:
        >>> loader = fastdata.DataLoaderX(fastdata.ImageFolder("photos", T.CenterCrop(32)), 4)
        >>> batches = list(loader)
        >>> stats = loader.stats()
        >>> stats.batches, stats.errors, 0 <= stats.waiting_share <= 1
        (2, 0, True)
        >>> print(stats)
        loading is ...
    """

    total: float = 0.0
    waiting: float = 0.0
    first_batch: float = 0.0
    step: float = 0.0
    copying: float = 0.0
    dataset: float = 0.0
    reading: float = 0.0
    decoding: float = 0.0
    collating: float = 0.0
    batches: int = 0
    batches_ahead: float = 0.0
    errors: int = 0

    @property
    def waiting_share(self) -> float:
        """The part of the time behind the first batch in which the consumer waited for the
        loader, 0 to 1."""
        total = self.total - self.first_batch
        return (self.waiting - self.first_batch) / total if total > 0 else 0.0

    @property
    def loading_is_bottleneck(self) -> bool:
        """True if faster loading would shorten a long epoch by more than a twentieth."""
        return self.waiting_share > _ENOUGH

    def scalars(self, prefix: str = "loader/") -> dict[str, float]:
        """The figures as a plain dict, ready for TensorBoard's ``add_scalar``."""
        figures = {**asdict(self), "waiting_share": self.waiting_share}
        return {prefix + name: float(value) for name, value in figures.items()}

    def __str__(self) -> str:
        answer = "the bottleneck" if self.loading_is_bottleneck else "not the bottleneck"
        work = f"reading {self.reading:.1f}, decoding {self.decoding:.1f}"
        errors = f"; {self.errors} samples could not be read" if self.errors else ""
        slow = self.first_batch > _ENOUGH * self.total
        hint = " (persistent_workers=True starts workers once)" if slow else ""
        behind = self.total - self.first_batch
        return (
            f"loading is {answer}: {self.waiting_share:.0%} of {behind:.1f} s "
            f"waiting for data, behind the first batch, which took {self.first_batch:.1f} s"
            f"{hint}; "
            f"{self.copying:.1f} s copying, {self.step:.1f} s in the step; {self.batches} batches, "
            f"{self.batches_ahead:.1f} ready when asked for; workers: dataset {self.dataset:.1f} s "
            f"({work}), collating {self.collating:.1f} s{errors}"
        )


class Meter:
    """Measures one epoch."""

    def __init__(self) -> None:
        self._seconds = {"dataset": 0.0, "reading": 0.0, "decoding": 0.0, "collating": 0.0}
        self._waiting = self._blocked = self._step = self._first = 0.0
        self._batches = self._ahead = self._errors = 0
        self._returned: float | None = None

    def outer(self, batches: Iterator[T], ready: int) -> T:
        """The next of the batches that the consumer gets, with the time that it took.

        ``ready`` more were there when it was asked for.
        """
        start, is_first = time.perf_counter(), self._returned is None
        if self._returned is not None:
            self._step += start - self._returned
        self._ahead += ready
        try:
            with record_function("fastdata.wait"):
                return next(batches)
        finally:
            self._returned = time.perf_counter()
            self._waiting += self._returned - start
            if is_first:
                self._first = self._waiting

    def given(self) -> int:
        """Count a batch that the consumer has got; how many that makes."""
        self._batches += 1
        return self._batches

    def inner(self, deliveries: Iterator[Delivery]) -> Iterator[Delivery]:
        """The workers' deliveries, with the time that was spent on waiting for them."""
        while True:
            start = time.perf_counter()
            try:
                delivery = next(deliveries, None)
            finally:
                self._blocked += time.perf_counter() - start
            if delivery is None:
                return
            self._errors += len(delivery.failures)
            for name, seconds in delivery.seconds.items():
                self._seconds[name] += seconds
            yield delivery
            del delivery  # else the batch would live until the next one is there

    def stats(self) -> LoaderStats:
        """The figures up to now."""
        asked = self._batches or 1
        return LoaderStats(
            total=self._waiting + self._step,
            waiting=self._waiting,
            first_batch=self._first,
            step=self._step,
            copying=max(0.0, self._waiting - self._blocked),
            batches=self._batches,
            batches_ahead=self._ahead / asked,
            errors=self._errors,
            **self._seconds,
        )
