"""JPEG files as marker segments (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

Buffer = bytes | memoryview
#: Finds the next marker from an offset on; the match ends behind the marker.
Finder = Callable[[Buffer, int], "re.Match[bytes] | None"]
_HEAD = struct.Struct(">BBH").unpack_from

SOF0, SOF1, DHT, JPG, DAC, SOI, EOI, SOS = 0xC0, 0xC1, 0xC4, 0xC8, 0xCC, 0xD8, 0xD9, 0xDA
DQT, DNL, DRI, COM = 0xDB, 0xDC, 0xDD, 0xFE
APP0, APP1, APP2, APP9, APP14 = 0xE0, 0xE1, 0xE2, 0xE9, 0xEE
#: The markers of frame headers (table B.1).
FRAMES = frozenset(range(0xC0, 0xD0)) - {DHT, JPG, DAC}

#: Fill bytes may precede a marker (B.1.1.2).
PAST_FILL: Finder = re.compile(rb"\xff+[^\xff]").match
#: Stray bytes, TEM and RSTn are skipped, as decoders do.
ANYWHERE: Finder = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]").search


def segments(data: Buffer, find: Finder | None = None) -> Iterator[tuple[int, int, int]]:
    """Marker, offset behind it (of the length), and end of each segment after SOI.

    The end is the one that the length states: it may be less than two bytes on, or beyond the data.
    What follows SOS is no segment, so leave the loop there.

    Args:
        data: a JPEG file, whose first two bytes are not looked at.
        find: finds the next marker where a segment ends: ``PAST_FILL`` or ``ANYWHERE``. By default
            the walk ends where none begins at once; that is the quickest.
    """
    at, last = 2, len(data) - 4
    while True:
        if find is not None:
            if (match := find(data, at)) is None:
                return
            at = match.end() - 2
        if at > last:
            return
        first, marker, length = _HEAD(data, at)
        if first != 0xFF:
            return
        at += 2
        yield marker, at, at + length
        at += length
