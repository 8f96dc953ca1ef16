"""NumPy's ``.npy`` format (NEP 1), read from bytes: no pickle, nothing allocated on trust."""

from __future__ import annotations

import ast
import io
import math
import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DecodeError

_MAGIC = b"\x93NUMPY"
_DTYPE = re.compile(r"[<>|=]?[biuf][0-9]{1,2}")
_MOST_HEADER = 1 << 14
#: So many bytes suffice for ``npy_type``.
NPY_HEAD = _MOST_HEADER + 12


def npy_type(data: bytes) -> str:
    """Dtype and shape of an array, such as "float32[2,3]"; DecodeError if it is no ``.npy``."""
    dtype, shape, _, _ = _header(data)
    return f"{dtype.name}[{','.join(map(str, shape))}]"


def read_npy(data: bytes) -> NDArray[Any]:
    """The array; DecodeError unless it is one and has exactly the bytes that its header says."""
    dtype, shape, fortran, start = _header(data)
    expected = math.prod(shape) * dtype.itemsize
    if len(data) - start != expected:
        raise DecodeError(f"expected {expected} bytes of data, found {len(data) - start}")
    flat = np.frombuffer(data, dtype, offset=start)
    return flat.reshape(shape, order="F" if fortran else "C")


def write_npy(array: NDArray[Any]) -> bytes:
    """The content of an array's file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _header(data: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    if data[:6] != _MAGIC or len(data) < 12 or data[6] not in (1, 2, 3):
        raise DecodeError("expected an array in NumPy's .npy format")
    layout, start = ("<H", 10) if data[6] == 1 else ("<I", 12)
    (length,) = struct.unpack_from(layout, data, 8)
    if length > _MOST_HEADER or start + length > len(data):
        raise DecodeError(f"a .npy header of {length} bytes is cut off or too long")
    try:
        header = ast.literal_eval(data[start : start + length].decode("utf-8"))
        dtype, shape, fortran = _checked(header)
    except (ValueError, TypeError, SyntaxError, KeyError, MemoryError, RecursionError) as error:
        raise DecodeError("a damaged .npy header, or not an array of numbers") from error
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
