"""A batch to make, and a batch that was made, with what its worker has to tell about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

from torch.utils.data import get_worker_info

from ..core import Closable, close_if_possible
from .torch_private.names import pinned


class Task(NamedTuple):
    """One batch to make: its number in the epoch and the sampler's indices (or one index)."""

    number: int
    indices: Any


@dataclass(frozen=True, slots=True)
class SampleFailure:
    """A sample that could not be read.

    ``source`` is the pack or folder (or the type of another dataset), ``key`` the sample's name
    there, ``index`` its index in the loader's dataset, ``reason`` the error's type and message,
    ``epoch`` the one in which it was met first, and ``times`` how often it was met since.

    Example:
        >>> failure = fastdata.SampleFailure("photos", "dog/1.jpg", 4, "DecodeError: no image")
        >>> failure.key, failure.times
        ('dog/1.jpg', 1)
    """

    source: str
    key: str
    index: int
    reason: str
    _: KW_ONLY
    epoch: int = 0
    times: int = 1


@dataclass(slots=True)
class Delivery:
    """One batch on its way from a worker, and what the worker has to tell about it.

    ``dropped`` says that there is no batch, because none of its samples could be read; ``error``
    is to be raised instead of giving the batch.
    ``seconds`` is the worker's time by name: ``dataset`` (all of it, with ``reading`` and
    ``decoding`` in it where the dataset is fastdata's) and ``collating``.
    """

    batch: Any = None
    number: int = -1
    _: KW_ONLY
    dropped: bool = False
    error: Exception | None = None
    failures: list[SampleFailure] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def sealed(self) -> Delivery:
        """In a worker process: the delivery with its batch pickled already.

        A queue pickles what it is given in a thread of its own, where an error is only printed:
        the loader would wait for ever for a batch that cannot be pickled (pytorch#142884). Here it
        is raised like any error of the dataset.
        """
        if get_worker_info() is not None:
            self.batch = _Sealed(bytes(ForkingPickler.dumps(self.batch)))
        return self

    def pin_memory(self) -> Delivery:
        """Called by torch where it pins batches."""
        self.batch = pinned(self.batch)
        return self


class BatchFailed(Exception):
    """Raised in the turn of a batch that failed; behind it, the next one can be asked for.

    Attributes:
        errors: the one that the user is to get. It is taken out when it is raised, since its
            traceback may refer to whatever refers to this exception.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.errors = [error]


class Deliveries(Closable, Iterator[Delivery]):
    """The deliveries of one iteration over a loader, in the order in which they are to be given.

    An error of one batch is a delivery; one that is raised ends the iteration.

    Args:
        source: makes them. ``close`` closes it, and thereby ends the workers that need not persist;
            it does so itself at its end, and where it raises.
    """

    def __init__(self, source: Iterator[Delivery]) -> None:
        self._source = source

    def __next__(self) -> Delivery:
        return next(self._source)

    @property
    def ready(self) -> int:
        """How many are there that nobody has asked for yet."""
        return int(getattr(self._source, "ready", 0))

    def explained(self, error: RuntimeError) -> RuntimeError | None:
        """A better error than one that was raised, now that all is closed; None: it is good."""
        return None

    def close(self) -> None:
        """Stop early, and wait until nothing makes deliveries any more."""
        close_if_possible(self._source)


class _Sealed:
    """A pickled object that is itself again when it has been pickled, sent and unpickled."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return ForkingPickler.loads, (self._data,)
