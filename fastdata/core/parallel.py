"""An ordered, bounded parallel map."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

import numpy as np

T = TypeVar("T")
R = TypeVar("R")

_LARGEST_KEPT = (32 << 20) - (64 << 10)


def ordered_map(
    pool: Executor,
    function: Callable[[T], R],
    items: Iterable[T],
    ahead: int,
    weight: Callable[[T], int] = lambda item: 0,
    most: int = 1,
) -> Generator[tuple[T, R], None, None]:
    """Map in parallel and yield (item, result) in order.

    Args:
        pool: its threads run ``function``.
        function: of one item.
        items: read by the calling thread.
        ahead: how many items may be in flight.
        weight: of an item, such as the memory that it will need.
        most: no item is begun while those in flight weigh this much; a heavier one goes alone.

    Closing the generator cancels what has not begun.
    """
    pending: deque[tuple[T, int, Future[R]]] = deque()
    total = 0
    try:
        for item in items:
            heavy = weight(item)
            while pending and (len(pending) >= ahead or total + heavy > most):
                first, light, future = pending.popleft()
                total -= light
                yield first, future.result()
            pending.append((item, heavy, pool.submit(function, item)))
            total += heavy
        while pending:
            first, _, future = pending.popleft()
            yield first, future.result()
    finally:
        for _, _, future in pending:
            future.cancel()


def keep_freed_memory() -> None:
    """Have glibc keep what an image leaves behind for the next one, instead of giving it back.

    By default it returns blocks of more than 128 KiB at once, and the kernel has to clear each page
    of the next one: a third of the time that copying photographs takes. Its limits grow with what
    is freed (mallopt(3), M_MMAP_THRESHOLD), up to 32 MiB, so one such block, never touched, will
    do. Other allocators do not mind.
    """
    np.empty(_LARGEST_KEPT, np.uint8)


def available_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
