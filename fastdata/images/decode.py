"""An encoded image and a plan in, HWC uint8 RGB pixels out.

The only module that decodes: every reader goes through ``decode_image``. ``decoders`` has those
that it may use for JPEGs instead of OpenCV.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import DecodeError
from . import jpeg
from .decoders import DECODERS
from .formats.png import without_animation
from .header import sniff
from .jpeg import Slicer, first_rows, indexed_size
from .limits import announced_size, check_announced, check_pixels, check_size
from .plan import Box, Plan
from .render import Image, apply_orientation, apply_plan
from .stored import EncodedImage

Buffer = bytes | memoryview

# OpenCV names the reduced modes for greyscale; what they add to them for colour is BGR's flag.
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_COLOR_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def decode_image(
    image: EncodedImage,
    plan: Plan | None = None,
    *,
    out: Image | None = None,
    reduce: bool = False,
    decoder: str = "opencv",
) -> Image:
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
        reduce: allow decoding a JPEG at 1/2, 1/4 or 1/8 of its size, by leaving out its high
            frequencies, where the plan shrinks at least that much. It changes pixels.
        decoder: a key of ``decoders.DECODERS``, for JPEGs that are not reduced.

    Returns:
        HWC uint8 RGB, 0 to 255, C-contiguous and writable, in memory of its own (or ``out``).

    Raises:
        DecodeError: the bytes are damaged, cut off, of no known format, of another size than
            ``image`` announces, or of more than ``limits.MOST_PIXELS`` pixels. Where the header
            tells the size, this comes before anything is inflated.
        ValueError: ``out`` has another shape, type or layout.
    """
    if image.raw:
        pixels = _raw_pixels(image)
    elif plan is None or not image.height or image.orientation != 1:
        pixels = _whole_pixels(image, decoder)
    else:
        pixels, plan = _needed_pixels(image, plan, reduce, decoder)
    if image.orientation != 1:
        pixels = apply_orientation(pixels, image.orientation)
    result = apply_plan(pixels, plan, out=out)
    if out is not None:
        return out
    return result if result.flags.c_contiguous and result.flags.writeable else result.copy()


def _whole_pixels(image: EncodedImage, decoder: str) -> Image:
    if not image.height:
        return decode_whole(image.data, decoder=decoder)
    check_size(image.data, image.height, image.width)
    pixels = _pixels(image.data, 1, decoder)
    if pixels.shape[:2] != (image.height, image.width):
        raise DecodeError(_another_size(image, pixels.shape))
    return pixels


def _another_size(image: EncodedImage, found: tuple[int, ...]) -> str:
    return f"expected {image.height}x{image.width} pixels, found {found[0]}x{found[1]}"


def _needed_pixels(
    image: EncodedImage, plan: Plan, reduce: bool, decoder: str
) -> tuple[Image, Plan]:
    """A part of the image with all pixels that the plan takes, and the plan for that part."""
    box = plan.first.box
    by = _reduction(image.data, plan.first) if reduce else 1
    sliced = cut_slice(image, plan)
    if sliced is not None:
        data, plan = sliced
        return _reduced(data.data, plan, by, decoder)
    if not image.slice_index:
        shorter = first_rows(image.data, box.top + box.height, (image.height, image.width))
        if shorter is not None:
            # Damaged, or a decoder that insists on an end, as simplejpeg does: then the whole file
            # is to tell.
            with suppress(DecodeError):
                return _reduced(shorter.data, plan, by, "opencv")
    if by == 1:
        return _whole_pixels(image, decoder), plan
    check_size(image.data, image.height, image.width)
    return _reduced(image.data, plan, by, decoder)


def cut_slice(image: EncodedImage, plan: Plan) -> tuple[NDArray[np.uint8], Plan] | None:
    """The part of a sliceable record that a plan needs, as a JPEG file, and the plan for that.

    Args:
        image: whose orientation is 1, or is not undone.
        plan: made for the whole image.

    Returns:
        the file's bytes, valid until this thread's next call; None where the record is to be
        decoded whole.

    Raises:
        DecodeError: the record's index is damaged, or one of another image.
    """
    slicer = _slicers.get() if image.slice_index else None
    if slicer is None:
        return None
    found = indexed_size(image.data, image.slice_index)
    if found != (image.height, image.width):  # the box would be one of another image
        raise DecodeError(f"{_another_size(image, found)} in the record's index")
    box = plan.first.box
    part = slicer.slice(image.data, image.slice_index, box)
    if part is None:
        return None
    return part.data, plan.from_box(Box(part.top, part.left, box.height, box.width))


def _reduced(data: Buffer, plan: Plan, by: int, decoder: str) -> tuple[Image, Plan]:
    """Decode at 1/``by`` of the size, and the plan for that."""
    pixels = _pixels(data, by, decoder)
    if by == 1:
        return pixels, plan
    top, left, height, width = (round(length / by) for length in plan.first.box)
    height = min(height, pixels.shape[0] - top)
    width = min(width, pixels.shape[1] - left)
    return pixels, plan.from_box(Box(top, left, height, width))


