"""From an image, as a file's bytes or as pixels, to the bytes that a pack stores, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from ..errors import DecodeError, OptionError
from . import jpeg
from .decode import decode_whole, decoded_size
from .header import probe
from .plan import Plan
from .render import Image, execute
from .stored import StoredMedia

CHECKS = ("decode", "header")
DEFAULT_ENCODING = "sliceable"
DEFAULT_QUALITY = 90


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How images are stored.

    Attributes:
        encoding: "sliceable" (JPEGs rewritten without loss, so that a part of one can be decoded;
            other files as they are), "keep" (the file's own bytes), "jpeg", "png" (both
            re-encoded) or "raw" (HWC uint8 RGB pixels).
        resize_short: shrink so that the shorter side has this many pixels, to the size and the
            pixels of torchvision's ``Resize`` of a PIL image (without numba: ``transforms.Resize``
            tells).
        max_side: the same for the longer side.
        quality: JPEG quality, 1 to 100 (default 90).
        check: "decode" decodes each image before it is stored; "header" trusts its header.

    Raises:
        OptionError: the options contradict each other.
    """

    encoding: str = DEFAULT_ENCODING
    resize_short: int | None = None
    max_side: int | None = None
    quality: int | None = None
    check: str = "decode"

    def __post_init__(self) -> None:
        sides = [side for side in (self.resize_short, self.max_side) if side is not None]
        rules = [
            (
                self.encoding not in ENCODERS,
                f"encoding must be one of {', '.join(ENCODERS)}; got {self.encoding!r}",
            ),
            (
                self.check not in CHECKS,
                f"check must be one of {', '.join(CHECKS)}; got {self.check!r}",
            ),
            (len(sides) > 1, "resize_short and max_side exclude each other"),
            (any(side < 1 for side in sides), "resize_short and max_side must be >= 1"),
            (
                bool(sides) and self.encoding in ("sliceable", "keep"),
                f"encoding {self.encoding!r} keeps every pixel and cannot resize: "
                "choose encoding jpeg, png or raw",
            ),
            (
                self.quality is not None and self.encoding != "jpeg",
                f"quality applies to encoding 'jpeg' only, not to {self.encoding!r}",
            ),
            (
                self.quality is not None and not 1 <= self.quality <= 100,
                f"quality must be 1 to 100, got {self.quality}",
            ),
            (
                self.check == "header" and self.encoding != "keep",
                f"check 'header' does not decode, encoding {self.encoding!r} has to: "
                "choose encoding keep",
            ),
        ]
        for broken, message in rules:
            if broken:
                raise OptionError(message)

    @property
    def shrinks(self) -> bool:
        """Whether images may be made smaller."""
        return self.resize_short is not None or self.max_side is not None

    def describe(self) -> dict[str, Any]:
        """The settings as they stand in the manifest; ``check`` leaves no trace in the bytes."""
        values = {k: v for k, v in asdict(self).items() if v is not None and k != "check"}
        if self.encoding == "jpeg":
            values["quality"] = self.quality or DEFAULT_QUALITY
        return {"name": values.pop("encoding"), **values}


class Encoded(NamedTuple):
    """A stored image, and the height and width that it had before it was shrunk."""

    media: StoredMedia
    size: tuple[int, int]


def encode(data: bytes | Image, settings: EncodeSettings) -> Encoded:
    """Check an image and turn it into what is stored.

    Args:
        data: an image file's bytes, or HWC uint8 RGB pixels; pixels are stored as PNG where the
            encoding would keep a file.
        settings: how.

    Raises:
        DecodeError: it is no image that can be decoded or encoded.
    """
    if isinstance(data, np.ndarray):
        return _PIXEL_ENCODERS[settings.encoding](data, settings, 1)
    return ENCODERS[settings.encoding](data, settings)


def _keep(data: bytes, settings: EncodeSettings) -> Encoded:
    if settings.check == "header":
        header = probe(data)
        return _as_it_is(data, (header.height, header.width), header.orientation)
    return _as_it_is(data, decoded_size(data), orientation_of(data))


def _sliceable(data: bytes, settings: EncodeSettings) -> Encoded:
    image = decode_whole(data)
    return Encoded(_sliced(data, image, orientation_of(data)), image.shape[:2])


