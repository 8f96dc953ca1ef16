"""Worker threads that make whole batches, in order, ahead of the consumer."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from ...core import Closable

_SECONDS_TO_END = 2.0


class ThreadBatches(Closable, Iterator[Any]):
    """Batches made by threads of this process.

    Args:
        make: makes one batch from what ``indices`` yields; called in the threads.
        indices: the sampler's batches of indices; read in the thread that calls ``next``.
        threads: number of threads.
        ahead: how many batches may exist or be in the making before the consumer has taken them.
        timeout: seconds to wait for a batch; 0 waits for ever.
        start: called in each thread with its number before it makes anything.

    An error of the sampler, of ``start`` or of ``make`` is raised by ``next``, with its own type,
    after the batches before it. ``close`` waits for the batches in the making, but no longer than
    two seconds: a thread that is stuck in a read cannot be ended, and goes when the read returns.
    Dropping the object waits for nothing.
    """

    def __init__(
        self,
        make: Callable[[Any], Any],
        indices: Iterator[Any],
        *,
        threads: int,
        ahead: int,
        timeout: float = 0,
        start: Callable[[int], None] | None = None,
    ) -> None:
        self._make = make if start is None else _Starting(make, start)
        self._indices = indices
        self._ahead = ahead
        self._timeout = timeout
        self._pending: deque[Future[Any]] = deque()
        self._stuck: set[Future[Any]] = set()
        self._pool = ThreadPoolExecutor(threads, "fastdata-worker")
        finalizer = weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)
        finalizer.atexit = False  # the pool has its own way to end there
        self._fill()

    def __next__(self) -> Any:
        if not self._pending:
            self.close()
            raise StopIteration
        future = self._pending[0]
        try:
            wait([future], self._timeout or None)
            if not future.done():
                raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
            batch = future.result()
        except BaseException:
            self.close()
            raise
        self._pending.popleft()
        self._fill()
        return batch

    @property
    def ready(self) -> int:
        """How many batches are made and not yet taken."""
        return sum(future.done() for future in list(self._pending))

    def close(self) -> None:
        """Give up the batches ahead, and wait until the threads have ended."""
        self._indices = iter(())
        self._pool.shutdown(wait=False, cancel_futures=True)
        running = [future for future in self._pending if not future.cancelled()]
        self._pending.clear()
        if not self._stuck:
            self._stuck = wait(running, _SECONDS_TO_END).not_done
        if not self._stuck:
            self._pool.shutdown(wait=True)

    def _fill(self) -> None:
        while len(self._pending) < self._ahead:
            try:
                index = next(self._indices)
            except StopIteration:
                return
            except Exception as error:
                self._indices = iter(())
                self._pending.append(_failed(error))
                return
            self._pending.append(self._pool.submit(self._make, index))


class _Starting:
    """Calls ``start`` once in each thread, before the thread makes its first batch."""

    def __init__(self, make: Callable[[Any], Any], start: Callable[[int], None]) -> None:
        self._make = make
        self._start = start
        self._numbers = itertools.count()
        self._started: set[int] = set()

    def __call__(self, index: Any) -> Any:
        thread = threading.get_ident()
        if thread not in self._started:
            self._started.add(thread)
            self._start(next(self._numbers))
        return self._make(index)


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
