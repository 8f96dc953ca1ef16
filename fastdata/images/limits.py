"""Bounds for what an image announces, checked before a decoder inflates it.

A few hundred bytes of PNG, GIF or WebP can announce, and inflate to, gigabytes. So the size that
the header announces is compared first with the one that a pack's table promises, and with a bound
for everything that is decoded whole.
"""

from __future__ import annotations

from ..errors import DecodeError
from .formats.jpeg import COM, DAC, DHT, DQT, DRI, FRAMES, segments
from .header import probe

Buffer = bytes | memoryview

#: The most pixels that are decoded at once: 800 MB of RGB. A slice of a larger JPEG may be smaller.
MOST_PIXELS = 1 << 28

# Tables, restart interval, applications' segments and comments; the rest is left to ``probe``.
_JPEG_SEGMENTS = frozenset({DHT, DAC, DQT, DRI, COM, *range(0xE0, 0xF0)})


def check_size(data: Buffer, height: int, width: int) -> None:
    """DecodeError if an encoded image announces another size, or one beyond ``MOST_PIXELS``."""
    found = announced_size(data)
    if found is not None and found != (height, width):
        raise DecodeError(f"expected {height}x{width} pixels, found {found[0]}x{found[1]}")
    check_pixels(height, width)


def check_announced(data: Buffer) -> None:
    """DecodeError if an encoded image announces more pixels than ``MOST_PIXELS``."""
    found = announced_size(data)
    if found is not None:
        check_pixels(*found)


def check_pixels(height: int, width: int) -> None:
    """DecodeError for more pixels than ``MOST_PIXELS``."""
    if height * width > MOST_PIXELS:
        raise DecodeError(
            f"expected at most {MOST_PIXELS} pixels, found {height}x{width}: make the image "
            "smaller, or cut it into tiles"
        )


def announced_size(data: Buffer) -> tuple[int, int] | None:
    """Height and width as ``header.probe`` reads them, or None where it cannot.

    For JPEG and PNG in a tenth of ``probe``'s time, as neither orientation nor damage is looked
    for: a decoder takes the size from the very same place, or refuses.
    """
    if data[:2] == b"\xff\xd8":
        if (size := _jpeg_size(data)) is not None:
            return size
    elif data[:4] == b"\x89PNG" and len(data) >= 24:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    try:
        header = probe(data)
    except DecodeError:
        return None
    return header.height, header.width


def _jpeg_size(data: Buffer) -> tuple[int, int] | None:
    """The size in the first frame header (ITU-T T.81, B.2.2) of a file without stray bytes."""
    for marker, at, _ in segments(data):
        if marker in _JPEG_SEGMENTS:
            continue
        if marker not in FRAMES or at + 7 > len(data):
            return None
        return data[at + 3] << 8 | data[at + 4], data[at + 5] << 8 | data[at + 6]
    return None
