"""Small helpers for durable files."""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..closable import Closable
from ..errors import PackFormatError

_BLOCK = 4 << 20
_WILL_NEED: int | None = getattr(mmap, "MADV_WILLNEED", None)  # Windows has none
_LONGEST_NPY_HEADER = 10_000
_OTHER_FILES = 512  # sockets, pipes and libraries that the rest of a training opens


def fsync_file(path: Path) -> None:
    """Write what the operating system still holds of a file to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def fsynced(path: Path) -> Iterator[None]:
    """Make a file durable meanwhile, in another thread: at the end it is, or OSError is raised."""
    with ThreadPoolExecutor(1, "fastdata-fsync") as pool:
        done = pool.submit(fsync_file, path)
        yield
        done.result()


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
    with os.fdopen(open_regular(path), "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def count_lines(view: memoryview) -> int:
    """The number of line ends in bytes of any length."""
    starts = range(0, len(view), _BLOCK)
    return sum(bytes(view[start : start + _BLOCK]).count(b"\n") for start in starts)


def allow_open_files(count: int) -> None:
    """Lift this process's soft limit of open files for ``count`` more, as far as the hard one."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count + _OTHER_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_regular(path: Path) -> int:
    """A descriptor to read a regular file; PackFormatError for a link, a pipe and all else.

    What lies in a pack is not trusted: a link could lead out of it.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except OSError as error:
        what = "is a link; a pack holds regular files" if path.is_symlink() else error.strerror
        raise PackFormatError(f"{path}: cannot be opened: {what}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) or path.is_symlink():
        os.close(descriptor)
        raise PackFormatError(f"{path}: expected a regular file")
    return descriptor


def map_file(path: Path, expected: int | None = None) -> memoryview:
    """A whole file as read-only mapped memory, valid as long as a view of it lives.

    Raises:
        PackFormatError: it is no regular file, or not of the expected size: reading a map past the
            end of its file would kill the process.
    """
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        if expected is not None and size != expected:
            raise PackFormatError(f"{path}: expected {expected} bytes, found {size}")
        if size == 0:  # an empty file cannot be mapped
            return memoryview(b"")
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise PackFormatError(f"{path}: cannot be mapped: {error}") from error
    finally:
        os.close(descriptor)


def will_need(view: memoryview, start: int, size: int) -> None:
    """Begin to read a part of a file that ``map_file`` has mapped, where it is not in memory.

    Left to page faults, the kernel reads around the first of them, by as much as the device's
    read-ahead says, and again and again behind it.
    """
    if _WILL_NEED is None or not isinstance(view.obj, mmap.mmap):
        return
    first = start - start % mmap.PAGESIZE
    with suppress(OSError):  # it is only advice
        view.obj.madvise(_WILL_NEED, first, start + size - first)


def as_npy(
    view: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...], path: str
) -> NDArray[Any]:
    """The bytes of an .npy file as a read-only array; PackFormatError, which names ``path``, if
    they are not exactly this one."""
    stream = io.BytesIO(view[:_LONGEST_NPY_HEADER])
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("not version 1.0 of the format")
        found = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # NumPy's parser of headers meets damage with several errors
        raise PackFormatError(f"{path}: not an .npy file: {error}") from error
    size = dtype.itemsize * int(np.prod(shape, dtype=object))
    if found != (shape, False, dtype) or stream.tell() + size != len(view):
        raise PackFormatError(
            f"{path}: expected {shape} of {dtype}, found {found[0]} of {found[2]} "
            f"in {len(view)} bytes"
        )
    return np.ndarray(shape, dtype, view, stream.tell())


class NpyStream(Closable):
    """An .npy file, written in pieces along its first axis; its header gets the length at the end.

    Args:
        path: the new file.
        dtype: of its elements.
        row_shape: lengths of all axes but the first.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], row_shape: tuple[int, ...] = ()) -> None:
        self._dtype = dtype
        self._row_shape = row_shape
        self._rows = 0
        self._file = path.open("wb")
        self._header_end = self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Append rows of the stream's dtype and shape."""
        if rows.dtype != self._dtype or rows.shape[1:] != self._row_shape:
            raise ValueError(f"expected rows of {self._row_shape} {self._dtype}, got {rows.dtype}")
        self._file.write(np.ascontiguousarray(rows).data.cast("B") if rows.size else b"")
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
                "shape": (self._rows, *self._row_shape),
            },
        )
        return self._file.tell()


def write_durably(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a new file and make its content durable."""
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