def _decoded(encode_pixels: Callable[[Image, EncodeSettings, int], Encoded]) -> _Encoder:
    def encoder(data: bytes, settings: EncodeSettings) -> Encoded:
        return encode_pixels(decode_whole(data), settings, orientation_of(data))

    return encoder


def _jpeg(image: Image, settings: EncodeSettings, orientation: int) -> Encoded:
    shrunk = _shrunk(image, settings)
    quality = settings.quality or DEFAULT_QUALITY
    interval = jpeg.interval_for(*shrunk.shape[:2])
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    data = _compressed(shrunk, ".jpg", options, spare=shrunk is not image)
    media, record = _media(data, shrunk, orientation), jpeg.index(data)
    if record is not None:
        media = media._replace(data=record.record, slice_index=record.index_offset)
    return Encoded(media, image.shape[:2])


def _png(image: Image, settings: EncodeSettings, orientation: int) -> Encoded:
    shrunk = _shrunk(image, settings)
    data = _compressed(shrunk, ".png", [], spare=shrunk is not image)
    return Encoded(_media(data, shrunk, orientation), image.shape[:2])


def _raw(image: Image, settings: EncodeSettings, orientation: int) -> Encoded:
    shrunk = _shrunk(image, settings)
    return Encoded(_media(shrunk.tobytes(), shrunk, orientation), image.shape[:2])


def _sliced(data: bytes, image: Image, orientation: int) -> StoredMedia:
    """The sliceable form if it decodes to the very same pixels, else the bytes as they are."""
    result = jpeg.transcode(data)
    if isinstance(result, jpeg.Reason):
        return _media(data, image, orientation)._replace(verbatim=result.value)
    if not _decodes_to(result.record, image):
        verbatim = "its sliceable form does not decode to the same pixels"
        return _media(data, image, orientation)._replace(verbatim=verbatim)
    return _media(result.record, image, orientation)._replace(slice_index=result.index_offset)


def _decodes_to(record: bytes, image: Image) -> bool:
    try:
        found = decode_whole(record)
    except DecodeError:
        return False
    # In a tenth of the time of np.array_equal, and without the GIL.
    return found.shape == image.shape and cv2.norm(found, image, cv2.NORM_INF) == 0


def _compressed(image: Image, suffix: str, options: list[int], *, spare: bool) -> bytes:
    """RGB pixels as a file; ``spare`` allows to change them in place."""
    try:
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=image if spare else None)
        done, encoded = cv2.imencode(suffix, bgr, options)
    except cv2.error as error:
        raise DecodeError(f"OpenCV cannot encode it as {suffix}: {error}") from error
    if not done:
        size = f"{image.shape[0]}x{image.shape[1]}"
        raise DecodeError(f"OpenCV cannot encode an image of {size} as {suffix}")
    return encoded.tobytes()


_Encoder = Callable[[bytes, EncodeSettings], Encoded]

ENCODERS: dict[str, _Encoder] = {
    "sliceable": _sliceable,
    "keep": _keep,
    "jpeg": _decoded(_jpeg),
    "png": _decoded(_png),
    "raw": _decoded(_raw),
}

_PIXEL_ENCODERS: dict[str, Callable[[Image, EncodeSettings, int], Encoded]] = {
    "sliceable": _png,
    "keep": _png,
    "jpeg": _jpeg,
    "png": _png,
    "raw": _raw,
}


def _shrunk(image: Image, settings: EncodeSettings) -> Image:
    height, width = image.shape[:2]
    short, long = sorted((height, width))
    limit, named = settings.resize_short, short
    if limit is None:
        limit, named = settings.max_side, long
    if limit is None or limit >= named:
        return image
    # Rounded down, as torchvision does, and exact, since no float is involved.
    size = max(height * limit // named, 1), max(width * limit // named, 1)
    return execute(image, Plan.whole(height, width).resize(*size))


def orientation_of(data: bytes) -> int:
    """EXIF orientation of an encoded image, 1 to 8; 1 where its header is not known to us."""
    try:
        return probe(data).orientation
    except DecodeError:  # it may still be decodable; then there is nothing to rotate
        return 1


def _as_it_is(data: bytes, size: tuple[int, int], orientation: int) -> Encoded:
    return Encoded(StoredMedia(data, *size, orientation), size)


def _media(data: bytes, image: Image, orientation: int) -> StoredMedia:
    return StoredMedia(data, image.shape[0], image.shape[1], orientation)
