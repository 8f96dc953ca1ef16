"""Image headers: format, size and EXIF orientation, without decoding a pixel.

Any bytes may come in: the result is a header or a ``DecodeError``, after at most one pass over the
data and 65,536 segments, chunks, boxes or table entries in a row.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import DecodeError
from .formats import jpeg, png, tiff
from .formats.checked import fail, unpack

# OpenCV's defaults for OPENCV_IO_MAX_IMAGE_WIDTH, _HEIGHT and _PIXELS: imdecode refuses more.
_MAX_SIDE, _MAX_PIXELS, _MAX_PARTS = 1 << 20, 1 << 30, 1 << 16
_MAGIC = re.compile(
    rb"(?P<jpeg>\xff\xd8\xff)|(?P<png>\x89PNG\r\n\x1a\n)|(?P<gif>GIF8[79]a)|(?P<bmp>BM)"
    rb"|(?P<webp>RIFF.{4}WEBP)|(?P<tiff>II[*+]\0|MM\0[*+])|(?P<pnm>P[1-6]\s|P7\n)"
    # The major brand, or one of the first 32 compatible brands, after the minor version.
    rb"|(?P<avif>\0\0..ftyp(?:avi[fs]|.{8}(?:.{4}){0,31}?avi[fs]))",
    re.DOTALL,
)
_PNM_NUMBER = rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,10})(?=\s)"
_PNM_SIZE = re.compile(rb"P[1-6]" + _PNM_NUMBER * 2)
_PAM_FIELD = rb"(?=(?:(?!ENDHDR).*\n)*?%s[ \t]+(\d{1,10})\s)"  # fields come in any order
_PAM_SIZE = re.compile(rb"P7\n" + _PAM_FIELD % b"WIDTH" + _PAM_FIELD % b"HEIGHT")
# Layout of length and kind, and bytes before the body that the length counts.
_CHUNK_LAYOUTS = {"AVIF": (">I4s", 8), "WebP": ("<4sI", 0)}
_Fields = tuple[int, int, int]  # height, width, orientation


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Format, size and orientation, as an encoded image states them.

    ``format`` is avif, bmp, gif, jpeg, png, pnm, tiff or webp. ``height`` and ``width``, in pixels,
    are those that ``cv2.imdecode`` returns with IMREAD_COLOR_RGB | IMREAD_IGNORE_ORIENTATION.
    ``orientation`` (EXIF tag 0x0112, CIPA DC-008), 1 to 8, says how that array still has to be
    turned; it is 1, upright, when absent or invalid.
    """

    format: str
    height: int
    width: int
    orientation: int


def probe(data: bytes | memoryview) -> ImageHeader:
    """Read format, size and orientation of an encoded image; neither decodes nor copies pixels.

    ``data`` is the whole encoded image, contiguous. Raises ``DecodeError`` for an unknown format, a
    damaged or truncated header, and a size of zero or beyond OpenCV's limits (2^20 a side, 2^30
    pixels). A returned header does not promise that the pixels behind it can be decoded.
    """
    view = memoryview(data).cast("B")
    if (name := sniff(view)) is None:
        fail("image", 0, f"the first bytes of {', '.join(_READERS)}", bytes(view[:12]))
    return ImageHeader(name, *_READERS[name](view))


def orientation_of(data: bytes | memoryview) -> int:
    """EXIF orientation of an encoded image, 1 to 8; 1 where its header is not known to us."""
    try:
        return probe(data).orientation
    except DecodeError:  # it may still be decodable; then there is nothing to rotate
        return 1


def sniff(data: bytes | memoryview) -> str | None:
    """Return the format that the first bytes name (see ``ImageHeader``), or None."""
    match = _MAGIC.match(memoryview(data).cast("B"))
    return match.lastgroup if match else None


def _fields(what: str, at: int, height: int, width: int, orientation: int = 1) -> _Fields:
    if not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE and height * width <= _MAX_PIXELS):
        fail(what, at, "sides of 1 to 2^20, at most 2^30 pixels", f"{height} high, {width} wide")
    return height, width, orientation


