"""NumPy's ``.npy`` format (NEP 1), read from bytes: no pickle, nothing allocated on trust."""

from __future__ import annotations

import ast
import math
import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core import Field
from ...errors import OptionError, SourceError

_MAGIC = b"\x93NUMPY"
_DTYPE = re.compile(r"[<>|=]?[biuf][0-9]{1,2}")
_MOST_HEADER = 1 << 14
#: So many bytes suffice for ``npy_field``.
NPY_HEAD = _MOST_HEADER + 12


def npy_field(data: bytes, where: str) -> Field:
    """The field that an array's dtype and shape make.

    Raises:
        SourceError: no ``.npy``, or an array of a dtype that fields lack.
    """
    dtype, shape, _, _ = _header(data, where)
    try:
        return Field.parse(f"{dtype.name}[{','.join(map(str, shape))}]")
    except OptionError as error:
        raise SourceError(f"{where}: {error}") from error


def read_npy(data: bytes, where: str) -> NDArray[Any]:
    """The array; SourceError unless it is one and has exactly the bytes that its header says."""
    dtype, shape, fortran, start = _header(data, where)
    expected = math.prod(shape) * dtype.itemsize
    if len(data) - start != expected:
        raise SourceError(f"{where}: expected {expected} bytes of data, found {len(data) - start}")
    flat = np.frombuffer(data, dtype, offset=start)
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(data: bytes, where: str) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    if data[:6] != _MAGIC or len(data) < 12 or data[6] not in (1, 2, 3):
        raise SourceError(f"{where}: expected an array in NumPy's .npy format")
    layout, start = ("<H", 10) if data[6] == 1 else ("<I", 12)
    (length,) = struct.unpack_from(layout, data, 8)
    if length > _MOST_HEADER or start + length > len(data):
        raise SourceError(f"{where}: a .npy header of {length} bytes is cut off or too long")
    try:
        header = ast.literal_eval(data[start : start + length].decode("utf-8"))
        dtype, shape, fortran = _checked(header)
    except (ValueError, TypeError, SyntaxError, KeyError, MemoryError, RecursionError) as error:
        raise SourceError(f"{where}: a damaged .npy header, or not an array of numbers") from error
    return dtype, shape, fortran, start + length


def _checked(header: Any) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    text, shape, fortran = header["descr"], header["shape"], header["fortran_order"]
    if not (isinstance(text, str) and isinstance(shape, tuple) and isinstance(fortran, bool)):
        raise ValueError("wrong types")
    if len(shape) > 32 or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise ValueError("wrong shape")
    if not _DTYPE.fullmatch(text):
        raise ValueError("no number")
    return np.dtype(text), shape, fortran
