"""The names of ten million samples in two arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import PackFormatError


class KeyTable(Sequence[str]):
    """Names by index, held as one UTF-8 blob and its offsets instead of as Python strings.

    Args:
        offsets: int64 array of ``len + 1`` byte offsets into ``blob``, starting at 0.
        blob: uint8 array of the names' UTF-8 bytes, one after the other.

    Both may be memory-mapped; a name is decoded when it is asked for, and one that is damaged is a
    PackFormatError then. Read-only, safe to share between threads and forked processes.
    """

    __slots__ = ("blob", "offsets")

    def __init__(self, offsets: NDArray[np.int64], blob: NDArray[np.uint8]) -> None:
        self.offsets = offsets
        self.blob = blob

    @classmethod
    def from_strings(cls, names: Iterable[str]) -> KeyTable:
        """Build a table in memory; ``names`` is consumed one at a time."""
        offsets, blob = array("q", [0]), bytearray()
        for name in names:
            blob += name.encode("utf-8")
            offsets.append(len(blob))
        return cls(np.frombuffer(offsets, np.int64), np.frombuffer(bytes(blob), np.uint8))

    def part(self, first: int, stop: int) -> KeyTable:
        """The names ``first`` to ``stop`` − 1, copied: small when pickled. None beyond the end."""
        offsets = self.offsets[first : stop + 1]
        if len(offsets) == 0:
            return KeyTable.from_strings(())
        return KeyTable(offsets - offsets[0], np.array(self.blob[offsets[0] : offsets[-1]]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]  # negative indices, and IndexError past either end
        try:
            return self.blob[self.offsets[i] : self.offsets[i + 1]].tobytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise PackFormatError(f"the key of sample {i} is damaged: not UTF-8") from error
