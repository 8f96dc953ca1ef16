"""The kernel that cuts a box out of a record without decoding it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit import READ, i64, jit
from ._header import SIGNATURE
from ._index import TABLE, VERSION

Bytes = NDArray[np.uint8]

WHOLE, DAMAGED, OUTSIDE = 0, -1, -2
SLACK = 64  # bytes by which ``out`` must be larger than the record

# SOI and the smallest JFIF APP0 (version 1.1, no units, density 1 by 1, no thumbnail).
_START = np.frombuffer(b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0", np.uint8)
_MARK = np.frombuffer(SIGNATURE + bytes([VERSION]), np.uint8)
_TABLE = TABLE


@jit(f"int64({READ}, int64)")
def _be16(data: Bytes, at: int) -> int:
    return i64(data[at]) << 8 | i64(data[at + 1])


@jit(f"int64({READ}, int64)")
def _be32(data: Bytes, at: int) -> int:
    return _be16(data, at) << 16 | _be16(data, at + 2)


@jit(f"void(uint8[::1], {READ})")
def _copy(to: Bytes, source: Bytes) -> None:
    """Copy one byte after the other: becomes a memcpy, unlike an assignment to a slice."""
    for i in range(to.size):
        to[i] = source[i]


@jit(f"int64({READ}, int64, int64, int64, boolean)")
def _sum(data: Bytes, table: int, first: int, stop: int, wide: bool) -> int:
    """The number of bytes of the intervals [first, stop)."""
    total = 0
    if wide:
        for i in range(first, stop):
            total += _be32(data, table + 4 * i)
    else:
        for i in range(first, stop):
            total += _be16(data, table + 2 * i)
    return total


@jit(f"boolean({READ}, int64)")
def _valid(data: Bytes, index: int) -> bool:
    """True if all that the index says lies in the record and agrees with its header.

    This makes every offset below safe to use, whatever the bytes are: only the interval lengths
    remain to be checked, where they are added up.
    """
    size = data.size
    if index < 2 or index > size - _TABLE or data[index] != 0xFF or data[index + 1] != 0xE9:
        return False
    for i in range(_MARK.size):
        if data[index + 4 + i] != _MARK[i]:
            return False
    head = index + 2 + _be16(data, index + 2)
    mcu_height = i64(data[index + 17])
    mcu_width = i64(data[index + 18])
    interval = _be16(data, index + 19)
    height = _be16(data, index + 21)
    width = _be16(data, index + 23)
    sof = _be32(data, index + 25)
    scan = _be32(data, index + 29)
    length = _be32(data, index + 33)
    if mcu_height == 0 or mcu_width == 0 or interval == 0 or height == 0 or width == 0:
        return False
    columns = (width + mcu_width - 1) // mcu_width
    intervals = columns // interval * ((height + mcu_height - 1) // mcu_height)
    entry = 4 if data[index + 14] & 2 else 2
    if columns % interval != 0 or head != index + _TABLE + entry * intervals:
        return False
    sof += index
    scan += index
    if sof < head + 6 or sof + 9 > scan or length < 4 or scan + length > size:
        return False
    return (
        _be32(data, head) == 0xFFDD0004
        and _be16(data, head + 4) == interval
        and (_be16(data, sof) == 0xFFC0 or _be16(data, sof) == 0xFFC1)
        and _be16(data, sof + 5) == height
        and _be16(data, sof + 7) == width
        and _be16(data, scan + length - 2) == 0xFFD9
        and _sum(data, index + _TABLE, 0, intervals, entry == 4) == length
    )


@jit(f"Tuple((int64, int64, int64))({READ}, int64, int64, int64, int64, int64, int64, uint8[::1])")
def cut(
    data: Bytes, index: int, top: int, left: int, height: int, width: int, least: int, out: Bytes
) -> tuple[int, int, int]:
    """Write the JPEG that has only the restart intervals which a box touches.

    One kernel, because a call into each part would cost as much as its work.

    Args:
        data: the record.
        index: offset of its index segment.
        top, left, height, width: the box in pixels.
        least: bytes of the scan to leave out at least, about; decoding it whole is faster below.
        out: receives the JPEG; at least ``SLACK`` bytes larger than the record.

    Returns:
        (size, top, left): bytes written, and where the box begins in the smaller image; or
        (WHOLE, DAMAGED or OUTSIDE, 0, 0).
    """
    if not _valid(data, index) or out.size < data.size + SLACK:
        return DAMAGED, 0, 0
    flags = data[index + 14]
    margin_y = i64(data[index + 15])
    margin_x = i64(data[index + 16])
    mcu_height = i64(data[index + 17])
    mcu_width = i64(data[index + 18])
    interval = _be16(data, index + 19)
    image_height = _be16(data, index + 21)
    image_width = _be16(data, index + 23)
    if top < 0 or left < 0 or height < 1 or width < 1:
        return OUTSIDE, 0, 0
    if top > image_height - height or left > image_width - width:
        return OUTSIDE, 0, 0

    step = interval * mcu_width
    per_row = (image_width + step - 1) // step
    rows = (image_height + mcu_height - 1) // mcu_height
    row = max(0, top - margin_y) // mcu_height
    row_stop = min(rows, (top + height + margin_y + mcu_height - 1) // mcu_height)
    column = max(0, left - margin_x) // step
    column_stop = min(per_row, (left + width + margin_x + step - 1) // step)
    length = _be32(data, index + 33)
    part = (row_stop - row) * (column_stop - column)
    if length - length * part // (rows * per_row) < least:
        return WHOLE, 0, 0

    o = _START.size if flags & 1 else 2
    for i in range(o):
        out[i] = _START[i]
    scan = index + _be32(data, index + 29)
    head = index + 2 + _be16(data, index + 2)
    size_at = o + index + _be32(data, index + 25) + 5 - head
    _copy(out[o : o + scan - head], data[head:scan])
    o += scan - head
    new_height = min(image_height, row_stop * mcu_height) - row * mcu_height
    new_width = min(image_width, column_stop * step) - column * step
    out[size_at] = new_height >> 8
    out[size_at + 1] = new_height & 255
    out[size_at + 2] = new_width >> 8
    out[size_at + 3] = new_width & 255

    wide = flags & 2 != 0
    table = index + _TABLE
    k = row * per_row + column
    at = scan + _sum(data, table, 0, k, wide)
    if k > 0 and _be16(data, at - 2) != 0xFFD0 + ((k - 1) & 7):
        return DAMAGED, 0, 0
    number = 0
    for _ in range(row, row_stop):
        n = _sum(data, table, k, k + column_stop - column, wide)
        _copy(out[o : o + n], data[at : at + n])
        at += n
        for i in range(k, k + column_stop - column):
            n = _sum(data, table, i, i + 1, wide)
            marker = 0xD0 + (i & 7) if i + 1 < rows * per_row else 0xD9
            if n < 2 or out[o + n - 2] != 0xFF or out[o + n - 1] != marker:
                return DAMAGED, 0, 0
            o += n
            out[o - 1] = 0xD0 + (number & 7)
            number += 1
        at += _sum(data, table, k + column_stop - column, k + per_row, wide)
        k += per_row
    out[o - 1] = 0xD9
    return o, top - row * mcu_height, left - column * step
