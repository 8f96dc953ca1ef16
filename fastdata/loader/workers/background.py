"""Compute the items of an iterable ahead, in a background thread that can be stopped.

The thread is a ``prefetch_generator.BackgroundGenerator`` (1.0.3). On its own that class leaks its
thread when the consumer stops early, never runs the source's clean-up, and ends silently when the
source raises a ``BaseException``. ``BackgroundIterator`` gives it a source that can do none of
these: every item needs a permit from the consumer, and every exception travels as a value.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from prefetch_generator import BackgroundGenerator

from ...core import Closable, close_if_possible
from ...errors import OptionError

T = TypeVar("T")

_SECONDS_AT_EXIT = 5.0


class BackgroundIterator(Closable, Iterator[T]):
    """An iterator whose items are made ahead, by a daemon thread of its own.

    Items arrive in the source's order, each exactly as the source made it (an exception or a tuple
    that the source yields is an item like any other). At most ``max_prefetch`` items are ahead of
    the consumer at any moment, the one being made included. The thread starts in the constructor,
    so that the first item is being made while the caller is still busy with something else.

    ``iter(source)`` runs in the calling thread: what it draws from random generators, and the
    processes it starts, must not depend on thread timing. From then on the background thread owns
    the source's iterator: it calls ``next``, and finally ``close()`` if there is one, exactly once,
    whether the iterator was exhausted, raised or was stopped. A generator's ``finally`` thus runs
    in that thread too.

    Every exception of the source, ``KeyboardInterrupt``, ``SystemExit`` and ``GeneratorExit``
    included, is raised by ``next()`` after the items before it: the same object, with its original
    traceback. From then on, as after the last item, the iterator is exhausted and its thread gone.

    Call ``close()``, or use ``with``, to stop early. An iterator that is dropped without it also
    ends its thread at the next item boundary, but nobody waits for that, and nobody sees an error
    of the source's clean-up. At interpreter exit the threads still running are stopped and waited
    for, a few seconds at most. Any thread may call ``next()`` and ``close()``, except that the
    source itself must not call ``next()``.

    The thread does not survive a fork: in a child process ``next()`` raises ``RuntimeError`` and
    ``close()`` does nothing.

    Args:
        source: the iterable to read.
        max_prefetch: how many items may be ahead of the consumer, at least 1.
        name: the thread's name.
        interrupt: called when the thread is told to stop, to let a source end that waits for its
            next item. It must be quick and take no lock: a garbage collection may call it.

    Raises:
        OptionError: ``max_prefetch`` is below 1.
    """

    def __init__(
        self,
        source: Iterable[T],
        max_prefetch: int = 2,
        name: str = "fastdata-background",
        interrupt: Callable[[], None] | None = None,
    ) -> None:
        if max_prefetch < 1:
            raise OptionError(
                f"max_prefetch must be at least 1, found {max_prefetch}; "
                "to make no item ahead, iterate over the source itself"
            )
        self._pid = os.getpid()
        self._ended = False
        self._gate = _Gate(max_prefetch, interrupt)
        # The gate limits what is ahead, so the queue is unbounded (0) and never blocks the thread.
        self._thread = BackgroundGenerator(_Parcels(iter(source), self._gate), max_prefetch=0)
        self._thread.name = name
        weakref.finalize(self, self._gate.stop).atexit = False
        _running.add(self)

    @property
    def thread(self) -> threading.Thread:
        """The thread that makes the items."""
        thread: threading.Thread = self._thread
        return thread

    @property
    def ready(self) -> int:
        """How many items are made and not yet taken."""
        return 0 if self._ended else int(self._thread.queue.qsize())

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        self._check_process()
        try:
            parcel: _Parcel[T] = next(self._thread)
        except StopIteration:
            self._finish()
            raise
        if parcel.errors:
            self._finish()
            raise parcel.errors.pop()  # a local name would be a cycle through the traceback
        self._gate.admit()
        return parcel.items.pop()

    def close(self) -> None:
        """Stop the thread at the next item boundary, wait for it, and drop the items made ahead.

        Idempotent. An error that the source raised ahead of the consumer is dropped like those
        items; an error that the source raises while it is being closed is raised here. When the
        source itself calls this, it only asks the thread to stop.
        """
        if os.getpid() != self._pid:
            return
        self._ended = True
        self._gate.stop()
        if threading.current_thread() is self._thread:
            return
        self._finish()
        last = self._discard()
        errors = [] if last is None else last.errors
        if errors and self._gate.stop_seen:
            raise errors.pop()
        errors.clear()  # an error's frames refer to the parcel: they would live until a collection

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"this BackgroundIterator belongs to process {self._pid}; its thread does not "
                f"exist in the forked process {os.getpid()}. Create the iterator in the process "
                "that reads it"
            )

    def _finish(self) -> None:
        """Wait for the thread, and leave its end mark in the queue for any other consumer."""
        self._ended = True
        self._thread.join()
        self._thread.queue.put((False, StopIteration))

    def _discard(self) -> _Parcel[T] | None:
        """Empty the queue of a finished thread; return the last parcel if there was one."""
        parcel: _Parcel[T] | None = None
        with suppress(Empty):
            while True:
                is_parcel, content = self._thread.queue.get_nowait()
                parcel = content if is_parcel else parcel
        self._thread.queue.put((False, StopIteration))
        return parcel


class AheadFromSecond(Closable, Iterator[T]):
    """An iterator whose first item is made by the caller, and the others ahead, by a thread.

    For sources whose samplers draw from torch's global generator: they do so when they are asked
    for their first batch, which must not depend on a thread's timing. With the first item, the
    thread begins: see ``BackgroundIterator`` for it, for ``max_prefetch`` and ``name``.
    """

    def __init__(
        self, source: Iterator[T], max_prefetch: int, name: str = "fastdata-background"
    ) -> None:
        self._source = source
        self._max_prefetch = max_prefetch
        self._name = name
        self._others: BackgroundIterator[T] | None = None

    def __next__(self) -> T:
        if self._others is not None:
            return next(self._others)
        first = next(self._source)
        self._others = BackgroundIterator(self._source, self._max_prefetch, self._name)
        return first

    @property
    def ready(self) -> int:
        """How many items are made and not yet taken."""
        return 0 if self._others is None else self._others.ready

    def close(self) -> None:
        """Stop early, as ``BackgroundIterator.close`` does."""
        close_if_possible(self._source if self._others is None else self._others)


class _Gate:
    """The consumer's permits to make items, and its order to stop.

    ``SimpleQueue.put`` is re-entrant, unlike anything built on a ``Condition``: a garbage
    collection may call ``stop`` in the very thread that is inside ``wait``.
    """

    def __init__(self, permits: int, interrupt: Callable[[], None] | None) -> None:
        self._permits: SimpleQueue[None] = SimpleQueue()
        self._interrupt = interrupt
        self._stopped = False
        self.stop_seen = False
        for _ in range(permits):
            self.admit()

    def wait(self) -> bool:
        """Wait for a permit; False if the consumer wants no more."""
        self._permits.get()
        self.stop_seen = self._stopped
        return not self.stop_seen

    def admit(self) -> None:
        self._permits.put(None)

    def stop(self) -> None:
        self._stopped = True
        if self._interrupt is not None:
            self._interrupt()
        self.admit()


class _Parcel(Generic[T]):
    """One item or one error on its way to the consumer, emptied on arrival.

    The thread's loop variable keeps the parcel until the next one is made; it must not keep a whole
    batch with it.
    """

    __slots__ = ("errors", "items")

    def __init__(self, items: list[T], errors: list[BaseException]) -> None:
        self.items = items
        self.errors = errors


class _Parcels(Iterator[_Parcel[T]]):
    """Source of the thread: it never raises, so that nothing is left to BackgroundGenerator.

    Refers to the source and the gate, never to the ``BackgroundIterator``: else the thread would
    keep alive the very object whose end it waits for.
    """

    def __init__(self, iterator: Iterator[T], gate: _Gate) -> None:
        self._items = _permitted(iterator, gate)

    def __next__(self) -> _Parcel[T]:
        try:
            return _Parcel([next(self._items)], [])
        except StopIteration:
            raise
        except BaseException as error:
            return _Parcel([], [error])


def _permitted(iterator: Iterator[T], gate: _Gate) -> Generator[T, None, None]:
    """Yield an item for each permit, and close the iterator whatever ends it."""
    try:
        while gate.wait():
            try:
                yield next(iterator)
            except StopIteration:
                return
    finally:
        close_if_possible(iterator)


_running: weakref.WeakSet[BackgroundIterator[Any]] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """Stop every thread in time: one that the exit kills inside C++ code can abort the process."""
    iterators = list(_running)
    for iterator in iterators:
        iterator._gate.stop()
    deadline = time.monotonic() + _SECONDS_AT_EXIT
    for iterator in iterators:
        iterator._thread.join(max(0.0, deadline - time.monotonic()))
