"""Settings of OpenCV that belong to the whole process, changed for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import cv2


class _Borrowed:
    """Sets a setting to 0 while anyone needs that, and puts it back behind the last.

    Users may overlap in any order, in several threads.
    """

    def __init__(self, read: Callable[[], int], write: Callable[[int], Any]) -> None:
        self._read, self._write = read, write
        self._lock = threading.Lock()
        self._users = 0
        self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = self._read()
                self._write(0)
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._write(self._before)


#: ``with single_threaded_opencv:`` around work that several of our own threads share.
single_threaded_opencv = _Borrowed(cv2.getNumThreads, cv2.setNumThreads)

_logging: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging  # before and since 5
_silence = _Borrowed(_logging.getLogLevel, _logging.setLogLevel)


def quiet_opencv() -> _Borrowed:
    """Keep OpenCV from printing about bad images, which we report; the whole process's setting."""
    return _silence
