"""LMDB shards: key = big-endian 64-bit index within the shard, value = the record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from numpy.typing import NDArray

from ..checksum import crc32
from ..errors import PackFormatError
from ._files import fsync_directory, map_file
from .base import ShardWriter

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

    def abort(self) -> None:
        """Close the environment."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def locate(self) -> NDArray[np.uint64]:
        """Where LMDB has put the values.

        It does not say. But it gives addresses in its map, so all distances are known, and what
        remains is the page that its first value lies in: one where every record is found.
        """
        env = lmdb.open(os.fspath(self._path), readonly=True, lock=False, subdir=False)
        try:
            with env.begin(buffers=True) as transaction:
                values = list(transaction.cursor().iternext(keys=False, values=True))
                return _offsets(self._path, values, int(env.stat()["psize"]))
        finally:
            env.close()

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


def _offsets(path: Path, values: list[memoryview], page: int) -> NDArray[np.uint64]:
    addresses = np.array([_address(value) for value in values], np.int64)
    full = np.flatnonzero([len(value) for value in values])
    if not len(full):
        return np.zeros(len(values), np.uint64)
    file = map_file(path)
    lowest, last = int(addresses[full].min()), int(addresses[full].max())
    room = len(file) - (last - lowest)
    for start in range(lowest % page, room, page):
        offsets = addresses - lowest + start
        if all(_same(values[i], file, int(offsets[i])) for i in full):
            return np.where([len(value) > 0 for value in values], offsets, 0).astype(np.uint64)
    raise PackFormatError(f"{path}: LMDB has not written the records as they were given")


def _address(value: memoryview) -> int:
    return int(np.frombuffer(value, np.uint8).ctypes.data) if len(value) else 0


def _same(value: memoryview, file: memoryview, offset: int) -> bool:
    found = file[offset : offset + len(value)]
    return found[:64] == value[:64] and crc32(found) == crc32(value)


def _key(index: int) -> bytes:
    return index.to_bytes(8, "big")
