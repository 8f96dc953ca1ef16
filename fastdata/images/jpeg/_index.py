"""The index segment: where each restart interval of a record begins.

A record is a JPEG file in this order: SOI; the segments that decoding needs nothing of (APPn, COM);
the index segment; DRI; the segments that decoding needs (an Adobe APP14, DQT, SOF, DHT, SOS); the
scan; EOI; whatever followed EOI. The index segment is an APP9, so other readers skip it. All its
numbers are big-endian; offsets count from its own first byte::

    offset  bytes  content
         0      2  FF E9
         2      2  length of the segment, from here on
         4      9  "fastdata" and a zero byte
        13      1  version, 1
        14      1  flags: 1 had a JFIF APP0, 2 interval lengths take 4 bytes
        15      1  pixels by which a box has to be widened at its top and bottom
        16      1  the same at its left and right
        17      1  MCU height in pixels
        18      1  MCU width in pixels
        19      2  MCUs to a restart interval
        21      2  image height in pixels
        23      2  image width in pixels
        25      4  offset of SOF
        29      4  offset of the scan, where the head ends
        33      4  length of the scan, EOI included
        37         length of each interval with the marker after it, 2 (or 4) bytes each

The head, which a slice takes over, begins with DRI after the last interval length. Restart
intervals divide a row of MCUs, so their number follows from the sizes.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from ..formats.jpeg import DRI, SOF0, SOF1
from ._header import INDEX, SIGNATURE, JpegHeader, segment

VERSION = 1
FLAG_JFIF, FLAG_WIDE = 1, 2
MARGIN = 2  # libjpeg's "fancy" upsampling looks one chroma sample aside
MAX_INTERVALS = 15_000
_MIN_INTERVAL = 4
_FIELDS = struct.Struct(">9s6BHHH3I")
TABLE = 4 + _FIELDS.size  # offset of the interval lengths


def choose_interval(columns: int, rows: int, target: int) -> int:
    """MCUs to a restart interval: the divisor of a row nearest to ``target``, in ratio.

    Divisors below 4 cost too much space, and shorter ends of a row would leave slices so narrow
    that libjpeg takes another upsampling; more than 15,000 intervals may not fit the index.
    """
    divisors = [
        n
        for n in range(min(_MIN_INTERVAL, columns), columns + 1)
        if columns % n == 0 and columns // n * rows <= MAX_INTERVALS
    ]
    return min(divisors or [columns], key=lambda n: (max(n / target, target / n), n))


def build_head(
    header: JpegHeader, tables: list[bytes], interval: int, lengths: NDArray[np.uint32]
) -> tuple[bytes, bytes]:
    """The index segment and the head that follows it; ``tables`` are DHT segments to add."""
    restart = segment(DRI, interval.to_bytes(2, "big"))
    head = b"".join([restart, *header.needed, *tables, header.scan_segment])
    sof = len(restart)
    for part in header.needed:
        if part[1] in (SOF0, SOF1):
            break
        sof += len(part)
    wide = int(lengths.max()) > 0xFFFF
    table = lengths.astype(">u4" if wide else ">u2").tobytes()
    size = TABLE + len(table)
    rows, columns = header.subsampled
    payload = _FIELDS.pack(
        SIGNATURE,
        VERSION,
        FLAG_JFIF * header.jfif | FLAG_WIDE * wide,
        MARGIN * rows,
        MARGIN * columns,
        *header.mcu,
        interval,
        header.height,
        header.width,
        size + sof,
        size + len(head),
        int(lengths.sum()),
    )
    return segment(INDEX, payload + table), head
