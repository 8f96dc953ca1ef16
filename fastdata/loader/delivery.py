"""What goes to a loader's worker for each batch, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

from torch.utils.data import get_worker_info


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
    """

    source: str
    key: str
    index: int
    reason: str
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
        from torch.utils.data._utils.pin_memory import pin_memory

        self.batch = pin_memory(self.batch)  # type: ignore[no-untyped-call]
        return self


class Failed:
    """Stands for a batch where an error is to be raised when its turn comes."""

    def __init__(self, error: Exception) -> None:
        self.errors = [error]  # taken out when it is raised: its traceback refers to this object


class _Sealed:
    """A pickled object that is itself again when it has been pickled, sent and unpickled."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return ForkingPickler.loads, (self._data,)
