"""The time that this thread spends inside fastdata's datasets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Clock(threading.local):
    """Seconds of this thread inside fastdata's datasets, by name, since ``timed`` began."""

    def __init__(self) -> None:
        self.seconds = {"reading": 0.0, "decoding": 0.0}

    def add(self, start: float, read: float) -> None:
        """Count a sample that is ready now, begun at ``start``, its record there at ``read``."""
        seconds = self.seconds
        seconds["reading"] += read - start
        seconds["decoding"] += time.perf_counter() - read


clock = _Clock()


@contextmanager
def timed(seconds: dict[str, float]) -> Iterator[None]:
    """Add the time of the block to ``seconds``, as a dataset's."""
    before, clock.seconds = clock.seconds, {"reading": 0.0, "decoding": 0.0}
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds["dataset"] = time.perf_counter() - start
        seconds.update(clock.seconds)
        clock.seconds = before
