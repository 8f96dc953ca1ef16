"""The kernel of ``crc32c``: eight bytes a step ("slicing-by-8", Kounavis and Berry, 2005)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...images import READ, i64, jit


@jit(f"int64({READ}, uint32[:, ::1])")
def update(data: NDArray[np.uint8], tables: NDArray[np.uint32]) -> int:
    """The CRC's register after all of ``data``, before it is inverted."""
    crc, at, end = 0xFFFFFFFF, 0, len(data)
    while at + 8 <= end:
        crc ^= (
            i64(data[at])
            | (i64(data[at + 1]) << 8)
            | (i64(data[at + 2]) << 16)
            | (i64(data[at + 3]) << 24)
        )
        crc = (
            i64(tables[7, crc & 0xFF])
            ^ i64(tables[6, (crc >> 8) & 0xFF])
            ^ i64(tables[5, (crc >> 16) & 0xFF])
            ^ i64(tables[4, (crc >> 24) & 0xFF])
            ^ i64(tables[3, data[at + 4]])
            ^ i64(tables[2, data[at + 5]])
            ^ i64(tables[1, data[at + 6]])
            ^ i64(tables[0, data[at + 7]])
        )
        at += 8
    while at < end:
        crc = (crc >> 8) ^ i64(tables[0, (crc ^ i64(data[at])) & 0xFF])
        at += 1
    return crc
