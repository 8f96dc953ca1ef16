"""Labels out of PNG, BMP and TIFF files, the values that were stored and not their colours.

The labels are those of ``numpy.asarray(PIL.Image.open(file))``: the indices of a palette PNG, grey
values, and 0 and 1 where a pixel has a single bit.
"""

from __future__ import annotations

import struct
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...errors import DecodeError
from ..decode import decode_unchanged
from ..formats import png, tiff
from ..formats.checked import fail
from ..header import sniff

_GREY, _PALETTE = 0, 3
# What OpenCV multiplies grey samples of so few bits by, so that the brightest is 255.
_SCALES = {1: 255, 2: 85, 4: 17}


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
    chunks = _sound_chunks(data)
    kind, header = chunks[0]
    if kind != b"IHDR" or len(header) != 13:
        raise DecodeError(f"PNG: expected an IHDR chunk of 13 bytes, found {kind!r}")
    depth, colour = header[8], header[9]
    if colour == _PALETTE:
        header = header[:9] + bytes([_GREY]) + header[10:]
    # Without tRNS there is no alpha, without an acTL no second frame.
    kept = [(b"IHDR", header), *(chunk for chunk in chunks if chunk[0] == b"IDAT"), (b"IEND", b"")]
    pixels = decode_unchanged(png.SIGNATURE + b"".join(png.chunk(*chunk) for chunk in kept))
    if depth in _SCALES and (colour == _PALETTE or depth == 1):
        return pixels // np.uint8(_SCALES[depth])
    return _only_channel(pixels)


def _sound_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and body of each chunk up to IEND."""
    found, stop = [], 8
    for kind, at, stop in png.chunks(data):
        if not png.is_sound(data, at, stop):
            raise DecodeError(f"PNG: the chunk {kind!r} at byte {at} is damaged or cut off")
        found.append((kind, data[at + 8 : stop - 4]))
        if kind == b"IEND":
            return found
    fail("PNG", stop, "an IEND chunk", f"the end at byte {len(data)}")


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
    if b"+" in data[2:4]:
        raise DecodeError("TIFF: BigTIFF is not read as a mask: save it as a classic TIFF, or PNG")
    fields = tiff.integers("TIFF", data)
    tags = {tag: value for tag, kind, value in fields if kind in (tiff.SHORT, tiff.LONG)}
    if tags.get(tiff.PHOTOMETRIC) != 1 or tags.get(tiff.SAMPLES, 1) != 1:
        _colours("a TIFF that is not greyscale from black to white")
    bits = tags.get(tiff.BITS, 1)
    if bits not in (8, 16):
        raise DecodeError(f"TIFF: expected 8 or 16 bits to a pixel, found {bits}")
    return _only_channel(decode_unchanged(data))


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
