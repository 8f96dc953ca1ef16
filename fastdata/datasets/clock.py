"""The time that this thread spends inside fastdata's datasets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Clock(threading.local):
    """Seconds of this thread inside fastdata's datasets since the last ``timed`` began."""

    def __init__(self) -> None:
        self.reading = 0.0
        self.decoding = 0.0


clock = _Clock()


@contextmanager
def timed(seconds: dict[str, float]) -> Iterator[None]:
    """Add the time of the block to ``seconds``, as a dataset's."""
    clock.reading = clock.decoding = 0.0
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds["dataset"] = time.perf_counter() - start
        seconds["reading"] = clock.reading
        seconds["decoding"] = clock.decoding
