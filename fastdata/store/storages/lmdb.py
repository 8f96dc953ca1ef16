"""LMDB shards: key = big-endian 64-bit index within the shard, value = the record."""

from __future__ import annotations

import mmap
import os
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import PackFormatError
from .base import ShardWriter, Storage, holds

_COMMIT_BYTES = 4 << 20  # few enough that the pages of one transaction stay in the caches
_FIRST_MAP_SIZE = 64 << 20
_PAGE = 4096
_NODE = 2038  # the largest that shares a page with others


class Lmdb(Storage):
    """LMDB, by py-lmdb."""

    name = "lmdb"
    suffix = ".lmdb"
    package = "lmdb"
    empty_bytes = 3 * _PAGE

    def writer(self, path: Path) -> ShardWriter:
        return LmdbWriter(path, self.library())

    def versions(self) -> dict[str, str]:
        version = ".".join(map(str, self.library().version()))
        return {"LMDB": version, "the size of a memory page": str(mmap.PAGESIZE)}

    def bytes_of(self, size: int) -> int:
        node = 16 + size  # a header of 8 bytes and a key of 8
        if node > _NODE:
            return -(-node // _PAGE) * _PAGE + 26
        together = (_PAGE - 16) // (node + node % 2 + 2)
        return round(_PAGE / together)


class LmdbWriter(ShardWriter):
    """Appends records in index order, a few MiB to a transaction.

    Args:
        path: the new file.
        lmdb: the module.
    """

    def __init__(self, path: Path, lmdb: Any) -> None:
        self._lmdb = lmdb
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
        """Commit and close."""
        if self._env is None:
            return
        try:
            self._commit()
        finally:
            self._env.close()
            self._env = None

    def abort(self) -> None:
        """Close the environment."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def locate(self, checksums: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """The places where LMDB has put the values.

        It does not say. But it gives addresses in its map, so all distances are known, and what
        remains is the page that its first value lies in: one where every record is found.
        """
        addresses, sizes = array("q"), array("q")
        env = self._lmdb.open(os.fspath(self._path), readonly=True, lock=False, subdir=False)
        try:
            with env.begin(buffers=True) as transaction:
                for value in transaction.cursor().iternext(keys=False, values=True):
                    addresses.append(np.frombuffer(value, np.uint8).ctypes.data if value else 0)
                    sizes.append(len(value))
            page = int(env.stat()["psize"])
        finally:
            env.close()
        return _offsets(self._path, np.array(addresses), np.array(sizes), checksums, page)

    def _commit(self) -> None:
        while True:
            try:
                self._put_pending()
                break
            except self._lmdb.MapFullError:
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


def _offsets(
    path: Path,
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    checksums: NDArray[np.uint32],
    page: int,
) -> NDArray[np.uint64]:
    full = np.flatnonzero(sizes)
    if not len(full):
        return np.zeros(len(sizes), np.uint64)
    first = int(addresses[full].min())
    room = path.stat().st_size - (int(addresses[full].max()) - first)
    for start in range(first % page, room, page):
        offsets = np.where(sizes > 0, addresses - first + start, 0)
        if holds(path, offsets, sizes, checksums):
            return offsets.astype(np.uint64)
    raise PackFormatError(f"{path}: LMDB has not written the records as they were given")


def _key(index: int) -> bytes:
    return index.to_bytes(8, "big")
