"""JPEG headers: what the transcoder has to know of the segments before the scan (ITU-T T.81 B.2).

Any bytes may come in: the result is a ``JpegHeader``, or ``Unfit`` with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats.jpeg import (
    APP0,
    APP9,
    APP14,
    COM,
    DAC,
    DHT,
    DQT,
    DRI,
    PAST_FILL,
    SOF0,
    SOF1,
    SOS,
)
from ..formats.jpeg import segments as walk

Buffer = bytes | bytearray | memoryview | NDArray[np.uint8]
_MAX_BLOCKS = 10  # in an MCU of several components (T.81 B.2.3)
SIGNATURE = b"fastdata\0"  # of the index segment, an APP9
INDEX = APP9


class Reason(str, Enum):
    """A reason for which a file cannot be made sliceable; the value is a phrase for reports."""

    NOT_JPEG = "not a JPEG file"
    PROGRESSIVE = "progressive JPEG"
    ARITHMETIC = "arithmetic-coded JPEG"
    LOSSLESS = "lossless or hierarchical JPEG"
    PRECISION = "JPEG of more than 8 bits a sample"
    COMPONENTS = "JPEG of 2 or more than 4 components"
    SCANS = "JPEG of several scans"
    DNL = "JPEG that states its height after the scan"
    UNUSUAL = "JPEG of an unusual structure"
    DAMAGED = "damaged JPEG"


_FRAMES = {
    **dict.fromkeys((0xC2, 0xC6), Reason.PROGRESSIVE),
    **dict.fromkeys((0xC3, 0xC5, 0xC7, 0xDE, 0xDF), Reason.LOSSLESS),
    **dict.fromkeys((0xC9, 0xCA, 0xCB, DAC, 0xCD, 0xCE, 0xCF), Reason.ARITHMETIC),
}


class UnfitError(Exception):
    """Carries the reason out of the parser; it does not leave this package."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Segment(NamedTuple):
    """A marker segment: ``payload`` is what follows the length, ``end`` the offset after it."""

    marker: int
    payload: bytes
    end: int

    @property
    def data(self) -> bytes:
        """The segment as it stands in a file."""
        return segment(self.marker, self.payload)


class Component(NamedTuple):
    """A component of the frame: identifier and sampling factors."""

    identifier: int
    horizontal: int
    vertical: int


@dataclass(kw_only=True)
class JpegHeader:
    """The segments of a sequential Huffman JPEG with one scan.

    ``before`` holds the segments that decoding needs nothing of, ``needed`` those that it needs,
    except for DRI and SOS; both are in the file's order. ``counts`` and ``symbols`` are the Huffman
    tables as DHT gives them: rows 0 to 3 are DC tables, 4 to 7 AC tables. ``blocks`` has, for each
    block of an MCU, its component and the rows of its two tables.
    """

    before: list[bytes] = field(default_factory=list)
    needed: list[bytes] = field(default_factory=list)
    jfif: bool = False
    interval: int = 0
    height: int = 0
    width: int = 0
    components: list[Component] = field(default_factory=list)
    counts: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((8, 16), np.uint8))
    symbols: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((8, 256), np.uint8))
    blocks: list[tuple[int, int, int]] = field(default_factory=list)
    scan_segment: bytes = b""
    scan_start: int = 0

    @property
    def subsampled(self) -> tuple[bool, bool]:
        """True if a component has fewer rows, and if one has fewer columns, than another."""
        rows = {c.vertical for c in self.components}
        columns = {c.horizontal for c in self.components}
        return len(rows) > 1, len(columns) > 1

    @property
    def mcu(self) -> tuple[int, int]:
        """Height and width of an MCU in pixels (T.81 A.2): one block if not interleaved."""
        if len(self.components) == 1:
            return 8, 8
        largest_v = max(c.vertical for c in self.components)
        return 8 * largest_v, 8 * max(c.horizontal for c in self.components)


def segment(marker: int, payload: bytes) -> bytes:
    """A marker segment (T.81 B.1.1.4)."""
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload


def segments(data: bytes) -> Iterator[Segment]:
    """The marker segments after SOI, up to and including SOS.

    Raises:
        UnfitError: the bytes are no JPEG, or end or break off before SOS.
    """
    if data[:3] != b"\xff\xd8\xff":
        raise UnfitError(Reason.NOT_JPEG)
    for marker, at, end in walk(data, PAST_FILL):
        if marker < SOF0 or not at + 2 <= end <= len(data):
            break
        yield Segment(marker, data[at + 2 : end], end)
        if marker == SOS:
            return
    raise UnfitError(Reason.DAMAGED)


