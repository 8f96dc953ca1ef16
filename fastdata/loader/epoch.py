"""One iteration over a loader, as its user sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..core import Closable
from .delivery import Failed
from .progress import Progress
from .stats import Meter


class Epoch(Closable, Iterator[Any]):
    """Iterator over a loader's batches.

    After an error of the dataset the next batch can be asked for, as with torch's iterators.

    Args:
        batches: where they come from.
        source: what they are made of; its ``close`` ends the workers. It is closed after any error
            that is raised on the way: a traceback that somebody keeps would keep it open.
        progress: told of each batch that the user gets.
        meter: measures.
        explain: the error to raise instead of a RuntimeError, where more is known about it.
        length: the loader's ``len``.
        check: called with the number of batches given, behind each of them.
    """

    def __init__(
        self,
        batches: Iterator[Any],
        source: Iterator[Any],
        progress: Progress,
        meter: Meter,
        explain: Callable[[RuntimeError], RuntimeError | None],
        length: Callable[[], int],
        check: Callable[[int], None],
    ) -> None:
        self._batches = batches
        self._source = source
        self._progress = progress
        self._meter = meter
        self._explain = explain
        self._length = length
        self._check = check

    def __next__(self) -> Any:
        batch = self._taken()
        if isinstance(batch, Failed):
            del self  # the error's traceback is not to keep the workers alive
            raise batch.errors.pop()
        self._progress.given()
        self._check(self._meter.given())
        return batch

    def _taken(self) -> Any:
        try:
            return self._meter.outer(self._batches)
        except StopIteration:
            self._progress.finished = True
            raise
        except BaseException as error:
            self.close()
            told = self._explain(error) if isinstance(error, RuntimeError) else None
            if told is None:
                raise
            try:
                raise told from error
            finally:
                del told  # a cycle through its traceback, in which a batch could stay

    def __len__(self) -> int:
        return self._length()

    def close(self) -> None:
        """Stop early: batches made ahead are dropped, and what made them has ended on return."""
        for iterator in (self._batches, self._source):
            getattr(iterator, "close", lambda: None)()
