"""HDF5 shards: one contiguous uint8 dataset ``records`` and int64 ``offsets`` (count + 1)."""

from __future__ import annotations

import shutil
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import PackFormatError
from .base import ShardWriter, Storage, holds

_BLOCK = 8 << 20


class Hdf5(Storage):
    """HDF5, by h5py."""

    name = "hdf5"
    suffix = ".h5"
    package = "h5py"
    empty_bytes = 4096
    spare = 2  # the spool of a shard that is closed, and of the next one

    def writer(self, path: Path) -> ShardWriter:
        return Hdf5Writer(path, self.library())

    def versions(self) -> dict[str, str]:
        return {"HDF5": self.library().version.hdf5_version}

    def bytes_of(self, size: int) -> int:
        return size + 8  # and its offset


class Hdf5Writer(ShardWriter):
    """Spools records to a file beside the shard: a contiguous dataset's size is fixed when made.

    Args:
        path: the new file.
        h5py: the module.
    """

    def __init__(self, path: Path, h5py: Any) -> None:
        self._h5py = h5py
        self._path = path
        self._spool_path = path.with_suffix(".spool")
        self._spool = self._spool_path.open("wb")
        self._offsets = array("q", [0])
        self._start = 0
        self._closed = False

    def add(self, record: bytes) -> None:
        """Append a record."""
        self._spool.write(record)
        self._offsets.append(self._offsets[-1] + len(record))

    def close(self) -> None:
        """Write the HDF5 file, and remove the spool."""
        if self._closed:
            return
        self._closed = True
        self._spool.close()
        try:
            self._start = self._create()
            self._fill(self._start)
        finally:
            self._spool_path.unlink()

    def abort(self) -> None:
        """Close the spool."""
        self._closed = True
        with suppress(OSError):  # what is still to be written may not fit
            self._spool.close()

    def locate(self, checksums: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """One after the other, from where HDF5 has put the dataset."""
        ends = np.frombuffer(self._offsets, np.int64)
        sizes = np.diff(ends)
        offsets = np.where(sizes > 0, ends[:-1] + self._start, 0)
        if not holds(self._path, offsets, sizes, checksums):
            raise PackFormatError(f"{self._path}: the records are not as they were given")
        return offsets.astype(np.uint64)

    def _create(self) -> int:
        """Make the file with an empty dataset of the right size; return the dataset's offset."""
        h5py, total = self._h5py, self._offsets[-1]
        with h5py.File(self._path, "w", libver="earliest") as file:
            offsets = np.frombuffer(self._offsets, np.int64)
            file.create_dataset("offsets", data=offsets, dtype="<i8", track_times=False)
            if total == 0:  # HDF5 gives an empty dataset no place in the file
                file.create_dataset("records", shape=(0,), dtype="u1", track_times=False)
                return 0
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_layout(h5py.h5d.CONTIGUOUS)
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            layout.set_obj_track_times(False)
            space = h5py.h5s.create_simple((total,))
            records = h5py.h5d.create(file.id, b"records", h5py.h5t.STD_U8LE, space, dcpl=layout)
            return int(records.get_offset())

    def _fill(self, offset: int) -> None:
        with self._spool_path.open("rb") as spool, self._path.open("r+b") as file:
            file.seek(offset)
            if self._offsets[-1]:
                shutil.copyfileobj(spool, file, _BLOCK)
