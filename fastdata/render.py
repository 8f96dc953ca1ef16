"""Executing a plan on decoded pixels: orient, crop, resize, pad, flip."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from . import resample
from .errors import DecodeError
from .plan import Box, Padding, Plan

Image = NDArray[np.uint8]

_BORDERS = {
    "constant": cv2.BORDER_CONSTANT,
    "edge": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT_101,
    "symmetric": cv2.BORDER_REFLECT,
}
_EXACT = {"bilinear": resample.resize_bilinear, "bicubic": resample.resize_bicubic}
_KERNELS = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
}


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
    direct = out if out is not None and out.shape[:2] == (height, width) else None
    if plan.antialias and resample.available():
        return _EXACT[plan.interpolation](image, height, width, direct)
    if plan.antialias and _needs_antialias(plan):
        return _resize_by_torch(image, plan)
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


def _resize_by_torch(image: Image, plan: Plan) -> Image:
    """Where numba is missing: antialiased within a level or two of Pillow's bilinear."""
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
