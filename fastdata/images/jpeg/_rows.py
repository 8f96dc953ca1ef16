"""Stop decoding a JPEG below the rows that are wanted.

A sequential JPEG (ITU-T T.81) is coded from top to bottom, and its frame header says how many rows
follow. With a smaller number there, a decoder stops early and never looks at the rest: neither
Huffman decoding nor the inverse DCT is paid for rows below a crop.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from ..formats.jpeg import APP2, DRI, FRAMES, SOF1, SOS, segments

Buffer = bytes | memoryview

_DECISIVE = FRAMES | {SOS, APP2, DRI}
# "Fancy" chroma upsampling looks one chroma row aside, which is two rows of pixels.
_MARGIN = 2
_AHEAD = 16


class _Scratch(threading.local):
    """One growing buffer a thread, since a fresh one of this size costs more than the copy."""

    def __init__(self) -> None:
        self.buffer = np.empty(1 << 18, np.uint8)

    def take(self, size: int) -> NDArray[np.uint8]:
        if len(self.buffer) < size:
            self.buffer = np.empty(2 * size, np.uint8)
        return self.buffer[:size]


_scratch = _Scratch()


def first_rows(data: Buffer, rows: int, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """The JPEG of at least the first ``rows`` pixel rows; they decode to the very same pixels.

    Args:
        data: a whole JPEG file.
        rows: how many rows are wanted, at least 1.
        size: height and width that the file should have.

    Returns:
        The shorter JPEG's bytes, valid until this thread's next call; None where there is nothing
        to gain, the size is another, or the file is not coded from top to bottom in one scan.
    """
    frame = _find_frame(data)
    if frame is None:
        return None
    height = data[frame + 3] << 8 | data[frame + 4]
    width = data[frame + 5] << 8 | data[frame + 6]
    unit = _mcu_rows(data, frame)
    kept = -(-(rows + _MARGIN) // unit) * unit
    if kept >= height or (height, width) != size:
        return None
    # No end marker: after the last row libjpeg would skip to it, and say so on stderr. Zeros in its
    # place, as the decoder looks some bytes ahead of the last code and gives up if there are none.
    shorter = _scratch.take(len(data) + _AHEAD)
    shorter[: len(data)] = np.frombuffer(data, np.uint8)
    shorter[len(data) - 2 :] = 0
    shorter[frame + 3], shorter[frame + 4] = kept >> 8, kept & 0xFF
    return shorter


def _find_frame(data: Buffer) -> int | None:
    """Offset of the frame header's length, if the file is sequential with one interleaved scan."""
    end = len(data)
    if end < 4 or data[0] != 0xFF or data[1] != 0xD8 or data[-2] != 0xFF or data[-1] != 0xD9:
        return None
    frame, components = None, 0
    for marker, at, _ in segments(data):
        if marker not in _DECISIVE:
            continue
        if at + 8 > end:
            return None
        if marker == SOS:
            return frame if frame is not None and data[at + 2] == components else None
        if marker in FRAMES:
            if marker > SOF1 or frame is not None or data[at + 2] != 8:
                return None  # not sequential, or of more than 8 bits a sample
            frame, components = at, data[at + 7]
        elif marker == APP2 and data[at + 2 : at + 6] == b"MPF\0":
            return None  # more images behind this one, so the last end marker is not its own
        elif marker == DRI and data[at + 2 : at + 4] != b"\0\0":
            return None  # libjpeg would report the restart markers behind the last row on stderr
    return None


def _mcu_rows(data: Buffer, frame: int) -> int:
    """Height in pixels of a row of minimum coded units (T.81, A.2)."""
    components = data[frame + 7]
    if components == 1:  # the scan is then not interleaved, and its unit one block
        return 8
    last = frame + 9 + 3 * components
    if last > len(data):
        return 8 * 4
    return 8 * max(data[i] & 0x0F for i in range(frame + 9, last, 3))
