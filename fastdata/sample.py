"""The plain records that travel through the package.

``Sample`` is one image of a folder, ``Record`` a sample encoded, ``TABLE_DTYPE`` its row in the
pack's table, and ``KeyTable`` the names of all of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from .errors import PackFormatError

#: One row a sample, 40 bytes, little-endian: the class, then the record (its place in the shard's
#: file, size, CRC-32), then the image in it, which comes first. ``orientation`` is EXIF's 1 to 8.
#: ``slice_index`` is the offset of a sliceable JPEG's index, 0 if it is none. The rest is zero.
TABLE_DTYPE = np.dtype(
    [
        ("target", "<i8"),
        ("offset", "<u8"),
        ("bytes", "<u4"),
        ("crc32", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("slice_index", "<u4"),
        ("orientation", "u1"),
        ("flags", "u1"),
        ("reserved", "<u2"),
    ]
)

#: One row a sample for each further image and each mask; ``bytes`` is the size of its part of the
#: record, the rest as in ``TABLE_DTYPE``.
MEDIA_DTYPE = np.dtype(
    [
        ("bytes", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("slice_index", "<u4"),
        ("orientation", "u1"),
        ("flags", "u1"),
        ("reserved", "<u2"),
    ]
)

#: One row a sample for whatever else lies in the record: the size of its part.
SIZE_DTYPE = np.dtype("<u4")


class Sample(NamedTuple):
    """One image of a folder: its source-relative POSIX name and its integer target (−1: none)."""

    key: str
    target: int


class StoredMedia(NamedTuple):
    """An image or a mask as it is stored.

    ``height`` and ``width`` are those of the stored pixels, before any EXIF rotation;
    ``slice_index`` is the offset of a sliceable JPEG's index (0: it is none), and ``verbatim`` why
    an image that was to be sliceable is not.
    """

    data: bytes
    height: int
    width: int
    orientation: int = 1
    slice_index: int = 0
    verbatim: str = ""


class Record(NamedTuple):
    """An encoded sample, ready to be stored.

    Attributes:
        key: its name.
        target: its class, or −1.
        image: the first image field.
        data: the whole record: the image, then the other fields that lie in it.
        crc32: of ``data``.
        columns: by field, the row for its column; see ``fastdata.shards.columns``.
        bytes_in: how many bytes were read for it.
    """

    key: str
    target: int
    image: StoredMedia
    data: bytes
    crc32: int
    columns: dict[str, Any]
    bytes_in: int = 0


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
        """The names ``first`` to ``stop`` − 1, copied: small when pickled."""
        offsets = np.array(self.offsets[first : stop + 1])
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
