"""NumPy's ``.npy`` format (NEP 1), read from bytes: no pickle, nothing allocated on trust."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DecodeError

_PARSERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_NUMBERS = "biuf"  # kinds of dtypes
_MOST_AXES = 32
#: So many bytes suffice for ``npy_type``: 12, and the longest header that NumPy parses.
NPY_HEAD = 10_012


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
    """Dtype, shape, whether the order is Fortran's, and where the elements start."""
    stream = io.BytesIO(data[:NPY_HEAD])
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _PARSERS:  # 3.0 is for names of columns
            raise ValueError(f"version {version[0]}.{version[1]} is not for arrays of numbers")
        shape, fortran, dtype = _PARSERS[version](stream)
    except Exception as error:  # NumPy's parser of headers meets damage with several errors
        raise DecodeError(f"expected an array in NumPy's .npy format: {error}") from error
    if dtype.kind not in _NUMBERS:
        raise DecodeError(f"expected an array of numbers, found one of {dtype}")
    if len(shape) > _MOST_AXES or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise DecodeError("a damaged .npy header: no array has this shape")
    return dtype, shape, fortran, stream.tell()
