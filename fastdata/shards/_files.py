"""Small helpers for durable files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..closable import Closable

_BLOCK = 4 << 20
_OTHER_FILES = 512  # sockets, pipes and libraries that the rest of a training opens


def fsync_file(path: Path) -> None:
    """Write what the operating system still holds of a file to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_directory(path: Path) -> None:
    """Make a directory's entries durable; Windows has no such thing and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def allow_open_files(count: int) -> None:
    """Lift this process's soft limit of open files for ``count`` more, as far as the hard one."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count + _OTHER_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class NpyStream(Closable):
    """An .npy file of one dimension, written row by row; its header gets the length at the end."""

    def __init__(self, path: Path, dtype: np.dtype[np.generic]) -> None:
        self._dtype = dtype
        self._rows = 0
        self._file = path.open("wb")
        self._header_end = self._write_header()

    def append(self, rows: NDArray[np.generic]) -> None:
        """Append rows of the stream's dtype."""
        self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self._rows += len(rows)

    def close(self) -> None:
        """Complete the header and make the file durable."""
        if self._file.closed:
            return
        self._file.seek(0)
        if self._write_header() != self._header_end:
            raise OSError(f"the .npy header of {self._file.name} changed its length")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _write_header(self) -> int:
        # NumPy pads the header for a first axis of up to 21 digits, so its length stays the same.
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self._rows,),
            },
        )
        return self._file.tell()
