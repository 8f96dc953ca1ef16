"""The plain records that travel through the package.

``Sample`` is one image on its way into a pack, ``Record`` the same image encoded, ``TABLE_DTYPE``
its row in the pack's table, and ``KeyTable`` the names of all of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

#: One row a sample, 32 bytes, little-endian. ``orientation`` is EXIF's 1 to 8. ``slice_index`` is
#: the offset of a sliceable JPEG's index in its record, 0 if it is none. The rest is zero.
TABLE_DTYPE = np.dtype(
    [
        ("target", "<i8"),
        ("bytes", "<u4"),
        ("crc32", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("orientation", "u1"),
        ("flags", "u1"),
        ("reserved", "<u2"),
        ("slice_index", "<u4"),
    ]
)


class Sample(NamedTuple):
    """One image of a source: its source-relative POSIX name and its integer target (−1: none)."""

    key: str
    target: int


@dataclass(frozen=True, slots=True)
class Record:
    """An encoded image, ready to be stored.

    ``height`` and ``width`` are those of the stored pixels, before any EXIF rotation;
    ``crc32`` is zlib's CRC-32 of ``data``; ``slice_index`` is the offset of a sliceable JPEG's
    index (0: it is none), and ``verbatim`` why an image that was to be sliceable is not.
    """

    data: bytes
    height: int
    width: int
    orientation: int
    crc32: int
    slice_index: int = 0
    verbatim: str = ""


class EncodedImage(NamedTuple):
    """A stored image on its way to the decoder.

    ``height`` and ``width`` are those of the stored pixels, or 0 where only decoding can tell;
    ``orientation`` is the EXIF orientation to apply; ``raw`` says that ``data`` is the pixels;
    ``slice_index`` is the offset of a sliceable JPEG's index in ``data``, or 0.
    """

    data: bytes | memoryview
    height: int = 0
    width: int = 0
    orientation: int = 1
    raw: bool = False
    slice_index: int = 0

    @property
    def oriented_size(self) -> tuple[int, int]:
        """Height and width after ``orientation``."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


class KeyTable(Sequence[str]):
    """Names by index, held as one UTF-8 blob and its offsets instead of as Python strings.

    Args:
        offsets: int64 array of ``len + 1`` byte offsets into ``blob``, starting at 0.
        blob: uint8 array of the names' UTF-8 bytes, one after the other.

    Both may be memory-mapped; a name is decoded when it is asked for. Read-only, safe to share
    between threads and forked processes.
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
        return self.blob[self.offsets[i] : self.offsets[i + 1]].tobytes().decode("utf-8")
