"""A shuffled order that is computed, not stored: any part of it costs the same as its start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt
from operator import index
from typing import SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from ...errors import OptionError

_BLOCK = 8192  # indices computed at a time, so that intermediate arrays stay in the cache
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_A, _B, _27, _30, _31, _32 = map(np.uint64, (*_MULTIPLIERS, 27, 30, 31, 32))


class Permutation:
    """A pseudo-random order of ``range(length)``, chosen by ``seed``, in constant memory.

    ``p[i]`` is the element at position ``i``. Nothing is stored: position ``i`` is enciphered by
    a small keyed block cipher whose domain is ``range(length)``, so starting in the middle of
    10⁹ elements costs nothing. The same length and seed give the same order on every platform and
    in every version, since checkpoints name a position in it.

    The cipher is the generalised Feistel network of Black and Rogaway ("Ciphers with arbitrary
    finite domains", CT-RSA 2002): a position is a pair in Z_a × Z_b, with a = ⌈√length⌉ and
    b = ⌈length / a⌉, and rounds add a keyed hash of one half to the other; the few results at or
    above ``length`` are enciphered again (cycle walking). The hash is the finaliser of SplitMix64
    (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). That
    such networks shuffle well enough is shown by Mitchell et al. ("Bandwidth-optimal random
    shuffling for GPUs", ACM TOPC 9(1), 2022); no secret should depend on one.

    Immutable, so any number of threads may use one.

    Args:
        length: number of elements, 0 ≤ length < 2⁶³.
        seed: 0 ≤ seed < 2⁶⁴.

    Raises:
        OptionError: ``length`` or ``seed`` is out of its range.

    Example:
        >>> order = fastdata.Permutation(10, seed=0)
        >>> sorted(order) == list(range(10))
        True
        >>> huge = fastdata.Permutation(10**12, seed=0)
        >>> 0 <= huge[10**11] < 10**12
        True
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length = index(length)
        if not 0 <= self.length < 2**63:
            raise OptionError(f"length must be from 0 to 2**63 - 1, got {length}")
        self.seed = checked_seed(seed)
        columns = isqrt(max(self.length, 1) - 1) + 1
        rows = -(-max(self.length, 1) // columns)
        self._columns, self._rows = np.uint64(columns), np.uint64(rows)
        rounds = 8 if self.length >= 2**16 else 32  # short halves mix slowly
        self._keys = [np.uint64(derived_seed(self.seed, i)) for i in range(rounds)]

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, position: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, position: slice) -> NDArray[np.int64]: ...
    def __getitem__(self, position: SupportsIndex | slice) -> int | NDArray[np.int64]:
        """The element at a position, or those of a slice as an int64 array."""
        chosen = range(self.length)[position]
        return self.take(chosen) if isinstance(chosen, range) else int(self.take([chosen])[0])

    def __iter__(self) -> Iterator[int]:
        for start in range(0, self.length, _BLOCK):
            yield from self[start : start + _BLOCK].tolist()

    def take(self, positions: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
        """The elements at ``positions`` (integers, of any shape), as an int64 array of that shape.

        Raises:
            IndexError: a position is negative, not below the length, or no integer.
        """
        wanted = _as_array(positions)
        if wanted.size and not 0 <= int(wanted.min()) <= int(wanted.max()) < self.length:
            raise IndexError(f"positions must be from 0 to {self.length - 1}")
        flat = wanted.ravel()
        found = np.empty(flat.shape, np.int64)
        for start in range(0, flat.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            found[block] = self._element(flat[block].astype(np.uint64))
        return found.reshape(wanted.shape)

    def _element(self, position: NDArray[np.uint64]) -> NDArray[np.uint64]:
        element = self._enciphered(position)
        while (outside := np.flatnonzero(element >= np.uint64(self.length))).size:
            element[outside] = self._enciphered(element[outside])
        return element

    def _enciphered(self, pair: NDArray[np.uint64]) -> NDArray[np.uint64]:
        row = pair // self._columns
        column = pair - row * self._columns
        for even, odd in zip(self._keys[::2], self._keys[1::2], strict=True):
            column = _shifted(column, row, even, self._columns)
            row = _shifted(row, column, odd, self._rows)
        return row * self._columns + column

    def __repr__(self) -> str:
        return f"Permutation({self.length}, seed={self.seed})"


def derived_seed(seed: int, number: int) -> int:
    """The 64-bit seed of part ``number`` (such as an epoch) of what ``seed`` stands for."""
    return _mixed(_mixed(seed) + _GOLDEN * (number + 1))


def checked_seed(seed: int) -> int:
    """``seed``, if it is a 64-bit number; raises ``OptionError`` otherwise."""
    if not 0 <= index(seed) < 2**64:
        raise OptionError(f"seed must be a 64-bit number >= 0, got {seed}")
    return index(seed)


def _as_array(positions: Sequence[int] | NDArray[np.integer]) -> NDArray[np.integer]:
    if isinstance(positions, range):
        return np.arange(positions.start, positions.stop, positions.step, dtype=np.int64)
    array = np.asarray(positions)
    if array.size and array.dtype.kind not in "iu":
        raise IndexError(f"positions must be integers, got {array.dtype}")
    return array


def _mixed(value: int) -> int:
    value &= _MASK
    value = (value ^ value >> 30) * _MULTIPLIERS[0] & _MASK
    value = (value ^ value >> 27) * _MULTIPLIERS[1] & _MASK
    return value ^ value >> 31


def _shifted(
    half: NDArray[np.uint64], other: NDArray[np.uint64], key: np.uint64, size: np.uint64
) -> NDArray[np.uint64]:
    """``half`` plus a keyed hash of ``other``, modulo ``size`` < 2³²."""
    bits = other + key
    bits ^= bits >> _30
    bits *= _A
    bits ^= bits >> _27
    bits *= _B
    bits ^= bits >> _31
    bits >>= _32
    bits *= size
    bits >>= _32
    bits += half
    # Below size the difference wraps around to a huge number.
    reduced: NDArray[np.uint64] = np.minimum(bits, bits - size)
    return reduced
