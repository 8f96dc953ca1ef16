"""Values of LMDB files that others have written, from any thread or process.

LMDB forbids opening a file twice in a process, and carrying an environment across a fork. So each
process has one environment a file, opened when it is first read, and a forked child starts anew.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lmdb

_MOST_OPEN = 64
_MAGIC_AT, _MAGIC = 16, b"\xde\xc0\xef\xbe"  # mdb_meta.mm_magic, on 64-bit machines
_PAGE_SIZE_AT, _PAGE_SIZES = 40, [1 << bits for bits in range(9, 17)]


@dataclass(frozen=True, slots=True)
class LmdbBlob:
    """The value of a key, or ``size`` of its bytes from ``start`` on; −1 is the rest.

    ``path`` is the data file itself, not its directory. The file must not be written to meanwhile.
    """

    path: str
    key: bytes
    start: int = 0
    size: int = -1

    def read(self) -> bytes:
        """The bytes; OSError if the file, the key or these bytes are not there."""
        with reading(self.path) as transaction:
            value = transaction.get(self.key)
            if value is None:
                raise OSError(f"{self.path}: no key {self.key!r}")
            stop = len(value) if self.size < 0 else self.start + self.size
            if stop > len(value):
                raise OSError(
                    f"{self.path}: key {self.key!r}: expected {stop} bytes, found {len(value)}"
                )
            return bytes(value[self.start : stop])


@contextmanager
def reading(path: str) -> Iterator[Any]:
    """A read transaction whose values are views, valid inside of the block.

    Raises:
        OSError: the file is not there, is no LMDB file, is cut off, or LMDB finds it damaged.
    """
    try:
        with _environments.use(path) as env, env.begin(buffers=True) as transaction:
            yield transaction
    except lmdb.Error as error:
        raise OSError(f"{path}: LMDB cannot read it: {error}") from error


def starts_like_lmdb(path: str) -> bool:
    """True if a file begins with LMDB's first meta page."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return file.read(_MAGIC_AT + 4)[_MAGIC_AT:] == _MAGIC
    except OSError:
        return False


@dataclass(eq=False)
class _Open:
    """An open environment, the file that it is of, and how many readers use it now."""

    identity: tuple[int, ...]
    env: Any
    users: int = 0


class _Environments:
    """The environments that this process has open, the one used last at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}

    @contextmanager
    def use(self, path: str) -> Iterator[Any]:
        path = os.path.realpath(path)
        with self._lock:
            found = self._current(path)
            self._open[path] = found
            found.users += 1
            self._close_unused(_MOST_OPEN)
        try:
            yield found.env
        finally:
            with self._lock:
                found.users -= 1

    def _current(self, path: str) -> _Open:
        identity = _identity(path)
        found = self._open.pop(path, None)
        if found is not None and (found.identity == identity or found.users):
            return found
        if found is not None:  # another file has taken its place
            found.env.close()
        return _Open(identity, _open_readonly(path))

    def _close_unused(self, most: int) -> None:
        unused = [path for path, found in self._open.items() if not found.users]
        for path in unused[: max(len(self._open) - most, 0)]:
            self._open.pop(path).env.close()

    def drop_inherited(self) -> None:
        """In a forked child: nothing of the parent's may be used, and its lock may be held."""
        self._lock = threading.Lock()
        for found in self._open.values():
            found.env.close()
        self._open.clear()


def _identity(path: str) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _open_readonly(path: str) -> Any:
    _check_meta(path)
    env = lmdb.open(path, readonly=True, lock=False, readahead=False, subdir=False)
    expected, found = (env.info()["last_pgno"] + 1) * env.stat()["psize"], os.path.getsize(path)
    if found < expected:  # reading a map past the end of its file would kill the process
        env.close()
        raise OSError(f"{path}: expected {expected} bytes, the file is cut off at {found}")
    return env


def _check_meta(path: str) -> None:
    """Check of what LMDB takes on trust: the page size, on which every offset depends."""
    if not starts_like_lmdb(path):
        raise OSError(f"{path}: not an LMDB file")
    with open(path, "rb") as file:
        (size,) = struct.unpack_from("<I", file.read(_PAGE_SIZE_AT + 4).ljust(44), _PAGE_SIZE_AT)
        if size not in _PAGE_SIZES:
            raise OSError(f"{path}: a damaged LMDB file: a page size of {size} bytes")
        file.seek(size + _MAGIC_AT)
        if file.read(4) != _MAGIC:
            raise OSError(f"{path}: a damaged LMDB file: no second meta page at byte {size}")


_environments = _Environments()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_environments.drop_inherited)
