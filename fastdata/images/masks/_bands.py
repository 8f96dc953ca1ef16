"""The stored form of a mask: bands of rows, each compressed alone.

All numbers are little-endian and unsigned::

    offset  size  field
    0       4     "FDMK"
    4       1     version, 1
    5       1     bytes to a label: 1 or 2
    6       2     zero
    8       4     height, at least 1
    12      4     width, at least 1
    16      4     rows to a band, at least 1; the last of the B bands has what is left
    20      4*B   for each band the end of its stream, counted from the first stream's start
    20+4*B  ...   the streams, one after the other, up to the end

A stream is zlib's (RFC 1950) of the band's labels, row by row, without filters. So a crop inflates
only the bands that it touches, and the last one of them no further than it reaches. Of a band that
is read to its end, zlib's checksum is verified.

Against a PNG of the whole (OpenCV's default settings), in milliseconds on one core; the crop is a
random quarter of the area, for which a PNG has to be read whole:

============================  ==========  =========  ============  ===========  ===========
labels                        PNG, bytes  PNG, read  bands, bytes  bands, read  bands, crop
============================  ==========  =========  ============  ===========  ===========
1024x2048, 30 ragged regions     220,071       13.0       164,153          3.8          1.9
400x500, 5 smooth regions          6,754       1.00         4,992         0.24         0.18
400x500, noise                   200,816       0.65       200,125         0.15         0.11
============================  ==========  =========  ============  ===========  ===========

Filtering rows by the one above makes label maps larger, and reading them three times as slow; only
16-bit gradients, such as depth, would gain by it.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np

from ...errors import DecodeError
from ..plan import Box
from ..render import Labels

_HEADER = struct.Struct("<4sBBHIII")
_MAGIC, _VERSION = b"FDMK", 1
# Smaller bands repeat what deflate has learnt, larger ones inflate rows above a crop.
_BAND_BYTES = 1 << 16
# A third smaller than level 1 and inflated in two thirds of the time; packing pays once.
_LEVEL = 6


def compress(labels: Labels) -> bytes:
    """The stored form of HW uint8 or uint16 labels, neither side 0."""
    height, width = labels.shape
    size = labels.dtype.itemsize
    rows = min(max(_BAND_BYTES // (width * size), 1), height)
    little = np.ascontiguousarray(labels, f"<u{size}")
    streams = [
        zlib.compress(little[top : top + rows].data, _LEVEL) for top in range(0, height, rows)
    ]
    ends = np.cumsum([len(stream) for stream in streams]).astype("<u4")
    header = _HEADER.pack(_MAGIC, _VERSION, size, 0, height, width, rows)
    return b"".join([header, ends.tobytes(), *streams])


def read_box(data: bytes | memoryview, height: int, width: int, box: Box) -> Labels:
    """The labels in ``box`` of a mask that has to be of ``height`` x ``width``.

    Returns:
        HW uint8 or uint16 in memory of its own.

    Raises:
        DecodeError: the bytes that are needed are damaged, the size is another, or the box reaches
            outside.
    """
    bands = _parse(data, height, width)
    top, left, rows, columns = box
    if min(box) < 0 or top + rows > height or left + columns > width:
        raise DecodeError(f"the plan takes {box} from a mask that has only {height}x{width} pixels")
    result = np.empty((rows, columns), f"u{bands.label_bytes}")
    at = top
    while at < top + rows:
        band, skipped = divmod(at, bands.rows)
        last = min((band + 1) * bands.rows, height)
        end = min(last, top + rows)
        part = _inflate(bands, band, skipped + end - at, width, whole=end == last)
        result[at - top : end - top] = part[skipped:, left : left + columns]
        at = end
    return result


class _Bands(NamedTuple):
    """The fields of a stored mask; ``ends`` and ``streams`` are views of it."""

    label_bytes: int
    rows: int
    ends: np.ndarray[tuple[int], np.dtype[np.uint32]]
    streams: memoryview


def _parse(data: bytes | memoryview, height: int, width: int) -> _Bands:
    view = memoryview(data).cast("B")
    if len(view) < _HEADER.size or view[:4] != _MAGIC:
        raise DecodeError(f"expected a stored mask, found {bytes(view[:8])!r}")
    _, version, size, zero, *sides, rows = _HEADER.unpack_from(view)
    if version != _VERSION:
        raise DecodeError(f"expected a mask of version {_VERSION}, found {version}: upgrade")
    if sides != [height, width]:
        raise DecodeError(f"expected a mask of {height}x{width}, found {sides[0]}x{sides[1]}")
    if size not in (1, 2) or zero or not (rows and height and width):
        raise DecodeError(f"the mask's header is damaged: {bytes(view[:20]).hex(' ')}")
    start = _HEADER.size + 4 * -(-height // rows)
    if start > len(view):
        raise DecodeError(f"expected {start} bytes of a mask's header, found {len(view)}")
    bands = _Bands(size, rows, np.frombuffer(view[_HEADER.size : start], "<u4"), view[start:])
    if int(bands.ends[-1]) != len(bands.streams):
        found = len(bands.streams)
        raise DecodeError(f"expected {bands.ends[-1]} bytes of a mask's streams, found {found}")
    return bands


def _inflate(bands: _Bands, band: int, rows: int, width: int, whole: bool) -> Labels:
    """The first rows of a band; if they are the whole of it, its checksum is looked at, too."""
    start, end = int(bands.ends[band - 1]) if band else 0, int(bands.ends[band])
    size, inflater = rows * width * bands.label_bytes, zlib.decompressobj()
    try:
        # Never more than is wanted, whatever the stream holds. One byte more, which must not come,
        # takes zlib to the checksum at the end.
        labels = inflater.decompress(bands.streams[start:end], size + whole)
    except zlib.error as error:
        raise DecodeError(f"band {band} of the mask is damaged: {error}") from error
    if len(labels) != size or (whole and not inflater.eof):
        raise DecodeError(
            f"band {band} of the mask: expected a stream of {size} bytes, found {len(labels)} or "
            "no end"
        )
    return np.frombuffer(labels, f"<u{bands.label_bytes}").reshape(rows, width)