def _jpeg(view: memoryview) -> _Fields:
    size, end, frame, exif = len(view), 2, 0, None
    for number, (marker, at, end) in enumerate(jpeg.segments(view, jpeg.ANYWHERE)):
        if number == _MAX_PARTS:
            fail("JPEG", at, f"a scan within {_MAX_PARTS} markers", "none")
        if not at + 2 <= end <= size:
            fail("JPEG", at, f"a whole segment 0x{marker:02X}", f"a length of {end - at}")
        if marker == jpeg.APP1 and exif is None and bytes(view[at + 2 : at + 8]) == b"Exif\0\0":
            exif = view[at + 2 : end]
        elif marker in jpeg.FRAMES and not frame:
            frame = at + 3
            height, width = unpack("JPEG", ">HH", view[:end], frame)
            if height == 0:
                fail("JPEG", frame, "a height", "0: left to DNL, which OpenCV cannot read")
        elif marker == jpeg.SOS and frame:
            return _fields("JPEG", frame, height, width, _orientation(exif))
        elif marker in jpeg.FRAMES or marker in (jpeg.SOI, jpeg.EOI, jpeg.SOS):
            fail("JPEG", at - 2, "one frame header, then a scan", f"marker 0x{marker:02X}")
    fail("JPEG", end, "a marker segment", f"none up to the end at byte {size}")


def _png(view: memoryview) -> _Fields:
    start, width, height = unpack("PNG", ">8sII9x", view, 8)
    if start != b"\0\0\0\x0dIHDR" or not png.is_sound(view, 8, 33):
        fail("PNG", 8, "a 13-byte IHDR chunk and its CRC-32", bytes(view[8:33]))
    stop, exif = 33, None
    for number, (kind, at, stop) in enumerate(png.chunks(view, 33)):
        if number == _MAX_PARTS:
            fail("PNG", at, f"at most {_MAX_PARTS} chunks", "more")
        if stop > len(view):
            length = f"{kind!r} of length {stop - at - 12}"
            fail("PNG", at, f"a whole chunk before byte {len(view)}", length)
        if kind == b"eXIf" and png.is_sound(view, at, stop):
            exif = view[at + 8 : stop - 4]
        elif kind == b"IEND":  # eXIf may also follow the pixels
            return _fields("PNG", 16, height, width, _orientation(exif))
    fail("PNG", stop, "an IEND chunk", f"the end at byte {len(view)}")


def _gif(view: memoryview) -> _Fields:
    return _fields("GIF", 6, *reversed(unpack("GIF", "<HH", view, 6)))


def _bmp(view: memoryview) -> _Fields:
    (info_size,) = unpack("BMP", "<I", view, 14)
    if info_size != 12 and info_size < 40:
        fail("BMP", 14, "an info header of 12 (OS/2) or at least 40 bytes", info_size)
    width, height = unpack("BMP", "<HH" if info_size == 12 else "<ii", view, 18)
    return _fields("BMP", 18, abs(height), width)  # negative: rows run from the top


def _webp(view: memoryview) -> _Fields:
    riff_size, kind = unpack("WebP", "<4xI4x4s", view, 0)
    view, exif = view[: 8 + riff_size], None
    if len(view) < max(8 + riff_size, 25 if kind == b"VP8L" else 30):
        fail("WebP", 4, "the size of a whole image", f"{riff_size}, the end at byte {len(view)}")
    bits = int.from_bytes(view[20:30], "little")
    if kind == b"VP8 " and bits >> 24 & 0xFFFFFF == 0x2A019D:  # RFC 6386, 9.1
        width, height = bits >> 48 & 0x3FFF, bits >> 64 & 0x3FFF
    elif kind == b"VP8L" and bits & 0xFF == 0x2F:  # RFC 9649, 3.4
        width, height = 1 + (bits >> 8 & 0x3FFF), 1 + (bits >> 22 & 0x3FFF)
    elif kind == b"VP8X":  # RFC 9649, 2.7; bit 3 announces EXIF
        width, height = 1 + (bits >> 32 & 0xFFFFFF), 1 + (bits >> 56)
        chunks = _chunks("WebP", view, 12, len(view)) if bits & 8 else ()
        exif = next((view[at:end] for name, at, end in chunks if name == b"EXIF"), None)
    else:
        fail("WebP", 12, "a VP8, VP8L or VP8X chunk", bytes(view[12:30]))
    return _fields("WebP", 20, height, width, _orientation(exif))


