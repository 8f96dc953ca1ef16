"""Settings of OpenCV that belong to the whole process, changed for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2


class _SingleThreaded:
    """Counts who needs OpenCV to start no threads of its own: the setting is the process's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._threads = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._threads = cv2.getNumThreads()
                cv2.setNumThreads(0)
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                cv2.setNumThreads(self._threads)


#: ``with single_threaded_opencv:`` around work that several of our own threads share.
single_threaded_opencv = _SingleThreaded()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from printing about bad images, which we report; the whole process's setting."""
    logging: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging  # before and since 5
    level = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(level)
