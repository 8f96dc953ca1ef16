"""Files that must not be deleted now, whichever process asks.

A file in use is locked, shared, with ``flock``; the kernel lets go of it when the process dies. Who
wants to delete it tries an exclusive lock. Where there is no ``flock`` (Windows) an open file
cannot be deleted anyway.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from ...core import Closable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Pin(Closable):
    """A file that is not evicted before ``close``, or before the process ends.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path, file: BinaryIO | None = None) -> None:
        self.path = path
        self._file = file
        self._pid = os.getpid()

    @classmethod
    def of(cls, path: Path) -> Pin | None:
        """Pin a file, and note that it is used now; None if there is none."""
        while True:
            try:
                file = path.open("rb")
            except FileNotFoundError:
                return None
            _lock(file)
            if _is_at(file, path):
                _touch(path)
                return cls(path, file)
            file.close()  # deleted or replaced just before it was locked

    @classmethod
    def new(cls, path: Path) -> Pin:
        """Make an empty file, pinned. Nobody else may be deleting idle files meanwhile."""
        file = path.open("xb")
        _lock(file)
        return cls(path, file)

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        status = self.path.stat() if self._file is None else os.fstat(self._file.fileno())
        return status.st_size

    def rename(self, path: Path) -> None:
        """Move the file, in place of any other, durably; it stays pinned."""
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            os.fsync(descriptor)  # else a crash may leave zeros under the new name
        finally:
            os.close(descriptor)
        if fcntl is None:
            self.close()  # Windows renames no open file
        os.replace(self.path, path)
        self.path = path

    def discard(self) -> None:
        """Delete the file, and let it go."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let the file go. What is mapped of it stays readable even if it is then deleted."""
        file, self._file = self._file, None
        if file is not None:
            # A fork copies the descriptor, not the lock. So the owner has to unlock: closing its
            # copy alone would not; and a child must not.
            if fcntl is not None and os.getpid() == self._pid:
                fcntl.flock(file, fcntl.LOCK_UN)
            file.close()

    def __del__(self) -> None:
        self.close()


def is_in_use(path: Path) -> bool:
    """True if any process has pinned a file; never on Windows."""
    try:
        with path.open("rb") as file:
            return not _lock_alone(file)
    except OSError:
        return False


def delete_idle(path: Path) -> bool:
    """Delete a file unless it is pinned; whether it is gone."""
    try:
        with path.open("rb") as file:
            if not _lock_alone(file):
                return False
            if fcntl is not None:
                path.unlink()
                return True
        path.unlink()
    except FileNotFoundError:
        return True
    except OSError:  # Windows: it is open; elsewhere: it belongs to another user
        return False
    return True


def _lock(file: BinaryIO) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_SH)


def _lock_alone(file: BinaryIO) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except PermissionError:  # of another user, who shares the cache
        return
