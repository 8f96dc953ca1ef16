"""MXNet's RecordIO: framing, multi-part records, image headers, and the files beside a ``.rec``.

Framing: dmlc-core, include/dmlc/recordio.h. Header: mxnet/recordio.py, ``IRHeader``.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError
from ..base import SpanBlob

MAGIC = b"\x0a\x23\xd7\xce"  # 0xCED7230A
_FRAME = struct.Struct("<4sI")
_HEADER = struct.Struct("<IfQQ")  # flag, label, id, id2
_WHOLE, _FIRST, _MIDDLE, _LAST = 0, 1, 2, 3
_MOST_PARTS = 1 << 16  # a part begins wherever the data happened to contain the magic


class RecordFrames(NamedTuple):
    """A record: its first frame's offset, and offset and size of the data of each part."""

    offset: int
    parts: list[tuple[int, int]]

    @property
    def stop(self) -> int:
        """Byte at which its last part's data end."""
        return self.parts[-1][0] + self.parts[-1][1]

    @property
    def size(self) -> int:
        """Bytes of its data, joined."""
        return sum(size for _, size in self.parts) + len(MAGIC) * (len(self.parts) - 1)


class IRHeader(NamedTuple):
    """An image's ``IRHeader``: its labels, its id, and its own length with the labels."""

    labels: NDArray[np.float32]
    id: int
    size: int


@dataclass(frozen=True, slots=True)
class PartsBlob:
    """The data of a multi-part record, less the first ``skip`` bytes.

    ``offset`` is that of the first frame, ``size`` the number of bytes up to the last part's end.
    """

    path: str
    offset: int
    size: int
    skip: int

    def read(self) -> bytes:
        """The joined parts; OSError if the file has changed, or ends before them."""
        data = SpanBlob(self.path, self.offset, self.size).read()
        try:
            parts = [data[at : at + size] for _, at, size in _frames(data)]
        except ValueError as error:
            raise OSError(f"{self.path}: the record at byte {self.offset}: {error}") from error
        return MAGIC.join(parts)[self.skip :]


def _frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    at = 0
    while at < len(data):
        flag, size = _frame(data[at : at + _FRAME.size])
        yield flag, at + _FRAME.size, size
        at += _FRAME.size + _padded(size)


def _frame(data: bytes) -> tuple[int, int]:
    """Continuation flag and length; ValueError if there is no frame."""
    if len(data) < _FRAME.size:
        raise ValueError(f"cut off: {len(data)} of {_FRAME.size} bytes of a frame")
    magic, word = _FRAME.unpack(data)
    if magic != MAGIC:
        raise ValueError(f"expected the magic number 0xCED7230A, found {magic!r}")
    return word >> 29, word & ((1 << 29) - 1)


def _padded(size: int) -> int:
    return (size + 3) // 4 * 4


def records(path: str, file: BinaryIO) -> Iterator[RecordFrames]:
    """All records of a file; data are stepped over, but have to be there.

    Raises:
        SourceError: the file is damaged or cut off; the message has the byte.
    """
    at, end = 0, os.fstat(file.fileno()).st_size
    while at < end:
        record = RecordFrames(at, [])
        try:
            for flag, start, size in _parts(file, at):
                if start + size > end:
                    raise ValueError(f"cut off: {size} bytes of data, and the file ends at {end}")
                _check_order(flag, record)
                record.parts.append((start, size))
                at = start + _padded(size)
        except ValueError as error:
            raise SourceError(
                f"{path}: not a RecordIO file, or damaged, at byte {at}: {error}"
            ) from error
        yield record


def _parts(file: BinaryIO, at: int) -> Iterator[tuple[int, int, int]]:
    """Flag, offset and size of each part of the record at a byte."""
    flag = _FIRST
    while flag not in (_WHOLE, _LAST):
        file.seek(at)
        flag, size = _frame(file.read(_FRAME.size))
        yield flag, at + _FRAME.size, size
        at += _FRAME.size + _padded(size)


def _check_order(flag: int, record: RecordFrames) -> None:
    expected = (_MIDDLE, _LAST) if record.parts else (_WHOLE, _FIRST)
    if flag not in expected:
        raise ValueError(f"expected a part of kind {expected[0]} or {expected[1]}, found {flag}")
    if len(record.parts) >= _MOST_PARTS:
        raise ValueError(f"a record of more than {_MOST_PARTS} parts")


def read_header(file: BinaryIO, record: RecordFrames) -> IRHeader:
    """The image header at the start of a record; ValueError if the record is too short for it."""
    flag, label, number, _ = _HEADER.unpack(_head(file, record, _HEADER.size))
    size = _HEADER.size + 4 * flag
    if flag == 0:
        return IRHeader(np.array([label], np.float32), number, size)
    labels = np.frombuffer(_head(file, record, size), "<f4", flag, _HEADER.size)
    return IRHeader(labels, number, size)


def _head(file: BinaryIO, record: RecordFrames, size: int) -> bytes:
    if size > record.size:
        raise ValueError(f"expected an image header of {size} bytes in a record of {record.size}")
    data = bytearray()
    for i, (offset, length) in enumerate(record.parts):
        file.seek(offset)
        data += (MAGIC if i else b"") + file.read(min(length, size))
        if len(data) >= size:
            break
    return bytes(data[:size])


def starts_like_recordio(path: str) -> bool:
    """True if a file begins with the magic number."""
    try:
        return SpanBlob(path, 0, len(MAGIC)).read() == MAGIC
    except OSError:
        return False
