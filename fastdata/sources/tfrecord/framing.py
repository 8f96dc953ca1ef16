"""The framing of TFRecord files: length, its CRC, data, their CRC; and a blob that checks it.

https://www.tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format details".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ...errors import SourceError
from ..archives.paths import open_archive
from ..base import SpanBlob

_HEAD, _FOOT = 12, 4  # bytes: length and its CRC before the data, the data's CRC behind them
_MASK_DELTA, _ALL = 0xA282EAD8, 0xFFFFFFFF
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x9c", b"\x78\xda")  # gzip, zlib


@dataclass(frozen=True, slots=True)
class RecordBlob:
    """A part of a TFRecord's data; all of it is read, and checked against its CRC-32C.

    ``start`` and ``stop`` are offsets in the file: those of the part, as ``offset`` is that of the
    record's ``size`` bytes of data.
    """

    path: str
    offset: int
    size: int
    start: int
    stop: int

    def read(self) -> bytes:
        """The part's bytes; OSError if the file ends before them, or the record is damaged."""
        data = SpanBlob(self.path, self.offset, self.size + _FOOT).read()
        record, stored = data[: self.size], int.from_bytes(data[self.size :], "little")
        if masked_crc32c(record) != stored:
            raise OSError(
                f"{self.path}: the record of {self.size} bytes at byte {self.offset} is damaged: "
                f"its CRC-32C is not the stored one"
            )
        return record[self.start - self.offset : self.stop - self.offset]


def masked_crc32c(data: bytes) -> int:
    """CRC-32C (RFC 3720, B.4) as TFRecord files hold it: rotated, plus a constant.

    See tensorflow/core/lib/hash/crc32c.h.
    """
    import google_crc32c  # only now: where it has no wheel it is slow, and warns when imported

    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _ALL


def frames(path: str, file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Offset and size of each record's data, which are stepped over.

    Raises:
        SourceError: a length is damaged, or the file is cut off.
    """
    at, end = 0, os.fstat(file.fileno()).st_size
    while at < end:
        file.seek(at)
        head = file.read(_HEAD)
        if not is_head(head):
            raise SourceError(f"{path}: {_complaint(head, at)}")
        (size,) = struct.unpack_from("<Q", head)
        if at + _HEAD + size + _FOOT > end:
            raise SourceError(
                f"{path}: cut off: the record at byte {at} has {size} bytes of data, and the file "
                f"ends at byte {end}"
            )
        yield at + _HEAD, size
        at += _HEAD + size + _FOOT


def is_head(head: bytes) -> bool:
    """True if 12 bytes are a length and its CRC."""
    if len(head) != _HEAD:
        return False
    return masked_crc32c(head[:8]) == int.from_bytes(head[8:], "little")


def starts_like_tfrecord(path: str) -> bool:
    """True if a file begins with a length and its CRC."""
    try:
        with open_archive(path) as file:
            return is_head(file.read(_HEAD))
    except (SourceError, OSError):
        return False


def _complaint(head: bytes, at: int) -> str:
    if len(head) < _HEAD:
        return f"cut off: a record's head at byte {at} has {len(head)} of {_HEAD} bytes"
    if at == 0 and head.startswith(_COMPRESSED):
        return "compressed, so that records cannot be read by their offset; decompress it first"
    return f"not a TFRecord file, or damaged: the length at byte {at} does not have its CRC-32C"
