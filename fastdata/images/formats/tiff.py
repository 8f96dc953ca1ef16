"""TIFF files, and EXIF, as directories of tags (TIFF 6.0, section 2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .checked import fail, unpack

WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES = 256, 257, 258, 262, 274, 277
SHORT, LONG = 3, 4

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_LAYOUTS = {1: "B", SHORT: "H", LONG: "I", 6: "b", 8: "h", 9: "i"}  # field type: layout
_INTEGERS = {
    order: {kind: struct.Struct(order + layout).unpack_from for kind, layout in _LAYOUTS.items()}
    for order in _ORDERS.values()
}


def integers(what: str, data: bytes | memoryview) -> Iterator[tuple[int, int, int]]:
    """Tag, field type and value of each field of the first directory that is a single integer.

    Args:
        what: named in errors: "TIFF" or "EXIF".
        data: a classic TIFF file.

    Raises:
        DecodeError: it is no classic TIFF, or ends before the directory does.
    """
    if (order := _ORDERS.get(bytes(data[:4]))) is None:
        fail(what, 0, "II or MM and 42 (BigTIFF is not read)", bytes(data[:4]))
    (start,) = unpack(what, f"{order}I", data, 4)
    (count,) = unpack(what, f"{order}H", data, start)
    (fields,) = unpack(what, f"{12 * count}s", data, start + 2)
    readers = _INTEGERS[order]
    for tag, kind, length, value in struct.iter_unpack(f"{order}HHI4s", fields):
        if length == 1 and kind in readers:
            yield tag, kind, readers[kind](value)[0]
