"""The tasks of an epoch, from its first batch on or from one in its middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

from torch.utils.data import BatchSampler, SequentialSampler

from ..core import Closable
from .delivery import Task
from .order.replay import (
    Randomness,
    inner_sampler,
    is_deterministic,
    is_positioned,
    random_source,
    random_state,
    replaying,
    set_random_state,
)
from .progress import Progress


class Watcher(Closable):
    """Sees a batch's indices when it is handed out, long before it is used."""

    def see(self, indices: Any) -> None:
        """Look at the next batch's index or indices."""

    def close(self) -> None:
        """Forget them."""


class Tasks:
    """The sampler's batches as tasks; torch's iterators take it for the loader's sampler.

    Args:
        sampler: the loader's batch sampler, or its sampler where batches are not collated.

    Attributes:
        progress: of the epoch that the next ``iter`` begins; set before it.
        resumed: random state that the next epoch's sampler is to draw from.
        watcher: called when an epoch has begun; what it makes is closed when all is handed out.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler
        self.progress = Progress()
        self.resumed: Randomness | None = None
        self.watcher: Callable[[], Watcher] = Watcher

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Task]:
        # torch's iterators over processes begin twice, and read the second one only. So whatever
        # belongs to the epoch is looked up now; but of what a resumed epoch uses up, such as the
        # random state, nothing before the first task is asked for.
        progress = self.progress
        first, had = progress.done, set(progress.ahead)
        batches = self._begun(progress) if first == 0 and self.resumed is None else None
        return self._tasks(progress, first, had, batches)

    def _tasks(
        self, progress: Progress, first: int, had: set[int], batches: Iterator[Any] | None
    ) -> Iterator[Task]:
        rest = self._rest(first, progress) if batches is None else batches
        # The watcher reads the order of this epoch ahead. A sampler may learn which epoch it is
        # as late as when it is asked for its first batch.
        head = list(islice(rest, 1))
        with self.watcher() as watcher:
            for number, indices in enumerate(chain(head, rest), first):
                if number not in had:
                    watcher.see(indices)
                    # Before it is handed out: from then on a worker may die over it.
                    progress.issued[number] = indices
                    yield Task(number, indices)

    def _begun(self, progress: Progress) -> Iterator[Any]:
        """The sampler's batches from the first on; its ``iter`` is called here, as torch does."""
        if is_positioned(self.sampler) or is_deterministic(self.sampler):
            return iter(self.sampler)
        # Samplers draw when ``iter`` is called, or when the first batch is asked for, or both; so
        # both states are kept, and the first one only if it makes a difference.
        generator = random_source(self.sampler)
        before = random_state(generator)
        batches = iter(self.sampler)
        drawn = random_state(generator) != before
        return self._noted(batches, progress, before if drawn else None)

    def _noted(
        self, batches: Iterator[Any], progress: Progress, before: str | None
    ) -> Iterator[Any]:
        progress.random = Randomness(before, random_state(random_source(self.sampler)))
        yield from batches

    def _rest(self, first: int, progress: Progress) -> Iterator[Any]:
        """The sampler's batches from number ``first`` on, in an epoch that had begun before."""
        inner = inner_sampler(self.sampler)
        if is_positioned(self.sampler):
            return iter(self.sampler)  # ``restored`` has told it where to begin
        if type(inner) is SequentialSampler:
            if inner is self.sampler:
                return iter(range(first, len(inner)))
            size = self.sampler.batch_size
            rest = range(first * size, len(inner))
            return iter(BatchSampler(rest, size, self.sampler.drop_last))
        return self._replayed(first, progress)

    def _replayed(self, first: int, progress: Progress) -> Iterator[Any]:
        """The same, of a sampler that has to be asked for all batches before."""
        resumed, self.resumed = self.resumed, None
        progress.random = resumed
        generator = random_source(self.sampler)
        with replaying(resumed, generator):
            if resumed is not None and resumed.at_iter is not None:
                set_random_state(generator, resumed.at_iter)
            batches = iter(self.sampler)
            if resumed is not None:
                set_random_state(generator, resumed.at_first)
            for _ in range(first):
                next(batches, None)
            # Where nothing is skipped, this is what makes the sampler draw. Draws that come later
            # still are not replayed: the global generator is the training's again.
            head = list(islice(batches, 1))
        yield from head
        yield from batches
