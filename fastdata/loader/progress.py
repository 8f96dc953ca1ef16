"""How far an epoch has come, and how to begin one in the middle."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, NamedTuple

import torch
from torch.utils.data import BatchSampler, DistributedSampler, SequentialSampler

from ..core import Closable
from .delivery import Task
from .order.samplers import RankSampler, ShuffleSampler


class Randomness(NamedTuple):
    """States of the generator that a sampler draws from, at the beginning of an epoch.

    ``at_first`` is that of the moment when the first batch was asked for; ``at_iter``, when the
    sampler's ``iter`` was called, or None if it drew nothing then.
    """

    at_iter: str | None
    at_first: str


class Progress:
    """How many batches of an epoch the consumer has had.

    ``done`` batches from the first on, without a gap, and those numbered in ``ahead``, which
    exist only with ``in_order=False``. It began with batch ``first``. ``issued`` holds the indices
    of the batches that workers have, or have made, and ``random`` the state that the sampler's
    random draws began with.
    """

    def __init__(self, done: int = 0, ahead: Iterable[int] = ()) -> None:
        self.first = done
        self.done = done
        self.ahead = set(ahead)
        self.finished = False
        self.issued: dict[int, Any] = {}
        self.random: Randomness | None = None
        self._arrived: deque[int] = deque()

    def arrived(self, number: int) -> None:
        """Batch ``number`` has left the workers and will be given to the consumer."""
        self.issued.pop(number, None)
        self._arrived.append(number)

    def given(self) -> None:
        """The consumer has the batch that arrived first."""
        self.without(self._arrived.popleft())

    def without(self, number: int) -> None:
        """Batch ``number`` is over and done with."""
        self.issued.pop(number, None)
        self.ahead.add(number)
        while self.done in self.ahead:
            self.ahead.remove(self.done)
            self.done += 1


class Watcher(Closable):
    """Sees a batch's indices when it is handed out, long before it is used."""

    def see(self, indices: Any) -> None:
        """Look at the next batch's index or indices."""

    def close(self) -> None:
        """Forget them."""


class Indices:
    """The sampler's batches as tasks; what torch's iterators take for the loader's sampler.

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
        # Bound now, read later: torch's iterators begin twice, and read the second one only.
        progress = self.progress
        first, had = progress.done, set(progress.ahead)
        batches = self._begun(progress) if first == 0 and self.resumed is None else None
        return self._tasks(progress, first, had, batches)

    def _tasks(
        self, progress: Progress, first: int, had: set[int], batches: Iterator[Any] | None
    ) -> Iterator[Task]:
        rest = self._rest(first, progress) if batches is None else batches
        head = list(islice(rest, 1))  # now the sampler knows its epoch
        with self.watcher() as watcher:
            for number, indices in enumerate(chain(head, rest), first):
                if number not in had:
                    watcher.see(indices)
                    progress.issued[number] = indices
                    yield Task(number, indices)

    def _begun(self, progress: Progress) -> Iterator[Any]:
        """The sampler's batches from the first on; its ``iter`` is called here, as torch does."""
        if is_positioned(self.sampler) or is_deterministic(self.sampler):
            return iter(self.sampler)
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
            # Where nothing is skipped, this is what makes the sampler draw.
            head = list(islice(batches, 1))
        yield from head
        yield from batches


def inner_sampler(sampler: Any) -> Any:
    """The sampler of samples behind a plain batch sampler; any other is returned as it is."""
    return sampler.sampler if plain(sampler) else sampler


def plain(sampler: Any) -> bool:
    """Whether batches are consecutive runs of ``batch_size`` samples."""
    return type(sampler) is BatchSampler


def is_positioned(sampler: Any) -> bool:
    """Whether the sampler, or the one behind its batches, can begin anywhere by itself."""
    return isinstance(inner_sampler(sampler), (RankSampler, ShuffleSampler))


def is_deterministic(sampler: Any) -> bool:
    """Whether the epoch's number alone tells the order, so that no random state is kept."""
    return isinstance(inner_sampler(sampler), (SequentialSampler, DistributedSampler))


def random_source(sampler: Any) -> torch.Generator | None:
    """The generator that a sampler draws from; None for torch's global one."""
    found = getattr(inner_sampler(sampler), "generator", None)
    return found if isinstance(found, torch.Generator) else None


def random_state(generator: torch.Generator | None) -> str:
    """The state of a generator, or of the global one, as text."""
    state = torch.get_rng_state() if generator is None else generator.get_state()
    return base64.b85encode(state.numpy().tobytes()).decode("ascii")


def set_random_state(generator: torch.Generator | None, text: str) -> None:
    """Put back what ``random_state`` gave."""
    state = torch.frombuffer(bytearray(base64.b85decode(text)), dtype=torch.uint8)
    torch.set_rng_state(state) if generator is None else generator.set_state(state)


@contextmanager
def replaying(state: Randomness | None, generator: torch.Generator | None) -> Iterator[None]:
    """Within it a sampler may draw again; the global generator stays as the caller has it."""
    if state is None or generator is not None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        yield
