"""Kernels that turn Huffman tables into lookups (ITU-T T.81 Annex C and F.2.2.3).

A lookup is indexed by the next ``LOOK`` bits. An entry of 0 means that no code of at most ``LOOK``
bits starts there; ``maximum`` and ``offset`` then decode by length: a code of n bits is valid up to
``maximum[n]``, and its symbol is ``symbols[code + offset[n]]``.

DC entry: length of the code | category << 5.
AC entry: bits to skip | coefficients to advance << 5 | ``EOB``. Codes are taken together with the
value bits that follow them, and as many of them as are determined by the ``LOOK`` bits share an
entry, so that one access passes over two coefficients or three.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit import i64, jit

LOOK = 12
EOB = 1 << 11

Lookup = NDArray[np.uint16]
Ints = NDArray[np.int64]


@jit("void(uint8[::1], int64[::1], int64[::1])")
def ranges(counts: NDArray[np.uint8], maximum: Ints, offset: Ints) -> None:
    """Fill ``maximum`` and ``offset``, indexed by code length 1 to 16 (T.81 figure F.15)."""
    code = 0
    first = 0
    for length in range(1, 17):
        n = i64(counts[length - 1])
        offset[length] = first - code
        maximum[length] = code + n - 1
        code = (code + n) << 1
        first += n


@jit("void(uint8[::1], uint8[::1], boolean, uint16[::1])")
def fill(counts: NDArray[np.uint8], symbols: NDArray[np.uint8], dc: bool, look: Lookup) -> None:
    """Fill a lookup with one code to an entry. The codes must fit, as ``Header`` makes sure."""
    look[:] = 0
    at = 0
    first = 0
    for length in range(1, LOOK + 1):
        width = 1 << (LOOK - length)
        for i in range(first, first + counts[length - 1]):
            symbol = i64(symbols[i])
            run = symbol >> 4
            size = symbol & 15
            if dc:
                entry = length | symbol << 5
            elif size == 0 and run != 15:
                entry = length | EOB
            else:
                entry = (length + size) | (run + 1) << 5
            look[at : at + width] = entry
            at += width
        first += counts[length - 1]


@jit("void(uint16[::1], uint16[::1])")
def combine(single: Lookup, multi: Lookup) -> None:
    """Fill an AC lookup in which an entry passes over all the codes that its bits determine."""
    for index in range(1 << LOOK):
        entry = i64(single[index])
        bits = entry & 31
        advance = entry >> 5 & 63
        last = entry & EOB
        while 0 < bits < LOOK and not last:
            following = i64(single[index << bits & (1 << LOOK) - 1])
            value_bits = bits + (following & 31)
            more = advance + (following >> 5 & 63)
            # Within the known bits: the rest of the index is zeros, which are not the data's.
            if following == 0 or value_bits > LOOK or more > 63:
                break
            bits = value_bits
            advance = more
            last = following & EOB
        multi[index] = bits | advance << 5 | last
