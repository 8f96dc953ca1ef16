"""Stop decoding a JPEG below the rows that are wanted.

A sequential JPEG (ITU-T T.81) is coded from top to bottom, and its frame header says how many rows
follow. With a smaller number there, a decoder stops early and never looks at the rest: neither
Huffman decoding nor the inverse DCT is paid for rows below a crop.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

Buffer = bytes | memoryview

_SEQUENTIAL = (0xC0, 0xC1)  # SOF0 and SOF1; the Huffman-coded frames that are not progressive
_OTHER_FRAMES = {*range(0xC2, 0xD0)} - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC are no frame headers
_SOS, _DRI, _APP2 = 0xDA, 0xDD, 0xE2
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
    height = int.from_bytes(data[frame + 5 : frame + 7], "big")
    width = int.from_bytes(data[frame + 7 : frame + 9], "big")
    unit = _mcu_rows(data, frame)
    kept = -(-(rows + _MARGIN) // unit) * unit
    if kept >= height or (height, width) != size:
        return None
    # No end marker: after the last row libjpeg would skip to it, and say so on stderr. Zeros in its
    # place, as the decoder looks some bytes ahead of the last code and gives up if there are none.
    shorter = _scratch.take(len(data) + _AHEAD)
    shorter[: len(data)] = np.frombuffer(data, np.uint8)
    shorter[len(data) - 2 :] = 0
    shorter[frame + 5], shorter[frame + 6] = kept >> 8, kept & 0xFF
    return shorter


def _find_frame(data: Buffer) -> int | None:
    """Offset of the frame header's marker, if the file is sequential with one interleaved scan."""
    end = len(data)
    if end < 4 or data[0] != 0xFF or data[1] != 0xD8 or data[-2] != 0xFF or data[-1] != 0xD9:
        return None
    position, frame, components = 2, None, 0
    while position + 10 <= end and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == _SOS:
            return frame if frame is not None and data[position + 4] == components else None
        if marker in _SEQUENTIAL and frame is None and data[position + 4] == 8:
            frame, components = position, data[position + 9]
        elif marker in _OTHER_FRAMES or marker in _SEQUENTIAL:
            return None
        elif marker == _APP2 and data[position + 4 : position + 8] == b"MPF\0":
            return None  # more images behind this one, so the last end marker is not its own
        elif marker == _DRI and data[position + 4 : position + 6] != b"\0\0":
            return None  # libjpeg would report the restart markers behind the last row on stderr
        position += 2 + (data[position + 2] << 8 | data[position + 3])
    return None


def _mcu_rows(data: Buffer, frame: int) -> int:
    """Height in pixels of a row of minimum coded units (T.81, A.2)."""
    components = data[frame + 9]
    if components == 1:  # the scan is then not interleaved, and its unit one block
        return 8
    last = frame + 11 + 3 * components
    if last > len(data):
        return 8 * 4
    return 8 * max(data[i] & 0x0F for i in range(frame + 11, last, 3))
