"""``.npy`` files in pieces, and mapped."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import Closable
from ..errors import PackFormatError

_LONGEST_NPY_HEADER = 10_000


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