def parse(data: bytes) -> JpegHeader:
    """Read everything before the scan.

    Raises:
        UnfitError: the file is not of the kind that can be made sliceable.
    """
    header = JpegHeader()
    for part in segments(data):
        _take(header, part)
    return header


def _take(header: JpegHeader, part: Segment) -> None:
    marker, payload, end = part
    if marker == APP14 and payload.startswith(b"Adobe"):
        header.needed.append(part.data)  # it decides what the components mean
    elif APP0 <= marker < APP0 + 16 or marker == COM:
        header.jfif |= marker == APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 14
        if marker != INDEX or not payload.startswith(SIGNATURE):
            header.before.append(part.data)
    elif marker == DRI:
        if len(payload) != 2:
            raise UnfitError(Reason.DAMAGED)
        header.interval = int.from_bytes(payload, "big")
    elif marker == SOS:
        _take_scan(header, payload)
        header.scan_segment, header.scan_start = part.data, end
    elif marker in (SOF0, SOF1, DHT, DQT):
        if marker == DHT:
            _take_tables(header, payload)
        elif marker != DQT:
            _take_frame(header, payload)
        header.needed.append(part.data)
    else:
        raise UnfitError(_FRAMES.get(marker, Reason.DAMAGED))


def _take_frame(header: JpegHeader, payload: bytes) -> None:
    """SOF (T.81 B.2.2)."""
    if len(payload) < 6 or len(payload) != 6 + 3 * payload[5] or header.components:
        raise UnfitError(Reason.DAMAGED)
    if payload[0] != 8:
        raise UnfitError(Reason.PRECISION)
    if payload[5] not in (1, 3, 4):
        raise UnfitError(Reason.COMPONENTS)
    header.height = int.from_bytes(payload[1:3], "big")
    header.width = int.from_bytes(payload[3:5], "big")
    header.components = [
        Component(payload[i], payload[i + 1] >> 4, payload[i + 1] & 15)
        for i in range(6, len(payload), 3)
    ]
    if header.height == 0:
        raise UnfitError(Reason.DNL)
    factors = [n for c in header.components for n in (c.horizontal, c.vertical)]
    if header.width == 0 or min(factors) < 1 or max(factors) > 4:
        raise UnfitError(Reason.DAMAGED)


def _take_tables(header: JpegHeader, payload: bytes) -> None:
    """DHT (T.81 B.2.4.2)."""
    for row, counts, symbols in _tables(payload):
        header.counts[row] = counts
        header.symbols[row, : len(symbols)] = symbols


@lru_cache(maxsize=64)  # most encoders always write the same ones
def _tables(payload: bytes) -> list[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Row, counts and symbols of each table in a DHT segment."""
    tables = []
    while payload:
        row = (payload[0] >> 4) * 4 + (payload[0] & 15)
        counts = payload[1:17]
        size = sum(counts)
        if payload[0] & 0xEC or len(counts) < 16 or len(payload) < 17 + size or size > 256:
            raise UnfitError(Reason.DAMAGED)
        code = 0
        for length, count in enumerate(counts, 1):
            code = 2 * code + count
            if code > 1 << length:
                raise UnfitError(Reason.DAMAGED)
        symbols = np.frombuffer(payload, np.uint8, size, 17)
        tables.append((row, np.frombuffer(counts, np.uint8), symbols))
        payload = payload[17 + size :]
    return tables


def _take_scan(header: JpegHeader, payload: bytes) -> None:
    """SOS (T.81 B.2.3): all components in one scan, spectral selection 0 to 63."""
    n = payload[0] if payload else 0
    if not header.components or len(payload) != 4 + 2 * n:
        raise UnfitError(Reason.DAMAGED)
    if n != len(header.components):
        raise UnfitError(Reason.SCANS)
    identifiers = [c.identifier for c in header.components]
    if list(payload[1:-3:2]) != identifiers or len(set(identifiers)) != n:
        raise UnfitError(Reason.UNUSUAL)
    if payload[-3:] != b"\0\x3f\0":
        raise UnfitError(Reason.DAMAGED)
    for i, component in enumerate(header.components):
        tables = payload[2 + 2 * i]
        rows = (tables >> 4, 4 + (tables & 15))
        if tables & 0xCC or not all(header.counts[row].any() for row in rows):
            raise UnfitError(Reason.DAMAGED)
        n_blocks = 1 if n == 1 else component.horizontal * component.vertical
        header.blocks += [(i, *rows)] * n_blocks
    if n > 1 and len(header.blocks) > _MAX_BLOCKS:
        raise UnfitError(Reason.UNUSUAL)
