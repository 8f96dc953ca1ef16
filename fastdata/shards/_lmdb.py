"""LMDB shards: key = big-endian 64-bit index within the shard, value = the record.

LMDB forbids opening one file twice in a process, and carrying an open environment across a fork.
So all readers of a file share one environment, kept in a registry of this process; a forked child
closes what it inherited, and its readers open again on their next read.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import lmdb

from ..errors import PackFormatError
from ._files import fsync_directory
from .base import ShardReader, ShardWriter

_COMMIT_BYTES = 32 << 20
_FIRST_MAP_SIZE = 64 << 20


class Writer(ShardWriter):
    """Appends records in index order, a few dozen MiB to a transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map_size = _FIRST_MAP_SIZE
        self._env: Any = lmdb.open(
            os.fspath(path), map_size=self._map_size, subdir=False, lock=False, sync=False
        )
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._count = 0

    def add(self, record: bytes) -> None:
        """Append a record."""
        self._pending.append(record)
        self._pending_bytes += len(record)
        if self._pending_bytes >= _COMMIT_BYTES:
            self._commit()

    def close(self) -> None:
        """Commit, write to the disk, and close."""
        if self._env is None:
            return
        try:
            self._commit()
            self._env.sync(True)
        finally:
            self._env.close()
            self._env = None
        fsync_directory(self._path.parent)

    def _commit(self) -> None:
        while True:
            try:
                self._put_pending()
                break
            except lmdb.MapFullError:
                # The failed transaction took its records with it: grow, and put them all again.
                self._map_size *= 2
                self._env.set_mapsize(self._map_size)
        self._count += len(self._pending)
        self._pending.clear()
        self._pending_bytes = 0

    def _put_pending(self) -> None:
        with self._env.begin(write=True) as transaction:
            for index, record in enumerate(self._pending, self._count):
                # append=True stores nothing and returns False if the key is out of order.
                if not transaction.put(_key(index), record, append=True):
                    raise PackFormatError(f"{self._path}: record {index} is out of order")


class Reader(ShardReader):
    """Reads by index through one transaction a thread, so that views stay valid until ``close``."""

    def __init__(self, path: Path) -> None:
        self._path = os.path.realpath(path)
        self._lock = threading.Lock()
        self._pid = -1
        self._local = threading.local()
        self._env: Any = None
        self._length = int(self._attach().stat()["entries"])

    def __len__(self) -> int:
        return self._length

    def read(self, index: int) -> memoryview:
        """A read-only view of the mapped file."""
        try:
            value = self._transaction().get(_key(index))
        except lmdb.Error as error:
            raise PackFormatError(f"{self._path}: record {index}: {error}") from error
        if value is None:
            raise PackFormatError(
                f"{self._path}: record {index} is missing; the shard has {self._length} records"
            )
        view: memoryview = value
        return view

    def close(self) -> None:
        """Release the shared environment; the last reader of this process closes it."""
        with self._lock:
            if self._env is not None and self._pid == os.getpid():
                self._local = threading.local()
                _registry.release(self._path)
            self._env = None

    def _transaction(self) -> Any:
        if self._pid != os.getpid():
            self._attach()
        transaction = getattr(self._local, "transaction", None)
        if transaction is None:
            if self._env is None:
                raise PackFormatError(f"{self._path}: the reader is closed")
            transaction = self._local.transaction = self._env.begin(buffers=True)
        return transaction

    def _attach(self) -> Any:
        with self._lock:
            if self._pid != os.getpid():
                self._local = threading.local()
                self._env = _registry.acquire(self._path)
                self._pid = os.getpid()
            return self._env


class _Registry:
    """The environments that this process has open, and how many readers use each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Any, int]] = {}

    def acquire(self, path: str) -> Any:
        with self._lock:
            env, users = self._open.get(path) or (_open_readonly(path), 0)
            self._open[path] = env, users + 1
            return env

    def release(self, path: str) -> None:
        with self._lock:
            env, users = self._open.pop(path)
            if users > 1:
                self._open[path] = env, users - 1
            else:
                env.close()

    def drop_inherited(self) -> None:
        """In a forked child: nothing of the parent's may be used, and its lock may be held."""
        self._lock = threading.Lock()
        for env, _ in self._open.values():
            env.close()
        self._open.clear()


def _open_readonly(path: str) -> Any:
    try:
        env = lmdb.open(path, readonly=True, lock=False, readahead=False, subdir=False)
    except lmdb.Error as error:
        raise PackFormatError(f"{path}: LMDB cannot open the shard: {error}") from error
    expected, found = (env.info()["last_pgno"] + 1) * env.stat()["psize"], os.path.getsize(path)
    if found < expected:  # reading a map past the end of its file would kill the process
        env.close()
        raise PackFormatError(f"{path}: expected {expected} bytes, the shard is cut off at {found}")
    return env


def _key(index: int) -> bytes:
    return index.to_bytes(8, "big")


_registry = _Registry()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_registry.drop_inherited)
