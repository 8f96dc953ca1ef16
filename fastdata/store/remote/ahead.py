"""The next shards, downloaded while the current one is read."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from ...core import Closable
from ...errors import OptionError
from .cache import ShardCache
from .pin import Pin
from .place import Cancelled, Place

_SECONDS_TO_END = 2.0


class Entry(Protocol):
    """A shard: its name, size in bytes, and SHA-256 in hex."""

    @property
    def file(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def sha256(self) -> str: ...


class Prefetcher(Closable):
    """Opens the shards of a place through a cache, and downloads the next ones ahead.

    What has been downloaded ahead stays in the cache until it is opened here, or ``close``: no
    process evicts it. So that this stands in nobody's way, the files in use, of all processes
    together, take at most half of the cache's limit; where there is no room for a shard ahead, it
    is downloaded when it is opened. An error of a download is raised when that shard is opened;
    opening it once more is another attempt.

    Threads are started with the first shard, and end with ``close``, with the last reference to the
    object, or at the interpreter's exit, each in the middle of a download. ``close`` waits for them
    for two seconds at most: a thread that waits for a silent server ends when its request does.
    Any thread may open shards. In a forked child the object is of no use: make another there.

    Args:
        cache: where the files are kept.
        place: where they come from. Nothing is done ahead for a local one.
        entries: the shards of the place, by number.
        order: numbers of shards in the order in which they will first be opened; an iterator is
            read only as far as shards are asked for. It is no promise: any may be opened any time.
        ahead: how many shards that are not yet opened may be downloaded; 0 for none.
        threads: how many are downloaded at the same time.

    Raises:
        OptionError: a number is out of its range.
    """

    def __init__(
        self,
        cache: ShardCache,
        place: Place,
        entries: Sequence[Entry],
        order: Iterable[int],
        *,
        ahead: int = 2,
        threads: int = 2,
    ) -> None:
        if ahead < 0 or threads < 1:
            raise OptionError(
                f"expected ahead of at least 0 and threads of at least 1, found {ahead}, {threads}"
            )
        self._pid = os.getpid()
        self._entries = entries
        self._order = iter(order)
        self._ahead = ahead
        self._waiting: dict[int, Future[Pin | None]] = {}
        self._lock = threading.Lock()
        self._crew = _Crew(cache, place, min(threads, max(ahead, 1)))
        weakref.finalize(self, self._crew.stop).atexit = False
        with self._lock:
            self._fill()

    @contextmanager
    def open(self, number: int) -> Iterator[Path]:
        """A shard's file; see ``ShardCache.open``, also for what is raised.

        Raises:
            OptionError: there is no shard of that number.
            RuntimeError: this is a forked child.
        """
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"this Prefetcher belongs to process {self._pid}, and its threads do not exist in "
                f"the forked process {os.getpid()}: make one there"
            )
        entry = self._entry(number)
        with self._lock:
            future = self._waiting.pop(number, None)
            self._fill()
        with self._held(future) or self._crew.hold(entry) as pin:
            yield pin.path

    def release(self, number: int) -> None:
        """Let go of a shard that is not going to be opened here; the next one takes its turn."""
        with self._lock:
            future = self._waiting.pop(number, None)
            self._fill()
        if future is not None:
            _give_up(future)

    def close(self) -> None:
        """Give up what is being downloaded, and let go of what is not yet opened."""
        if os.getpid() != self._pid:
            return
        self._crew.stop()
        with self._lock:
            self._order = iter(())
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            _give_up(future)
        self._crew.join(_SECONDS_TO_END)

    def _fill(self) -> None:
        while len(self._waiting) < self._ahead:
            number = next(self._order, None)
            if number is None:
                return
            if number not in self._waiting:
                self._waiting[number] = self._crew.submit(self._entry(number))

    def _held(self, future: Future[Pin | None] | None) -> Pin | None:
        # A download that has not begun would wait for those before it: better done at once.
        if future is None or future.cancel():
            return None
        try:
            return future.result()
        except Cancelled:  # closed meanwhile
            return None

    def _entry(self, number: int) -> Entry:
        if not 0 <= number < len(self._entries):
            raise OptionError(f"there is no shard {number}: expected 0 to {len(self._entries) - 1}")
        return self._entries[number]


_Job = tuple[Entry, "Future[Pin | None]"]


class _Crew:
    """The threads. They refer to this alone, so that a dropped Prefetcher can end them."""

    def __init__(self, cache: ShardCache, place: Place, threads: int) -> None:
        self._cache = cache
        self._place = place
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()  # its put is safe in a finalizer
        self._most = threads
        self._stopped = False
        self.threads: list[threading.Thread] = []

    def hold(self, entry: Entry) -> Pin:
        """A shard that is needed now."""
        return self._cache.hold(self._place, entry.file, entry.bytes, entry.sha256)

    def submit(self, entry: Entry) -> Future[Pin | None]:
        """A shard that will be needed."""
        future: Future[Pin | None] = Future()
        self._jobs.put((entry, future))
        if len(self.threads) < self._most and not self._stopped:
            self._start()
        return future

    def stop(self) -> None:
        """Tell the threads to end; takes no lock, since a garbage collection may call it."""
        self._stopped = True
        for _ in range(self._most):
            self._jobs.put(None)

    def join(self, seconds: float) -> None:
        """Wait for them."""
        end = time.monotonic() + seconds
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))

    def _start(self) -> None:
        # A daemon: the interpreter would wait without end for a silent server.
        thread = threading.Thread(target=self._work, name="fastdata-shards", daemon=True)
        self.threads.append(thread)
        _crews.add(self)
        # Last registered, first called: before fsspec closes the connections at the exit, after
        # which a download may wait for ever.
        atexit.unregister(_stop_all)
        atexit.register(_stop_all)
        thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(*job)
            del job  # else a thread that waits would keep it

    def _do(self, entry: Entry, future: Future[Pin | None]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            shard = (entry.file, entry.bytes, entry.sha256)
            pin = self._cache.hold_ahead(self._place, *shard, lambda: self._stopped)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(pin)


def _give_up(future: Future[Pin | None]) -> None:
    future.cancel()
    future.add_done_callback(_let_go)


def _let_go(future: Future[Pin | None]) -> None:
    if not future.cancelled() and future.exception() is None and (pin := future.result()):
        pin.close()


_crews: weakref.WeakSet[_Crew] = weakref.WeakSet()


def _stop_all() -> None:
    """End all threads in time: the exit would kill them wherever they are, inside C code too."""
    crews = list(_crews)
    for crew in crews:
        crew.stop()
    end = time.monotonic() + _SECONDS_TO_END
    for crew in crews:
        crew.join(end - time.monotonic())
