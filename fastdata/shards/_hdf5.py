"""HDF5 shards: one contiguous uint8 dataset ``records`` and int64 ``offsets`` (count + 1).

h5py is asked once, for the place of the records in the file; they are then read from a memory map,
outside of h5py's interpreter-wide lock and safe under fork.
"""

from __future__ import annotations

import mmap
import os
import shutil
from array import array
from pathlib import Path

import h5py
import numpy as np

from ..errors import PackFormatError
from ._files import fsync_directory, fsync_file
from .base import ShardReader, ShardWriter

_BLOCK = 8 << 20


class Writer(ShardWriter):
    """Spools records to a file beside the shard: a contiguous dataset's size is fixed when made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spool_path = path.with_suffix(".spool")
        self._spool = self._spool_path.open("wb")
        self._offsets = array("q", [0])
        self._closed = False

    def add(self, record: bytes) -> None:
        """Append a record."""
        self._spool.write(record)
        self._offsets.append(self._offsets[-1] + len(record))

    def close(self) -> None:
        """Write the HDF5 file, make it durable, and remove the spool."""
        if self._closed:
            return
        self._closed = True
        self._spool.close()
        try:
            self._fill(self._create())
        finally:
            self._spool_path.unlink()
        fsync_file(self._path)
        fsync_directory(self._path.parent)

    def _create(self) -> int:
        """Make the file with an empty dataset of the right size; return the dataset's offset."""
        total = self._offsets[-1]
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


class Reader(ShardReader):
    """Reads by index from a memory map of the whole file."""

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        start, self._offsets = self._locate()
        total = int(self._offsets[-1])
        self._map: mmap.mmap | None = None
        self._view = memoryview(b"")
        if total:
            with open(path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._view = memoryview(self._map)[start : start + total]
        if len(self._view) != total:
            # Found late, reading a map past the end of its file would kill the process.
            raise PackFormatError(f"{path}: expected {total} bytes of records, the file is cut off")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def read(self, index: int) -> memoryview:
        """A read-only view of the mapped file."""
        if not 0 <= index < len(self):
            raise PackFormatError(
                f"{self._path}: record {index} is missing; the shard has {len(self)} records"
            )
        return self._view[self._offsets[index] : self._offsets[index + 1]]

    def close(self) -> None:
        """Let go of the map; the operating system unmaps it with the last view of a record."""
        self._view = memoryview(b"")
        self._map = None
        self._offsets = self._offsets[:1]

    def _locate(self) -> tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
        try:
            with h5py.File(self._path, "r", locking=False) as file:
                offsets = np.asarray(file["offsets"][()], np.int64)
                records = file["records"]
                start, size = records.id.get_offset() or 0, records.shape[0]
        except (OSError, KeyError, AttributeError, TypeError, ValueError) as error:
            raise PackFormatError(f"{self._path}: not an HDF5 shard: {error}") from error
        if len(offsets) < 1 or offsets[0] != 0 or np.any(np.diff(offsets) < 0):
            raise PackFormatError(f"{self._path}: the offsets do not ascend from 0")
        if offsets[-1] != size:
            raise PackFormatError(f"{self._path}: offsets end at {offsets[-1]}, records at {size}")
        return int(start), offsets
