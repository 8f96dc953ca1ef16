"""The compiled half of unantialiased resizing: a bilinear kernel, and a table for the cubic one.

Importing this module imports numba and compiles ``bilinear``, or loads it from numba's cache.

A weight has 15 fractional bits; 14 where, on that axis, one of 1 would not fit into 16 bits. The
cubic's weights are those, widened to the bits that ``_kernels`` works with, which changes no sum.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..jit import jit, part_of_kernel
from ._blends import blend4, blend32
from ._vectors import BITS, copy

types: Any = numba.types  # numba's annotations are partial, and differ between its releases

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int32]
Weights = NDArray[np.int16]

IMAGE = types.Array(types.uint8, 3, "A", readonly=True)
OUT = types.Array(types.uint8, 3, "C")


@part_of_kernel
def _bits(most: float) -> int:
    """Fractional bits of an axis' weights, of which the largest is ``most``."""
    bits = 0
    while int(0.5 + most * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    return bits


@part_of_kernel
def _pairs(size: int, new: int, flip: bool) -> tuple[Offsets, Weights]:
    """For each output: its first input, and the weight of the next one in units of 2^-15.

    The two weights sum to 1, so the first one's is the rest. ``flip`` reverses the outputs.
    """
    scale = size / new
    most = 0.0
    for i in range(new):
        place = max((i + 0.5) * scale - 0.5, 0.0)
        part = place - int(place)
        most = max(most, max(part, 1.0 - part))
    bits = _bits(most)
    firsts, weights = np.empty(new, np.int32), np.empty(new, np.int16)
    for i in range(new):
        place = max((i + 0.5) * scale - 0.5, 0.0)
        first = int(place)
        weight = int(0.5 + (place - first) * (1 << bits)) << (15 - bits)
        if first >= size - 1:
            first, weight = size - 1, 0
        elif weight == 1 << 15:  # does not fit
            first, weight = first + 1, 0
        at = new - 1 - i if flip else i
        firsts[at], weights[at] = first, weight
    return firsts, weights


@part_of_kernel
def _columns(size: int, new: int, flip: bool) -> tuple[Offsets, Weights]:
    """As ``_pairs``, in bytes, with a weight for each of 4 channels, padded to 4 columns."""
    firsts, weights = _pairs(size, new, flip)
    count = (new + 3) // 4 * 4
    offsets, repeated = np.empty(count, np.int32), np.empty(4 * count, np.int16)
    for x in range(count):
        column = min(x, new - 1)
        offsets[x] = 3 * firsts[column]
        for channel in range(4):
            repeated[4 * x + channel] = weights[column]
    return offsets, repeated


@part_of_kernel
def _row(dst: Bytes, d: int, src: Bytes, s: int, columns: tuple[Offsets, Weights]) -> None:
    """Resize one row of pixels; reads up to 5 and writes up to 4 bytes behind its end."""
    offsets, weights = columns
    for x in range(0, offsets.size, 4):
        blend4(dst, d + 3 * x, src, s, offsets, weights, x)


@part_of_kernel
def _between(
    dst: Bytes, d: int, count: int, ring: Bytes, s: tuple[int, int, int], weight: int
) -> None:
    """Blend two rows of ``count`` bytes of ``ring``, with up to 31 more to be read at the end.

    ``s`` is where each of them begins, and where 32 bytes are free.
    """
    x = 0
    while x + 32 <= count:
        blend32(dst, d + x, ring, s[0] + x, s[1] + x, weight)
        x += 32
    if x < count:
        blend32(ring, s[2], ring, s[0] + x, s[1] + x, weight)
        copy(dst, d + x, ring, s[2], count - x)


@jit(types.void(IMAGE, OUT, types.boolean), error_model="numpy")
def bilinear(image: Bytes, out: Bytes, flip: bool) -> None:
    """Resize ``image`` into ``out``; see ``fastdata.images.resample``.

    Each row of the image that is needed is resized once, into a ring of two: of two neighbouring
    rows one has an even number, the other an odd one.

    Args:
        image: H × W × 3; its pixels and channels are contiguous and its row stride is not negative.
        out: h × w × 3, apart from ``image``; no side of either is 0.
        flip: mirror left to right.
    """
    old_height, old_width = image.shape[:2]
    height, width = out.shape[:2]
    columns, (rows, weights) = _columns(old_width, width, flip), _pairs(old_height, height, False)
    pitch = 3 * columns[0].size + 32
    ring = np.empty(2 * pitch + 32, np.uint8)
    spare = np.empty(3 * old_width + 5, np.uint8)
    end = (old_height - 1) * image.strides[0] + 3 * old_width
    held = np.full(2, -1)
    for y in range(height):
        for row in range(rows[y], rows[y] + 1 + (weights[y] != 0)):
            if held[row & 1] == row:
                continue
            held[row & 1] = row
            s = row * image.strides[0]
            if s + 3 * old_width + 5 <= end:
                _row(ring, (row & 1) * pitch, image, s, columns)
            else:
                copy(spare, 0, image, s, 3 * old_width)
                _row(ring, (row & 1) * pitch, spare, 0, columns)
        first = (rows[y] & 1) * pitch
        s3 = first, pitch - first, 2 * pitch
        _between(out, 3 * width * y, 3 * width, ring, s3, weights[y])


@part_of_kernel
def _keys(x: float) -> float:
    """Keys' cubic with a = -0.75, for 0 to 2."""
    if x < 1.0:
        return (1.25 * x - 2.25) * x * x + 1.0
    return ((-0.75 * x + 3.75) * x - 6.0) * x + 3.0


@part_of_kernel
def cubic_table(
    size: int, new: int, flip: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32], int, int]:
    """The table of ``_kernels._table`` for the cubic without antialiasing.

    An output has four inputs; one beyond an edge is the pixel at the edge.
    """
    scale, taps, most = size / new, min(size, 4), 0.0
    count = (new + 3) // 4 * 4
    firsts, exact = np.empty(count, np.int32), np.zeros((count, 4))
    for i in range(count):
        j = min(i, new - 1)
        j = new - 1 - j if flip else j
        place = (j + 0.5) * scale - 0.5
        left = int(np.floor(place))
        part = place - left
        firsts[i] = max(min(left - 1, size - 4), 0)
        for k, distance in enumerate((part + 1.0, part, 1.0 - part, 2.0 - part)):
            pixel = max(min(left - 1 + k, size - 1), 0)
            exact[i, pixel - firsts[i]] += _keys(distance)
        most = max(most, exact[i].max())
    bits = _bits(most)
    coefs = np.zeros(4 * count, np.int32)
    for i in range(4 * count):
        weight = exact[i // 4, i % 4] * (1 << bits)
        coefs[i] = int(weight - 0.5) if weight < 0 else int(weight + 0.5)
        coefs[i] <<= BITS - bits
    return firsts, coefs, 4, taps
