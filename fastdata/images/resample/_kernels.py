"""The compiled half of ``resample``: filter tables and the two passes.

Importing this module imports numba and compiles ``resample``, or loads it from numba's cache.

A pixel has 8 bits and a coefficient 22 fractional bits. An output's coefficients sum to 1, their
magnitudes to less than 2 (bilinear has none below 0), and rounding adds at most half a unit for
each of fewer than 2²² taps. So no partial sum reaches 255 × 2 × 2²² + 2²¹ < 2³¹: 32-bit integers
hold it, as they do in Pillow.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..jit import jit, part_of_kernel
from ._plain import cubic_table
from ._vectors import BITS, copy, interleave, weigh1, weigh16, weigh64, weigh_columns

types: Any = numba.types  # numba's annotations are partial, and differ between its releases

Bytes = NDArray[np.uint8]
Table = tuple[NDArray[np.int32], NDArray[np.int32], int, int]

IMAGE = types.Array(types.uint8, 3, "A", readonly=True)
OUT = types.Array(types.uint8, 3, "C")


@part_of_kernel
def _filter(x: float, cubic: bool) -> float:
    x = abs(x)
    if not cubic:
        return 1.0 - x if x < 1.0 else 0.0
    if x < 1.0:  # Keys' cubic with a = -0.5
        return (1.5 * x - 2.5) * x * x + 1.0
    return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5 if x < 2.0 else 0.0


@part_of_kernel
def _weights(size: int, new: int, i: int, cubic: bool, coefs: NDArray[np.int32]) -> tuple[int, int]:
    """Write the fixed-point coefficients of output ``i``; return its first pixel and their number.

    Pillow's arithmetic, operation by operation: another order of the same steps rounds differently.
    """
    scale = size / new
    stretch = max(scale, 1.0)
    support = (2.0 if cubic else 1.0) * stretch
    inverse = 1.0 / stretch
    centre = (i + 0.5) * scale
    first = max(int(centre - support + 0.5), 0)
    taps = min(int(centre + support + 0.5), size) - first
    total = 0.0
    for k in range(taps):
        total += _filter((k + first - centre + 0.5) * inverse, cubic)
    for k in range(taps):
        weight = _filter((k + first - centre + 0.5) * inverse, cubic)
        weight = (weight / total if total != 0.0 else weight) * (1 << BITS)
        coefs[k] = int(weight - 0.5) if weight < 0 else int(weight + 0.5)
    while taps > 1 and coefs[taps - 1] == 0:
        taps -= 1
    return first, taps


@part_of_kernel
def _table(size: int, new: int, cubic: bool, flip: bool) -> Table:
    """For each output: its first input, then its coefficients, ``pitch`` apart.

    Returned with ``pitch`` and the number of taps. That is the same for all, so that the loop over
    taps is predictable; a window that would pass the end begins earlier, with zeros in front. The
    last output is repeated up to a multiple of 4. With ``flip`` the outputs are in reverse order.
    """
    pitch = int(np.ceil((2.0 if cubic else 1.0) * max(size / new, 1.0))) * 2 + 1
    rows = (new + 3) // 4 * 4
    firsts, counts = np.empty(rows, np.int32), np.empty(rows, np.int32)
    coefs = np.zeros(rows * pitch, np.int32)
    taps = 0
    for i in range(rows):
        j = min(i, new - 1)
        j = new - 1 - j if flip else j
        firsts[i], counts[i] = _weights(size, new, j, cubic, coefs[i * pitch : (i + 1) * pitch])
        taps = max(taps, counts[i])
    for i in range(rows):
        shift = firsts[i] + taps - size
        if shift > 0:
            firsts[i] -= shift
            row = coefs[i * pitch : (i + 1) * pitch]
            for k in range(taps - 1, -1, -1):
                row[k] = row[k - shift] if k >= shift else 0
    return firsts, coefs, pitch, taps


@part_of_kernel
def _vertical(
    dst: Bytes, d_pitch: int, rows: int, src: Bytes, s_pitch: int, count: int, table: Table
) -> None:
    """Each of ``rows`` output rows: the weighted sum of input rows of ``count`` bytes."""
    firsts, coefs, pitch, taps = table
    for y in range(rows):
        d, s, c = y * d_pitch, firsts[y] * s_pitch, y * pitch
        x = 0
        while x < count and count >= 64:
            x = min(x, count - 64)  # the last run overlaps the one before
            weigh64(dst, d + x, src, s + x, s_pitch, coefs, c, taps)
            x += 64
        while x < count and count >= 16:
            x = min(x, count - 16)
            weigh16(dst, d + x, src, s + x, s_pitch, coefs, c, taps)
            x += 16
        while x < count:
            weigh1(dst, d + x, src, s + x, s_pitch, coefs, c, taps)
            x += 1


@part_of_kernel
def _columns(block: Bytes, src: Bytes, s: tuple[int, int, int, int], width: int) -> None:
    for x in range(0, width, 4):
        at = 3 * x
        interleave(block, 16 * x, src, s[0] + at, s[1] + at, s[2] + at, s[3] + at)


@part_of_kernel
def _load_rows(
    block: Bytes, spare: Bytes, src: Bytes, s: tuple[int, int, int, int], width: int, end: int
) -> None:
    """Interleave 4 whole rows, by way of ``spare`` where a read would pass ``end``."""
    if s[3] + 3 * width + 13 <= end:
        _columns(block, src, s, width)
        return
    pitch = 3 * width + 16
    for i in range(4):
        copy(spare, i * pitch, src, s[i], 3 * width)
    _columns(block, spare, (0, pitch, 2 * pitch, 3 * pitch), width)


@part_of_kernel
def _offsets(y: int, rows: int, pitch: int) -> tuple[int, int, int, int]:
    """Offsets of 4 rows from ``y`` on; beyond the last one, that one again."""
    last = rows - 1
    return y * pitch, min(y + 1, last) * pitch, min(y + 2, last) * pitch, min(y + 3, last) * pitch


@part_of_kernel
def _horizontal(
    dst: Bytes, d_pitch: int, width: int, src: Bytes, s_pitch: int, end: int, rows: int,
    old: int, table: Table,
) -> None:  # fmt: skip
    """Each of ``rows`` rows of ``old`` pixels to ``width`` pixels; ``end`` is the source's size.

    Four rows at a time, their pixels padded to 4 bytes and interleaved: then the pixels of one
    column are 16 neighbouring bytes, and a column is weighed like a row in the vertical pass.
    Where ``d_pitch`` leaves room, the last pixel of a row is repeated behind its end.
    """
    firsts, coefs, pitch, taps = table
    block, spare = np.empty(16 * (old + 4), np.uint8), np.empty(4 * (3 * old + 16), np.uint8)
    for y in range(0, rows, 4):
        _load_rows(block, spare, src, _offsets(y, rows, s_pitch), old, end)
        d0, d1, d2, d3 = _offsets(y, rows, d_pitch)
        for x in range(0, width, 4):
            s = 16 * firsts[x], 16 * firsts[x + 1], 16 * firsts[x + 2], 16 * firsts[x + 3]
            c = x * pitch, (x + 1) * pitch, (x + 2) * pitch, (x + 3) * pitch
            at = 3 * x
            if at + 12 <= d_pitch:
                d = d0 + at, d1 + at, d2 + at, d3 + at
                weigh_columns(dst, d, block, s, coefs, c, taps)
            else:
                weigh_columns(spare, (0, 12, 24, 36), block, s, coefs, c, taps)
                copy(dst, d0 + at, spare, 0, d_pitch - at)
                copy(dst, d1 + at, spare, 12, d_pitch - at)
                copy(dst, d2 + at, spare, 24, d_pitch - at)
                copy(dst, d3 + at, spare, 36, d_pitch - at)


@part_of_kernel
def _any_table(size: int, new: int, cubic: bool, antialias: bool, flip: bool) -> Table:
    if antialias:
        return _table(size, new, cubic, flip)
    return cubic_table(size, new, flip)


@jit(types.void(IMAGE, OUT, *[types.boolean] * 3), error_model="numpy")
def resample(image: Bytes, out: Bytes, flip: bool, cubic: bool, antialias: bool) -> None:
    """Resize ``image`` into ``out``; see ``fastdata.images.resample``.

    Args:
        image: H × W × 3; its pixels and channels are contiguous and its row stride is not negative.
        out: h × w × 3, apart from ``image``; no side of either is 0.
        flip: mirror left to right.
        cubic: bicubic instead of bilinear.
        antialias: with Pillow's filters; otherwise torch's, of which there is only the cubic here.
    """
    old_height, old_width = image.shape[:2]
    height, width = out.shape[:2]
    stride = image.strides[0]
    end = (old_height - 1) * stride + 3 * old_width
    columns = _any_table(old_width, width, cubic, antialias, flip)
    rows = _any_table(old_height, height, cubic, antialias, False)
    if old_width == width and not flip:
        _vertical(out, 3 * width, height, image, stride, 3 * width, rows)
    elif old_height == height:
        _horizontal(
            out, 3 * width, width, image, stride, end, height, old_width, columns
        )  # fmt: skip
    elif antialias and old_height > height and old_height - height > 2 * (old_width - width):
        pitch = 3 * old_width
        middle = np.empty(height * pitch + 16, np.uint8)
        _vertical(middle, pitch, height, image, stride, pitch, rows)
        _horizontal(out, 3 * width, width, middle, pitch, middle.size, height, old_width, columns)
    else:
        pitch = 3 * ((width + 3) // 4 * 4)
        middle = np.empty(old_height * pitch, np.uint8)
        _horizontal(middle, pitch, width, image, stride, end, old_height, old_width, columns)
        _vertical(out, 3 * width, height, middle, pitch, 3 * width, rows)
