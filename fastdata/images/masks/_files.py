"""Labels out of PNG, BMP and TIFF files, the values that were stored and not their colours.

The labels are those of ``numpy.asarray(PIL.Image.open(file))``: the indices of a palette PNG, grey
values, and 0 and 1 where a pixel has a single bit.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...errors import DecodeError
from ..decode import decode_unchanged
from ..header import sniff

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3
# What OpenCV multiplies grey samples of so few bits by, so that the brightest is 255.
_SCALES = {1: 255, 2: 85, 4: 17}
_BITS, _PHOTOMETRIC, _SAMPLES = 258, 262, 277


def labels_of_file(data: bytes | bytearray | memoryview) -> NDArray[Any]:
    """Decode a mask file to HW; the dtype is the file's.

    Raises:
        DecodeError: it is damaged, no PNG, BMP or TIFF, or its pixels are colours. (One whose
            colours are all grey is taken for grey.)
    """
    data = bytes(data)
    name = sniff(data)
    if name not in _READERS:
        start = name or data[:8].hex(" ")
        raise DecodeError(f"expected a mask as PNG, BMP or TIFF, which keep labels; found {start}")
    return _READERS[name](data)


def _colours(found: str) -> NoReturn:
    raise DecodeError(f"expected labels, found {found}: convert its colours to indices first")


def _png(data: bytes) -> NDArray[Any]:
    """Decode a palette's indices as if they were grey: OpenCV would apply the palette."""
    chunks = list(_png_chunks(data))
    kind, header = chunks[0]
    if kind != b"IHDR" or len(header) != 13:
        raise DecodeError(f"PNG: expected an IHDR chunk of 13 bytes, found {kind!r}")
    depth, colour = header[8], header[9]
    if colour == _PALETTE:
        header = header[:9] + bytes([_GREY]) + header[10:]
    # Without tRNS there is no alpha, without an acTL no second frame.
    kept = [(b"IHDR", header), *(chunk for chunk in chunks if chunk[0] == b"IDAT"), (b"IEND", b"")]
    pixels = decode_unchanged(_SIGNATURE + b"".join(_png_chunk(*chunk) for chunk in kept))
    if depth in _SCALES and (colour == _PALETTE or depth == 1):
        return pixels // np.uint8(_SCALES[depth])
    return _only_channel(pixels)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of each chunk (W3C PNG, 5.3) up to the last whole one."""
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        kind, body, crc = data[at + 4 : at + 8], data[at + 8 : end], data[end : end + 4]
        if crc != struct.pack(">I", zlib.crc32(data[at + 4 : end])):
            raise DecodeError(f"PNG: the chunk {kind!r} at byte {at} is damaged or cut off")
        yield kind, body
        at = end + 4
        if kind == b"IEND":
            return
    raise DecodeError(f"PNG: expected an IEND chunk, found the end at byte {len(data)}")


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _bmp(data: bytes) -> NDArray[Any]:
    """Decode an 8-bit BMP whose palette is the grey ramp, or one of 24 bits."""
    if len(data) < 54:
        raise DecodeError(f"BMP: expected at least 54 bytes, found {len(data)}")
    (info,) = struct.unpack_from("<I", data, 14)
    core = info == 12  # OS/2's, whose palette has 3 bytes to a colour
    (bits,) = struct.unpack_from("<H", data, 24 if core else 28)
    used = 0 if core else struct.unpack_from("<I", data, 46)[0]
    if bits == 8:
        step, count = 3 if core else 4, min(used or 256, 256)
        table = data[14 + info : 14 + info + count * step]
        if any(table[i * step : i * step + 3] != bytes([i, i, i]) for i in range(count)):
            _colours("a BMP with a palette")
    elif bits != 24:
        _colours(f"a BMP of {bits} bits to a pixel")
    return _only_channel(decode_unchanged(data))


def _tiff(data: bytes) -> NDArray[Any]:
    """Decode a TIFF of one grey sample of 8 or 16 bits to a pixel."""
    tags = _tiff_tags(data)
    if tags.get(_PHOTOMETRIC) != 1 or tags.get(_SAMPLES, 1) != 1:
        _colours("a TIFF that is not greyscale from black to white")
    if tags.get(_BITS) not in (8, 16):
        raise DecodeError(f"TIFF: expected 8 or 16 bits to a pixel, found {tags.get(_BITS, 1)}")
    return _only_channel(decode_unchanged(data))


def _tiff_tags(data: bytes) -> dict[int, int]:
    """The first image's tags that have one SHORT or LONG as their value (TIFF 6.0, section 2)."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] != struct.pack(f"{order}H", 42):
        raise DecodeError("TIFF: BigTIFF is not read as a mask: save it as a classic TIFF, or PNG")
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        entries = struct.unpack_from(f"{order}" + "HHI4s" * count, data, start + 2)
    except struct.error as error:
        raise DecodeError(f"TIFF: expected a directory of tags: {error}") from error
    rows = zip(entries[::4], entries[1::4], entries[2::4], entries[3::4], strict=True)
    layouts = {3: f"{order}H", 4: f"{order}I"}
    return {
        tag: struct.unpack_from(layouts[kind], value)[0]
        for tag, kind, length, value in rows
        if length == 1 and kind in layouts
    }


def _only_channel(pixels: NDArray[Any]) -> NDArray[Any]:
    """HW, where the channels of HWC are one and the same."""
    if pixels.ndim == 2:
        return pixels
    grey, colours = pixels[..., 0], pixels[..., :3]
    if not (colours == grey[..., None]).all():
        _colours(f"an image of {pixels.shape[2]} channels that differ")
    if pixels.shape[2] == 4 and not (pixels[..., 3] == np.iinfo(pixels.dtype).max).all():
        raise DecodeError("expected labels, found transparent pixels: save the mask without alpha")
    return np.ascontiguousarray(grey)


_READERS = {"png": _png, "bmp": _bmp, "tiff": _tiff}
