"""The kernel that walks over all blocks of a scan and notes what restart markers would change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit import i64, jit, u64
from ._bits import load64
from ._tables import EOB, LOOK, combine, fill, ranges

Ints = NDArray[np.int64]
_SHIFT = u64(64 - LOOK)
_LAST_CATEGORY = 11  # of a DC difference at 8 bits a sample (T.81 table F.1)


@jit("int64(uint64, int64[::1], int64[::1], uint8[::1])")
def _long_code(word: int, maximum: Ints, offset: Ints, symbols: NDArray[np.uint8]) -> int:
    """Decode the code at the top of ``word``: length << 8 | symbol, or -1 where there is none."""
    for length in range(1, 17):
        code = i64(word >> u64(64 - length))
        if code <= maximum[length]:
            return length << 8 | i64(symbols[code + offset[length]])
    return -1


@jit(
    "Tuple((int64, int64))(uint8[::1], int64[::1], int64[::1], uint8[:, ::1], uint8[:, ::1],"
    " int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1])"
)
def walk(
    data: NDArray[np.uint8],
    ends: Ints,
    shape: Ints,
    counts: NDArray[np.uint8],
    symbols: NDArray[np.uint8],
    blocks: Ints,
    codes: Ints,
    spans: Ints,
    edits: Ints,
) -> tuple[int, int]:
    """Find the bits of each output interval, and the DC codes in it that must change.

    A difference is coded against the previous block of its component, and against 0 after a restart
    (T.81 F.1.1.5.1): so only the first block of each component changes after a restart that comes
    or goes. One function, because the state of the bit reader must stay in registers.

    Args:
        data: bare bytes of the scan with 4,096 zero bytes after them, more than one MCU can take.
        ends: offset in ``data`` of each input interval's end.
        shape: MCUs, MCUs to an input interval, MCUs to an output interval.
        counts, symbols: Huffman tables as in DHT; rows 0 to 3 are DC tables, 4 to 7 AC tables.
        blocks: for each block of an MCU: component, row of its DC table, row of its AC table.
        codes: for each DC table and category: code | length << 16, and 1 << 32 where the code was
            added to the table; 0 where there is none.
        spans: receives first bit and end of each output interval.
        edits: receives bit position, old length, new bits, new length of each change.

    Returns:
        (number of edits, DC tables of which an added code is used, as bits); (-1, 0) where the scan
        is damaged; (-2, 0) where a DC table has no room for a code that is needed.
    """
    look = np.empty((8, 1 << LOOK), np.uint16)
    multi = np.empty((4, 1 << LOOK), np.uint16)
    maximum = np.empty((8, 17), np.int64)
    offset = np.empty((8, 17), np.int64)
    for row in range(8):
        if counts[row].sum() > 0:
            ranges(counts[row], maximum[row], offset[row])
            fill(counts[row], symbols[row], row < 4, look[row])
            if row >= 4:
                combine(look[row], multi[row - 4])

    mcus, in_interval, out_interval = shape[0], shape[1], shape[2]
    previous = np.zeros(4, np.int64)
    change = np.zeros(4, np.int64)
    n_edits = 0
    used = 0
    segment = 0
    segment_end = ends[0] * 8
    span = -1
    until_in = in_interval
    until_out = 0
    word = u64(0)  # the next bits, left-aligned
    have = u64(0)  # how many of them are valid
    at = u64(0)  # offset of the next byte to load
    for _ in range(mcus):
        position = i64(at * u64(8) - have)
        here = position
        if until_in == 0:
            here = segment_end
            if segment_end - position > 7:
                return -1, 0
            segment += 1
            at = u64(ends[segment - 1])
            have = u64(0)
            word = u64(0)
            segment_end = ends[segment] * 8
            until_in = in_interval
            for c in range(4):
                change[c] -= previous[c]
                previous[c] = 0
            if until_out != 0 and here > position:
                edits[n_edits, 0] = position
                edits[n_edits, 1] = here - position
                edits[n_edits, 2] = 0
                edits[n_edits, 3] = 0
                n_edits += 1
        if until_out == 0:
            if span >= 0:
                spans[span, 1] = position
            span += 1
            spans[span, 0] = here
            until_out = out_interval
            for c in range(4):
                change[c] = previous[c]
        until_in -= 1
        until_out -= 1
        for b in range(blocks.shape[0]):
            c = blocks[b, 0]
            dc = blocks[b, 1]
            ac = blocks[b, 2]

            word |= load64(data, at) >> have
            at += (u64(63) - have) >> u64(3)
            have |= u64(56)
            entry = i64(look[dc, word >> _SHIFT])
            length = entry & 31
            size = entry >> 5
            if entry == 0:
                found = _long_code(word, maximum[dc], offset[dc], symbols[dc])
                if found < 0:
                    return -1, 0
                length = found >> 8
                size = found & 255
            if size > _LAST_CATEGORY:
                return -1, 0
            start = i64(at * u64(8) - have)
            word <<= u64(length)
            difference = i64((word >> u64(1)) >> u64(63 - size))
            if difference < (1 << size) >> 1:
                difference -= (1 << size) - 1
            word <<= u64(size)
            have -= u64(length + size)
            previous[c] += difference
            if change[c] != 0:
                new = difference + change[c]
                change[c] = 0
                category = 0
                while (abs(new) >> category) > 0:
                    category += 1
                if category > _LAST_CATEGORY:
                    return -1, 0
                code = codes[dc, category]
                if code == 0:
                    return -2, 0
                if code >> 32:
                    used |= 1 << dc
                if new < 0:
                    new += (1 << category) - 1
                edits[n_edits, 0] = start
                edits[n_edits, 1] = length + size
                edits[n_edits, 2] = (code & 0xFFFF) << category | new
                edits[n_edits, 3] = (code >> 16 & 31) + category
                n_edits += 1

            k = 1
            while k < 64:
                word |= load64(data, at) >> have
                at += (u64(63) - have) >> u64(3)
                have |= u64(56)
                entry = i64(multi[ac - 4, word >> _SHIFT])
                reached = k + (entry >> 5 & 63)
                if entry != 0 and reached < 64:
                    word <<= u64(entry & 31)
                    have -= u64(entry & 31)
                    k = reached
                    if entry & EOB:
                        break
                    continue
                # A long code, or the end of the block among the codes of the entry: one alone.
                found = _long_code(word, maximum[ac], offset[ac], symbols[ac])
                if found < 0:
                    return -1, 0
                size = found & 15
                length = (found >> 8) + size
                word <<= u64(length)
                have -= u64(length)
                if size == 0 and found & 255 != 0xF0:
                    break
                k += (found >> 4 & 15) + 1
            if k > 64:
                return -1, 0
        if i64(at * u64(8) - have) > segment_end:
            return -1, 0
    position = i64(at * u64(8) - have)
    spans[span, 1] = position
    if segment_end - position > 7 or segment != ends.size - 1:
        return -1, 0
    return n_edits, used
