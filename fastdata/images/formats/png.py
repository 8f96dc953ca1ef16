"""PNG files as chunks (W3C PNG, third edition, 5.3), and animated ones as still images."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import islice

Buffer = bytes | memoryview

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">I4s").unpack_from
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_MOST_CHUNKS = 1 << 16


def chunks(data: Buffer, at: int = len(SIGNATURE)) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk from offset ``at`` on; length and CRC-32 are a part of it.

    The end is the one that the length states, and may be beyond the data. Fewer than 8 bytes at the
    end of the data are no chunk.
    """
    last = len(data) - 8
    while at <= last:
        length, kind = _HEAD(data, at)
        stop = at + 12 + length
        yield kind, at, stop
        at = stop


def is_sound(data: Buffer, at: int, stop: int) -> bool:
    """True for a chunk that is whole, and whose CRC-32 is right."""
    crc = int.from_bytes(data[stop - 4 : stop], "big")
    return stop <= len(data) and zlib.crc32(data[at + 4 : stop - 4]) == crc


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk as it stands in a file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def without_animation(data: Buffer) -> Buffer:
    """``data`` itself, or, if it is an animated PNG (11.3.6), its still image as a PNG file.

    OpenCV's reader of animations (5.0) takes no notice of checksums and leaves what it cannot
    inflate as the memory was, so that damaged bytes give other pixels each time. Without the chunks
    of the animation, the file is an ordinary PNG of the image that Pillow shows first.
    """
    if data[:8] != SIGNATURE or not _is_animated(data):
        return data
    found = islice(chunks(data), _MOST_CHUNKS)
    kept = (data[at:stop] for kind, at, stop in found if kind not in _ANIMATION)
    return b"".join([SIGNATURE, *kept])


def _is_animated(data: Buffer) -> bool:
    for kind, _, _ in islice(chunks(data), _MOST_CHUNKS):
        if kind in _ANIMATION or kind == b"IDAT":  # the animation is announced before the pixels
            return kind != b"IDAT"
    return False
