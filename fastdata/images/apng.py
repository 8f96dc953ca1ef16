"""Animated PNG (PNG specification, third edition, 11.3.6) as the still image that it also is.

OpenCV's reader of animations (5.0) takes no notice of checksums and leaves what it cannot inflate
as the memory was, so that damaged bytes give other pixels each time. Without the chunks of the
animation, the file is an ordinary PNG of the image that Pillow shows first.
"""

from __future__ import annotations

from collections.abc import Iterator

Buffer = bytes | memoryview

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_MOST_CHUNKS = 1 << 16


def without_animation(data: Buffer) -> Buffer:
    """``data`` itself, or, if it is an animated PNG, its still image as a PNG file."""
    if data[:8] != _SIGNATURE or not _is_animated(data):
        return data
    kept = (data[at:stop] for kind, at, stop in _chunks(data) if kind not in _ANIMATION)
    return b"".join([_SIGNATURE, *kept])


def _is_animated(data: Buffer) -> bool:
    for kind, _, _ in _chunks(data):
        if kind in _ANIMATION or kind == b"IDAT":  # the animation is announced before the pixels
            return kind != b"IDAT"
    return False


def _chunks(data: Buffer) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk; what is cut off ends where the data ends."""
    at = len(_SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            return
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield bytes(data[at + 4 : at + 8]), at, stop
        at = stop
