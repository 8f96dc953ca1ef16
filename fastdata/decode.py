"""An encoded image and a plan in, HWC uint8 RGB pixels out.

The only module that decodes: every reader goes through ``decode``, so a faster decoder has one
place to go to.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from .errors import DecodeError
from .header import sniff
from .jpeg import first_rows
from .plan import Plan
from .render import Image, apply_orientation, execute
from .sample import EncodedImage

Buffer = bytes | memoryview

_COLOR_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def decode(image: EncodedImage, plan: Plan | None = None, *, out: Image | None = None) -> Image:
    """Decode an image, then rotate, crop, resize and flip it as asked.

    Greyscale, palette, alpha (dropped), 16-bit (its high byte), CMYK and an animation's first
    frame all become RGB, as Pillow's ``convert("RGB")`` makes them. Where OpenCV differs: CMYK by
    up to 2 levels; 16-bit grey, which Pillow clips; TIFF's alpha, and that of AVIF beyond 8 bits,
    darkens the colours; GIF's transparent pixels show the background colour.

    Args:
        image: a whole JPEG, PNG, WebP, BMP, TIFF, PNM, GIF or AVIF file, or raw pixels.
        plan: geometry, in the coordinates of the image after its orientation is applied.
        out: C-contiguous HWC uint8 array of the result's shape to write into; it is then also
            returned.

    Returns:
        HWC uint8 RGB, 0 to 255, C-contiguous and writable, in memory of its own (or ``out``).

    Raises:
        DecodeError: the bytes are damaged, cut off, of no known format, or of another size than
            ``image`` announces.
        ValueError: ``out`` has another shape, type or layout.
    """
    pixels = _raw_pixels(image) if image.raw else _upper_pixels(image, plan)
    if pixels is None:
        pixels = decode_whole(image.data)
        if image.height and pixels.shape[:2] != (image.height, image.width):
            found = f"{pixels.shape[0]}x{pixels.shape[1]}"
            raise DecodeError(f"expected {image.height}x{image.width} pixels, found {found}")
    result = execute(apply_orientation(pixels, image.orientation), plan, out=out)
    return result if result.flags.c_contiguous and result.flags.writeable else result.copy()


def _upper_pixels(image: EncodedImage, plan: Plan | None) -> Image | None:
    """A JPEG's pixels down to the last row that the plan takes; None if all have to be decoded."""
    if plan is None or not image.height or image.orientation != 1:
        return None
    box = plan.first.box
    shorter = first_rows(image.data, box.top + box.height, (image.height, image.width))
    if shorter is None:
        return None
    try:
        return decode_whole(shorter.data)
    except DecodeError:  # damaged, or a decoder that insists on an end: let the whole file tell
        return None


def _raw_pixels(image: EncodedImage) -> Image:
    pixels = np.frombuffer(image.data, np.uint8)
    if pixels.size != image.height * image.width * 3:
        raise DecodeError(f"expected {image.height}x{image.width}x3 raw bytes, found {pixels.size}")
    pixels.flags.writeable = False  # the caller's memory, even where it is a bytearray
    return pixels.reshape(image.height, image.width, 3)


def decode_whole(data: Buffer) -> Image:
    """Decode every pixel to HWC uint8 RGB in a new array, ignoring any orientation tag."""
    if len(data) == 0:
        raise DecodeError("expected an encoded image, found 0 bytes")
    source = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(source, _COLOR_FLAGS)
        if image is not None and sniff(data) == "avif":
            image = _without_alpha(source, image)
    except cv2.error as error:
        raise DecodeError(f"OpenCV refuses the image: {error}") from error
    if image is None or image.size == 0:
        raise DecodeError(_why_undecodable(data))
    return np.asarray(image, np.uint8)


def _without_alpha(source: Image, image: Any) -> Any:
    # For AVIF, OpenCV's three-channel mode blends colours with alpha instead of dropping it.
    full = cv2.imdecode(source, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if full is None or full.ndim != 3 or full.shape[2] != 4 or full.dtype != np.uint8:
        return image
    return cv2.cvtColor(full, cv2.COLOR_BGRA2RGB)


def _why_undecodable(data: Buffer) -> str:
    found = sniff(data)
    if found is None:
        start = bytes(data[:8]).hex(" ")
        return f"expected an encoded image, found {len(data)} bytes that begin with {start}"
    reasons = f"damaged, cut off or of a kind that OpenCV {cv2.__version__} does not read"
    return f"the {found} data is {reasons} ({len(data)} bytes)"
