"""Kernels that move entropy-coded bytes: byte stuffing and bit copies (ITU-T T.81 B.1.1.5).

Positions and shifts are ``uint64`` throughout: numba adds no negative-index arithmetic to them, so
that LLVM turns eight byte accesses into one. Mixing in a signed integer would make a float.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit import READ, i64, jit, u64

Bytes = NDArray[np.uint8]
_ALL = u64(0xFFFFFFFFFFFFFFFF)
_ONES = u64(0x0101010101010101)
_HIGHS = u64(0x8080808080808080)


@jit(f"uint64({READ}, uint64)")
def load64(data: Bytes, at: int) -> int:
    """Eight bytes from ``at`` on as a big-endian number."""
    return (
        (u64(data[at]) << u64(56))
        | (u64(data[at + u64(1)]) << u64(48))
        | (u64(data[at + u64(2)]) << u64(40))
        | (u64(data[at + u64(3)]) << u64(32))
        | (u64(data[at + u64(4)]) << u64(24))
        | (u64(data[at + u64(5)]) << u64(16))
        | (u64(data[at + u64(6)]) << u64(8))
        | u64(data[at + u64(7)])
    )


@jit("void(uint8[::1], uint64, uint64)")
def store64(out: Bytes, at: int, value: int) -> None:
    """Write a number as eight big-endian bytes."""
    out[at] = np.uint8(value >> u64(56))
    out[at + u64(1)] = np.uint8(value >> u64(48))
    out[at + u64(2)] = np.uint8(value >> u64(40))
    out[at + u64(3)] = np.uint8(value >> u64(32))
    out[at + u64(4)] = np.uint8(value >> u64(24))
    out[at + u64(5)] = np.uint8(value >> u64(16))
    out[at + u64(6)] = np.uint8(value >> u64(8))
    out[at + u64(7)] = np.uint8(value)


@jit("boolean(uint64)")
def _has_ff(word: int) -> bool:
    """True if one of the eight bytes is 0xFF: a zero byte in the complement."""
    flipped = ~word
    found: bool = ((flipped - _ONES) & word & _HIGHS) != 0
    return found


@jit(f"Tuple((int64, int64, int64, int64))({READ}, int64, uint8[::1], int64[::1])")
def unstuff(
    data: Bytes, start: int, out: Bytes, ends: NDArray[np.int64]
) -> tuple[int, int, int, int]:
    """Remove byte stuffing and restart markers from a scan.

    ``out`` gets the bare bytes, ``ends[k]`` the offset in it at which input interval k ends.

    Returns:
        (marker, at, intervals, size): the marker that ends the scan and its offset, the number of
        intervals and of bare bytes. The marker is -1 where the data end before it, or where
        restart markers are more than ``ends`` has room for or out of sequence.
    """
    size = u64(data.size)
    i = u64(start)
    o = u64(0)
    intervals = 0
    while i < size:
        while i + u64(8) <= size:
            word = load64(data, i)
            if _has_ff(word):
                break
            store64(out, o, word)
            i += u64(8)
            o += u64(8)
        while i < size and data[i] != 0xFF:
            out[o] = data[i]
            i += u64(1)
            o += u64(1)
        at = i
        while i < size and data[i] == 0xFF:
            i += u64(1)
        if i >= size:
            break
        marker = i64(data[i])
        i += u64(1)
        if marker == 0:
            out[o] = 0xFF
            o += u64(1)
            continue
        if intervals >= ends.size:
            break
        ends[intervals] = o
        intervals += 1
        if marker & 0xF8 != 0xD0:
            return marker, i64(at), intervals, i64(o)
        if marker & 7 != (intervals - 1) & 7:
            break
    return -1, i64(i), intervals, i64(o)


@jit("Tuple((uint64, uint64, uint64))(uint8[::1], uint64, uint64, uint64)")
def _flush(out: Bytes, o: int, word: int, bits: int) -> tuple[int, int, int]:
    """Write the whole bytes among the first ``bits`` bits, stuffed; return (offset, rest, bits)."""
    while bits >= u64(8):
        byte = np.uint8(word >> u64(56))
        out[o] = byte
        o += u64(1)
        if byte == 0xFF:
            out[o] = 0
            o += u64(1)
        word <<= u64(8)
        bits -= u64(8)
    return o, word, bits


@jit(f"Tuple((uint64, uint64, uint64))(uint8[::1], uint64, uint64, uint64, {READ}, uint64, uint64)")
def _copy_bits(
    out: Bytes, o: int, word: int, bits: int, data: Bytes, start: int, stop: int
) -> tuple[int, int, int]:
    """Append the bits [start, stop) of ``data`` to ``out``, 56 at a time."""
    while start + u64(56) <= stop:
        word |= (load64(data, start >> u64(3)) << (start & u64(7))) >> bits
        if _has_ff(word & ~u64(0xFF)):
            o, word, _ = _flush(out, o, word, u64(56))
        else:
            store64(out, o, word)
            o += u64(7)
            word <<= u64(56)
        word &= ~(_ALL >> bits)
        start += u64(56)
    rest = stop - start
    if rest > u64(0):
        piece = load64(data, start >> u64(3)) << (start & u64(7))
        word |= (piece & ~(_ALL >> rest)) >> bits
        o, word, bits = _flush(out, o, word, bits + rest)
    return o, word, bits


@jit(f"int64({READ}, int64[:, ::1], int64[:, ::1], int64, uint8[::1], uint32[::1])")
def emit(
    data: Bytes,
    spans: NDArray[np.int64],
    edits: NDArray[np.int64],
    n_edits: int,
    out: Bytes,
    lengths: NDArray[np.uint32],
) -> int:
    """Write the output intervals, each with its marker: RSTn, and EOI after the last.

    Args:
        data: bare bytes, at least 8 more than are used.
        spans: (first bit, bit after the last) in ``data`` of each output interval.
        edits: (bit position, old length, new bits, new length), ascending.
        n_edits: how many of them count.
        out: receives the scan; its size must allow for every byte being stuffed.
        lengths: receives the number of bytes of each interval, marker included.

    Returns:
        the number of bytes written.
    """
    o = u64(0)
    edit = 0
    for k in range(lengths.size):
        begin = o
        position = u64(spans[k, 0])
        stop = spans[k, 1]
        word = u64(0)
        bits = u64(0)
        while edit < n_edits and edits[edit, 0] < stop:
            at = u64(edits[edit, 0])
            o, word, bits = _copy_bits(out, o, word, bits, data, position, at)
            length = u64(edits[edit, 3])
            if length > u64(0):
                word |= (u64(edits[edit, 2]) << (u64(64) - length)) >> bits
                o, word, bits = _flush(out, o, word, bits + length)
            position = at + u64(edits[edit, 1])
            edit += 1
        o, word, bits = _copy_bits(out, o, word, bits, data, position, u64(stop))
        if bits > u64(0):
            o, word, bits = _flush(out, o, word | (_ALL >> bits), u64(8))
        out[o] = 0xFF
        out[o + u64(1)] = 0xD9 if k == lengths.size - 1 else 0xD0 + (k & 7)
        o += u64(2)
        lengths[k] = o - begin
    return i64(o)
