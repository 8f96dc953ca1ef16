"""Cutting a box out of a sliceable record, without decoding it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import DecodeError
from ._header import INDEX, SIGNATURE, Buffer, UnfitError, segments

# Bytes of the scan that a slice must leave out. Measured: at fewer than 1,000 nothing is gained.
_LEAST = 1024


class Slice(NamedTuple):
    """A JPEG file with part of an image, and where the box that was asked for begins in it."""

    data: NDArray[np.uint8]
    top: int
    left: int


class Slicer:
    """Cuts boxes out of records, into memory that it reuses: each thread needs its own.

    Raises:
        ImportError: numba cannot be imported (see ``available``).
    """

    def __init__(self) -> None:
        from . import _cut

        self._cut = _cut.cut
        self._slack = _cut.SLACK
        self._scratch = np.empty(1 << 18, np.uint8)

    def slice(self, record: Buffer, index: int, box: tuple[int, int, int, int]) -> Slice | None:
        """The part of a record that a box needs, as a JPEG file.

        Decoding the slice and taking the box's height and width from its ``(top, left)`` on gives
        the pixels that decoding the record and cropping it gives. Only the bytes that are used are
        read, so damage elsewhere in the record goes unnoticed.

        Args:
            record: what ``transcode`` made, in any contiguous memory; it is only read.
            index: offset of its index segment, from ``transcode`` or ``find_index``.
            box: (top, left, height, width) in pixels, before any EXIF orientation.

        Returns:
            the slice, whose ``data`` is overwritten by the next call; or None where decoding the
            record whole is as fast, because the box covers nearly all of it.

        Raises:
            DecodeError: the index disagrees with the record, or the box is not inside the image.
        """
        if len(record) == 0:
            raise DecodeError("expected a sliceable JPEG record, found 0 bytes")
        source = np.frombuffer(record, np.uint8)
        source.setflags(write=False)
        if self._scratch.size < source.size + self._slack:
            self._scratch = np.empty(source.size + (source.size >> 1) + self._slack, np.uint8)
        size, top, left = self._cut(source, index, *box, _LEAST, self._scratch)
        if size > 0:
            return Slice(self._scratch[:size], top, left)
        if size < 0:
            raise _error(size, index, box)
        return None


def indexed_size(record: Buffer, index: int) -> tuple[int, int]:
    """Height and width that the index segment at byte ``index`` of a record gives the image."""
    height_and_width = int.from_bytes(record[index + 21 : index + 25], "big")
    return height_and_width >> 16, height_and_width & 0xFFFF


def interval_size(record: Buffer, index: int) -> tuple[int, int]:
    """Height and width in pixels of a restart interval of the record with that index segment.

    The intervals at the image's right and lower edges reach beyond it.
    """
    mcu_height, mcu_width, *mcus = record[index + 17 : index + 21]
    return mcu_height, mcu_width * int.from_bytes(bytes(mcus), "big")


def _error(code: int, index: int, box: tuple[int, int, int, int]) -> DecodeError:
    from ._cut import OUTSIDE

    if code == OUTSIDE:
        return DecodeError(f"expected a box (top, left, height, width) in the image, found {box}")
    return DecodeError(
        f"expected a JPEG record with its index at byte {index}, found one that disagrees with its"
        " header or its restart markers; it may still decode whole"
    )


def find_index(record: Buffer) -> int | None:
    """The offset of a record's index segment, or None where it has none.

    It goes from segment to segment in Python: store the offset rather than search in a hot loop.
    """
    try:
        for part in segments(bytes(record)):
            if part.marker == INDEX and part.payload.startswith(SIGNATURE):
                return part.end - len(part.payload) - 4
    except UnfitError:
        pass
    return None
