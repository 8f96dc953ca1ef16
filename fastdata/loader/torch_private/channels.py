"""Pipes between a loader and its worker processes that a killed worker cannot block.

torch's iterator has one queue for the results of all workers. A worker killed while it writes
leaves half a message there, or a lock that nobody releases, and the reader waits for ever, since
its own process keeps the pipe open. Here each worker has a pipe of its own, which ends with it:
that is seen at once, after its last whole message, and nobody ever waits for the rest of one.
"""

from __future__ import annotations

import os
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import util
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from queue import Empty
from typing import Any

_CHUNK = 1 << 16  # what a pipe holds
_POLL_SECONDS = 0.1


class WorkerContext:
    """A ``multiprocessing`` context for one of torch's iterators, with other queues.

    The iterator asks first for its queue of results, then, for each worker, for a queue of indices
    and a process.

    Attributes:
        results: from all the workers.
        flag: tells the workers that they are to end.
        processes: all that were made; one may not have started.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self.results = Results()
        self._asked = False
        self._index_queues: list[Any] = []
        self._of_workers: list[Any] = []
        self.flag = Flag(context)
        self.processes: list[Any] = []
        # torch's iterator ends its workers when a garbage collection finds it in a cycle. What it
        # needs for that must not be in the cycle, too, or it would be closed before.
        _in_use.add(self)
        util.get_temp_dir()  # inherited: sockets in it of killed workers go at this process's exit

    def Queue(self) -> Any:
        """The queue of results at the first call, then a worker's queue of indices."""
        self.settle()
        if not self._asked:
            self._asked = True
            return self.results
        self._index_queues.append(self._pipe())
        return self._index_queues[-1]

    def Event(self) -> Flag:
        """The order to end."""
        return self.flag

    def Process(self, target: Callable[..., None], args: tuple[Any, ...]) -> Any:
        """A worker, not yet started, that sends into a pipe of its own."""
        outbox = self._pipe()
        indices = self._index_queues[-1]  # the queue asked for right before
        own = tuple(outbox if arg is self.results else arg for arg in args)
        process = self._context.Process(target=_work, args=(target, own, indices, outbox))
        # Open until the worker has started, which duplicates them; and no longer, or neither side
        # would see the end of a pipe when the other side is gone.
        self._of_workers += [indices._reader, outbox._writer]
        self.processes.append(process)
        self.results.add(outbox)
        return process

    def settle(self) -> None:
        """Close this process's copies of the ends that the workers started so far have."""
        while self._of_workers:
            self._of_workers.pop().close()

    def close(self) -> None:
        """Close everything, when the workers have ended."""
        self.settle()
        for queue in self._index_queues:
            _close(queue)
        self.results.close()
        self.flag.close()
        _in_use.discard(self)

    def _pipe(self) -> Any:
        queue = self._context.Queue()
        queue._ignore_epipe = True  # else its thread prints a traceback when the other end is gone
        return queue


_in_use: set[WorkerContext] = set()


class Results:
    """Queue of what the workers send, read as torch's iterator and its pinning thread do.

    Attributes:
        broken: a message may have been torn by an interrupt (one reads in the main thread).
    """

    def __init__(self) -> None:
        self._queues: list[Any] = []
        self._inboxes: dict[int, _Inbox] = {}
        self._messages: deque[tuple[int, bytes | None]] = deque()
        self.broken = False

    def add(self, queue: Any) -> None:
        """Read this worker's pipe, too."""
        inbox = _Inbox(len(self._queues), queue._reader.fileno())
        self._queues.append(queue)
        self._inboxes[inbox.fd] = inbox

    def get(self, timeout: float) -> Any:
        """The next message of any worker, or ``(None, Ended)``; raises ``queue.Empty``.

        It gives up early, so that torch's pinning thread looks often whether it is to end.
        """
        if not self._messages:
            self._receive(min(timeout, _POLL_SECONDS))
        worker, message = self._messages.popleft()
        if message is None:
            return None, Ended(worker)
        try:
            return ForkingPickler.loads(message)
        except Exception as error:  # a dead worker no longer hands over its file descriptors
            # Its frames have the socket, and refer, through the caller's, to the error.
            return None, Ended(worker, error.with_traceback(None))

    def close(self) -> None:
        self._inboxes.clear()
        self._messages.clear()
        for queue in self._queues:
            _close(queue)

    def _receive(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not self._messages:
            ready = wait(list(self._inboxes), max(0.0, deadline - time.monotonic()))
            if not ready:
                raise Empty
            # A KeyboardInterrupt between reading bytes and keeping them would lose these, and
            # the rest of the pipe would make no sense: then ``broken`` stays True.
            was, self.broken = self.broken, True
            for fd in ready:
                self._read(self._inboxes[fd])  # type: ignore[index]
            self.broken = was

    def _read(self, inbox: _Inbox) -> None:
        if inbox.read():
            self._messages += [(inbox.worker, message) for message in inbox.whole()]
        else:
            del self._inboxes[inbox.fd]
            self._messages.append((inbox.worker, None))


@dataclass(frozen=True)
class Ended:
    """In place of a message: this worker's pipe has ended, or a message of its cannot be read."""

    worker: int
    error: Exception | None = None


class _Inbox:
    """Puts together the messages that a ``multiprocessing.Connection`` has sent."""

    def __init__(self, worker: int, fd: int) -> None:
        self.worker = worker
        self.fd = fd
        self._bytes = bytearray()

    def read(self) -> bool:
        """Take what is there; False at the pipe's end."""
        chunk = os.read(self.fd, _CHUNK)
        self._bytes += chunk
        return bool(chunk)

    def whole(self) -> list[bytes]:
        """The messages that are complete."""
        messages = []
        while len(self._bytes) >= 4:
            # The length as int32, or -1 and the length as uint64.
            start, (length,) = 4, struct.unpack_from("!i", self._bytes)
            if length == -1:
                if len(self._bytes) < 12:
                    break
                start, (length,) = 12, struct.unpack_from("!Q", self._bytes, 4)
            if len(self._bytes) < start + length:
                break
            messages.append(bytes(memoryview(self._bytes)[start : start + length]))
            del self._bytes[: start + length]
        return messages


class Flag:
    """An event without a lock, which a worker might hold when it is killed: one byte in a pipe."""

    def __init__(self, context: Any) -> None:
        self._reader, self._writer = context.Pipe(duplex=False)

    def set(self) -> None:
        """Give the order; it stays given."""
        self._writer.send_bytes(b"")

    def is_set(self) -> bool:
        """True once it was given."""
        return bool(self._reader.poll())

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


def _work(target: Callable[..., None], args: tuple[Any, ...], indices: Any, outbox: Any) -> None:
    """A worker: it keeps only its own ends, so that it ends when the loader's process is gone."""
    indices._writer.close()
    outbox._reader.close()
    try:
        target(*args)
    except EOFError:  # of the indices: those of the dataset are sent to the loader
        outbox.cancel_join_thread()


def _close(queue: Any) -> None:
    """Close a queue whose other end is gone, and wait for its thread."""
    queue.close()
    if queue._thread is not None:
        queue._thread.join(1.0)
    queue._reader.close()
    queue._writer.close()