def _reduction(data: Buffer, plan: Plan) -> int:
    """Factor by which decoding may reduce a JPEG: to no less than the plan resizes to."""
    if data[:2] != b"\xff\xd8":
        return 1
    room = min(plan.box.height // plan.size[0], plan.box.width // plan.size[1])
    return next((by for by in (8, 4, 2) if by <= room), 1)


class _Slicers(threading.local):
    """One slicer a thread, since each has memory of its own."""

    def __init__(self) -> None:
        self._slicer: Slicer | None = None
        self._tried = False

    def get(self) -> Slicer | None:
        if not self._tried:
            self._tried = True
            self._slicer = Slicer() if load_kernels() else None
        return self._slicer


_slicers = _Slicers()


def load_kernels() -> bool:
    """Load the compiled kernels now; False, with a warning, where numba cannot be imported.

    Worker processes that are forked afterwards have them, too.
    """
    global _told
    if jpeg.available():
        return True
    if not _told:
        _told = True
        message = "numba cannot be imported, so images are decoded whole: pip install numba"
        warnings.warn(message, stacklevel=2)
    return False


_told = False


def _raw_pixels(image: EncodedImage) -> Image:
    shape, found = (image.height, image.width, 3), len(image.data)
    if found != image.height * image.width * 3:
        raise DecodeError(f"expected {image.height}x{image.width}x3 raw bytes, found {found}")
    pixels: Image = np.ndarray(shape, np.uint8, image.data)
    pixels.setflags(write=False)  # the caller's memory, even where it is a bytearray
    return pixels


def decode_whole(data: Buffer, reduce_by: int = 1, decoder: str = "opencv") -> Image:
    """Decode every pixel to HWC uint8 RGB in a new array, ignoring any orientation tag.

    With ``reduce_by`` 2, 4 or 8, height and width are divided by it, rounded up.

    Raises:
        DecodeError: as ``decode_image``.
    """
    check_announced(data)
    return _pixels(data, reduce_by, decoder)


def decoded_size(data: Buffer) -> tuple[int, int]:
    """Height and width of an image, once it has been found that it can be decoded.

    Of a JPEG all codes are decoded, but to an eighth of its size, in two thirds of the time: what
    is saved, inverse DCT and colours, cannot fail.

    Raises:
        DecodeError: as ``decode_image``.
    """
    announced = announced_size(data) if data[:2] == b"\xff\xd8" else None
    if announced is None:
        return _height_and_width(decode_whole(data))
    check_pixels(*announced)
    height, width = announced
    if _height_and_width(_pixels(data, 8)) == (-(-height // 8), -(-width // 8)):
        return announced
    return _height_and_width(_pixels(data))


def _height_and_width(image: Image) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def check_decodes(image: EncodedImage) -> None:
    """Raise what ``decode_image`` of the whole image would raise, in less time."""
    if image.raw:
        _raw_pixels(image)
        return
    check_size(image.data, image.height, image.width)
    found = decoded_size(image.data)
    if found != (image.height, image.width):
        raise DecodeError(_another_size(image, found))


def decode_unchanged(data: Buffer) -> NDArray[Any]:
    """Decode every value as it is stored: HW or HWC in BGR(A) order, of the file's own dtype.

    Palettes are applied, and samples of 1, 2 or 4 bits scaled to 0 to 255.

    Raises:
        DecodeError: as ``decode_image``.
    """
    check_announced(data)
    return np.asarray(_imdecode(data, cv2.IMREAD_UNCHANGED))


def _pixels(data: Buffer, reduce_by: int = 1, decoder: str = "opencv") -> Image:
    """``decode_whole`` of bytes whose size has been looked at."""
    if reduce_by == 1 and data[:2] == b"\xff\xd8":
        found = DECODERS[decoder](data)
        if found is not None:
            return found
    image = _imdecode(data, _COLOR_FLAGS | _REDUCED[reduce_by])
    if data[4:8] == b"ftyp" and sniff(data) == "avif":
        image = _without_alpha(data, image)
    return np.asarray(image, np.uint8)


def _imdecode(data: Buffer, flags: int) -> Any:
    if len(data) == 0:
        raise DecodeError("expected an encoded image, found 0 bytes")
    try:
        image = cv2.imdecode(np.frombuffer(without_animation(data), np.uint8), flags)
    except cv2.error as error:
        raise DecodeError(f"OpenCV refuses the image: {error}") from error
    if image is None or image.size == 0:
        raise DecodeError(_why_undecodable(data))
    return image


def _without_alpha(data: Buffer, image: Any) -> Any:
    # For AVIF, OpenCV's three-channel mode blends colours with alpha instead of dropping it.
    full = _imdecode(data, cv2.IMREAD_UNCHANGED)
    if full.ndim != 3 or full.shape[2] != 4 or full.dtype != np.uint8:
        return image
    return cv2.cvtColor(full, cv2.COLOR_BGRA2RGB)


def _why_undecodable(data: Buffer) -> str:
    found = sniff(data)
    if found is None:
        start = bytes(data[:8]).hex(" ")
        return f"expected an encoded image, found {len(data)} bytes that begin with {start}"
    reasons = f"damaged, cut off or of a kind that OpenCV {cv2.__version__} does not read"
    return f"the {found} data is {reasons} ({len(data)} bytes)"
