"""A third storage format: the records one behind the other in a plain file.

It shows how much a storage is: this file, and one entry in ``fastdata.store.STORAGES``.
"""

from __future__ import annotations

import sys
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastdata.errors import PackFormatError
from fastdata.store.storages.base import ShardWriter, Storage, holds


class Flat(Storage):
    name = "flat"
    suffix = ".flat"
    package = "array"  # of the standard library
    empty_bytes = 0

    def writer(self, path: Path) -> ShardWriter:
        return FlatWriter(path)

    def versions(self) -> dict[str, str]:
        return {"byte order": sys.byteorder}

    def bytes_of(self, size: int) -> int:
        return size


class FlatWriter(ShardWriter):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._sizes = array("q")

    def add(self, record: bytes) -> None:
        self._file.write(record)
        self._sizes.append(len(record))

    def close(self) -> None:
        self._file.close()

    def abort(self) -> None:
        self._file.close()

    def locate(self, checksums: NDArray[np.uint32]) -> NDArray[np.uint64]:
        sizes = np.array(self._sizes, np.int64)
        offsets = np.where(sizes > 0, np.cumsum(sizes) - sizes, 0)
        if not holds(self._path, offsets, sizes, checksums):
            raise PackFormatError(f"{self._path}: the records are not as they were given")
        return offsets.astype(np.uint64)