def _tiff(view: memoryview) -> _Fields:
    tags = _tags("TIFF", view)
    height, width = tags.get(tiff.HEIGHT, 0), tags.get(tiff.WIDTH, 0)
    if 5 <= tags.get(tiff.ORIENTATION, 1) <= 8:
        # OpenCV and Pillow turn a TIFF upright while decoding, whatever the flags.
        height, width = width, height
    return _fields("TIFF", 4, height, width)


def _orientation(exif: memoryview | None) -> int:
    if not exif:
        return 1
    try:  # in PNG and WebP the prefix is wrong but common
        tags = _tags("EXIF", exif[6 * (bytes(exif[:6]) == b"Exif\0\0") :])
    except DecodeError:
        return 1
    turn = tags.get(tiff.ORIENTATION, 1)
    return turn if 0 < turn < 9 else 1


def _tags(what: str, view: memoryview) -> dict[int, int]:
    """The first value of each tag that has an integer."""
    tags: dict[int, int] = {}
    for tag, _, value in tiff.integers(what, view):
        tags.setdefault(tag, value)
    return tags


def _pnm(view: memoryview) -> _Fields:
    match = (_PAM_SIZE if view[1] == 0x37 else _PNM_SIZE).match(view, 0, _MAX_PARTS)
    if match is None:
        fail("PNM", 2, "a width and a height in decimal", bytes(view[2:34]))
    return _fields("PNM", 2, int(match[2]), int(match[1]))


def _avif(view: memoryview) -> _Fields:  # ISO/IEC 14496-12, 8.11; 23008-12, 6.5.3
    start, end = _box(view, b"meta", 0, len(view))
    pitm, pitm_end = _box(view, b"pitm", start + 4, end)  # 4: past a FullBox's version and flags
    item = int.from_bytes(view[pitm + 4 : pitm_end], "big")
    iprp = _box(view, b"iprp", start + 4, end)
    properties = list(_chunks("AVIF", view, *_box(view, b"ipco", *iprp)))
    start, end = _box(view, b"ipma", *iprp)
    for index in _property_indices(view[:end], start, item):
        if 0 < index <= len(properties) and properties[index - 1][0] == b"ispe":
            at = properties[index - 1][1] + 4
            width, height = unpack("AVIF", ">II", view, at)
            return _fields("AVIF", at, height, width)  # OpenCV leaves irot and imir to others
    fail("AVIF", start, f"an ispe property of the primary item {item}", "none")


def _box(view: memoryview, kind: bytes, at: int, end: int) -> tuple[int, int]:
    for found, start, stop in _chunks("AVIF", view, at, end):
        if found == kind:
            return start, stop
    fail("AVIF", at, f"a box {kind!r}", f"none before byte {end}")


def _chunks(what: str, view: memoryview, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the body of each chunk (in AVIF: box) from at to end."""
    layout, counted = _CHUNK_LAYOUTS[what]
    for _ in range(_MAX_PARTS):
        if at >= end:
            return
        length, kind = unpack(what, layout, view, at)[:: -1 if what == "WebP" else 1]
        stop = at + 8 + length - counted
        if not at + 8 <= stop <= end:
            fail(what, at, f"a whole chunk before byte {end}", f"{kind!r} of length {length}")
        yield kind, at + 8, stop
        at = stop + (length % 2 if what == "WebP" else 0)
    fail(what, at, f"at most {_MAX_PARTS} chunks", "more")


def _property_indices(view: memoryview, at: int, item: int) -> list[int]:
    version, flags, count = unpack("AVIF", ">B2xBI", view, at)
    entry = ">IB" if version else ">HB"
    index, mask = ("H", 0x7FFF) if flags & 1 else ("B", 0x7F)  # less the bit for "essential"
    at += 8
    for _ in range(min(count, _MAX_PARTS)):
        found, length = unpack("AVIF", entry, view, at)
        at += struct.calcsize(entry)
        if found == item:
            return [i & mask for i in unpack("AVIF", f">{length}{index}", view, at)]
        at += length * struct.calcsize(index)
    return []


_READERS = {"avif": _avif, "bmp": _bmp, "gif": _gif, "jpeg": _jpeg, "png": _png, "pnm": _pnm,
            "tiff": _tiff, "webp": _webp}  # fmt: skip
