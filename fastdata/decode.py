"""An encoded image and a plan in, HWC uint8 RGB pixels out.

The only module that decodes: every reader goes through ``decode``, so a faster decoder has one
place to go to.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from .errors import DecodeError
from .header import sniff
from .jpeg import first_rows
from .plan import Box, Padding, Plan
from .sample import EncodedImage

Image = NDArray[np.uint8]
Buffer = bytes | memoryview

_COLOR_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_BORDERS = {
    "constant": cv2.BORDER_CONSTANT,
    "edge": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT_101,
    "symmetric": cv2.BORDER_REFLECT,
}
_KERNELS = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
}


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


def apply_orientation(image: Image, orientation: int) -> Image:
    """Undo EXIF orientation 2 to 8 (CIPA DC-008, tag 0x0112); the result may be a view."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image


def execute(image: Image, plan: Plan | None, *, out: Image | None = None) -> Image:
    """Apply a plan to HWC uint8 pixels.

    Args:
        image: HWC uint8; it is not changed.
        plan: made for exactly this height and width; None changes nothing.
        out: C-contiguous uint8 array of the result's shape to write into; then also returned.

    Returns:
        HWC uint8: ``out``, a new array, or a view of ``image`` where nothing has to be computed.

    Raises:
        DecodeError: the image is smaller than the one that the plan was made for.
        ValueError: ``out`` has another shape, type or layout.
    """
    if out is not None:
        _check_out(out, image.shape[:2] if plan is None else (plan.height, plan.width))
    if plan is None:
        return _deliver(image, None, out)
    if plan.before is not None:
        image = execute(image, plan.before)
    resized = _resize(_cut(image, plan.box), plan, out)
    if plan.padding is not None:
        resized = _pad(resized, plan.padding)
    return _deliver(_cut(resized, plan.window), plan, out)


def _check_out(out: Image, size: tuple[int, ...]) -> None:
    # OpenCV silently allocates another array in place of one that does not fit.
    if out.shape != (*size, 3) or out.dtype != np.uint8 or not out.flags.carray:
        found = f"{out.dtype} of shape {out.shape} and strides {out.strides}"
        raise ValueError(
            f"out must be a writable C-contiguous uint8 array {(*size, 3)}, found {found}"
        )


def _cut(image: Image, box: Box) -> Image:
    top, left, height, width = box
    if image.shape[:2] == (height, width) and top == left == 0:
        return image
    cut = image[top : top + height, left : left + width]
    if cut.shape[:2] != (height, width):
        found = f"{image.shape[0]}x{image.shape[1]}"
        raise DecodeError(f"the plan takes {box} from an image that has only {found} pixels")
    return cut


def _resize(image: Image, plan: Plan, out: Image | None) -> Image:
    if not plan.resizes:
        return image
    height, width = plan.size
    if plan.interpolation == "nearest":
        return _resize_nearest(image, height, width)
    if plan.antialias and _needs_antialias(plan):
        return _resize_antialiased(image, plan)
    direct = out if out is not None and out.shape[:2] == (height, width) else None
    resized = cv2.resize(image, (width, height), direct, interpolation=_KERNELS[plan.interpolation])
    return np.asarray(resized, np.uint8)


def _resize_nearest(image: Image, height: int, width: int) -> Image:
    rows, columns = _centres(image.shape[0], height), _centres(image.shape[1], width)
    result: Image = image.take(rows, axis=0).take(columns, axis=1)
    return result


def _centres(old: int, new: int) -> NDArray[np.intp]:
    # Sums up as Pillow does, so that a centre between two pixels falls on the same side of it;
    # OpenCV's kernel for this agrees only since version 5.
    steps = np.full(new, old / new)
    steps[0] /= 2
    return np.minimum(np.cumsum(steps).astype(np.intp), old - 1)


def _needs_antialias(plan: Plan) -> bool:
    if plan.interpolation == "bicubic":  # Pillow's antialiased cubic has another coefficient
        return True
    return plan.size[0] < plan.box.height or plan.size[1] < plan.box.width


def _resize_antialiased(image: Image, plan: Plan) -> Image:
    # torch takes neither the negative strides of a turned view nor read-only memory, and fails on
    # planes of their own for each channel when it shrinks to one pixel.
    if min(image.strides) < 1 or image.strides[2] != 1 or not image.flags.writeable:
        image = image.copy()
    pixels = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
    resized = torch.nn.functional.interpolate(
        pixels, plan.size, mode=plan.interpolation, antialias=True, align_corners=False
    )
    result: Image = resized[0].permute(1, 2, 0).numpy()
    return result


def _pad(image: Image, padding: Padding) -> Image:
    left, top, right, bottom, fill, mode = padding
    padded = cv2.copyMakeBorder(image, top, bottom, left, right, _BORDERS[mode], value=fill)
    return np.asarray(padded, np.uint8)


def _deliver(image: Image, plan: Plan | None, out: Image | None) -> Image:
    if plan is not None and (plan.hflip or plan.vflip):
        code = 0 if not plan.hflip else -1 if plan.vflip else 1
        return np.asarray(cv2.flip(image, code, out), np.uint8)  # in place where image is out
    if out is None or image is out:
        return image
    out[...] = image
    return out


class _SingleThreaded:
    """Counts who needs OpenCV to start no threads of its own: the setting is the process's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._threads = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._threads = cv2.getNumThreads()
                cv2.setNumThreads(0)
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                cv2.setNumThreads(self._threads)


#: ``with single_threaded_opencv:`` around work that several of our own threads share.
single_threaded_opencv = _SingleThreaded()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from printing about bad images, which we report; the whole process's setting."""
    logging: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging  # before and since 5
    level = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(level)
