"""Executing a plan on decoded pixels: orient, crop, resize, pad, flip."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import DecodeError
from . import resample
from .plan import Box, Padding, Plan

Image = NDArray[np.uint8]
Labels = NDArray[Any]  # HW, uint8 or uint16

_BORDERS = {
    "constant": cv2.BORDER_CONSTANT,
    "edge": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT_101,
    "symmetric": cv2.BORDER_REFLECT,
}
_KERNELS = {"bilinear": resample.resize_bilinear, "bicubic": resample.resize_bicubic}


def apply_orientation(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo EXIF orientation 2 to 8 (CIPA DC-008, tag 0x0112) of HW or HWC; may give a view."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image


def apply_plan(image: Image, plan: Plan | None, *, out: Image | None = None) -> Image:
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
    if out is not None:  # OpenCV silently allocates another array in place of one that does not fit
        height, width = image.shape[:2] if plan is None else (plan.height, plan.width)
        resample.check_out(out, height, width)
    if plan is None:
        return _deliver(image, out)
    if plan.before is not None:
        image = apply_plan(image, plan.before)
    mirrored = plan.hflip and plan.resizes and plan.keeps_whole  # while it is resized
    resized = _resize(_cut(image, plan.box), plan, out, mirrored)
    if plan.padding is not None:
        resized = _pad(resized, plan.padding)
    return _deliver(_cut(resized, plan.window), out, plan.hflip and not mirrored, plan.vflip)


def apply_plan_nearest(labels: Labels, plan: Plan | None, fill: int = 0) -> Labels:
    """Apply a plan to labels by pixel, which must never be mixed with each other.

    Boxes, windows, flips and padding are those of ``apply_plan``; whatever the plan's
    interpolation, each pixel of a resized result is the one pixel whose area its centre falls into,
    as Pillow's NEAREST and torch's "nearest-exact" have it.

    Args:
        labels: HW; they are not changed.
        plan: made for exactly this height and width; None changes nothing.
        fill: of padding by a constant; the plan's own is a colour.

    Returns:
        HW of the same dtype, often a view of ``labels``.

    Raises:
        DecodeError: ``labels`` are smaller than the image that the plan was made for.
    """
    if plan is None:
        return labels
    if plan.before is not None:
        labels = apply_plan_nearest(labels, plan.before, fill)
    labels = _cut(labels, plan.box)
    if plan.resizes:
        labels = _resize_nearest(labels, *plan.size)
    if plan.padding is not None:
        labels = _pad(labels, plan.padding._replace(fill=(fill, fill, fill)))
    return _deliver(_cut(labels, plan.window), None, plan.hflip, plan.vflip)


def _cut(image: NDArray[Any], box: Box) -> NDArray[Any]:
    top, left, height, width = box
    if image.shape[:2] == (height, width) and top == left == 0:
        return image
    cut = image[top : top + height, left : left + width]
    if cut.shape[:2] != (height, width):
        found = f"{image.shape[0]}x{image.shape[1]}"
        raise DecodeError(f"the plan takes {box} from an image that has only {found} pixels")
    return cut


def _resize(image: Image, plan: Plan, out: Image | None, mirrored: bool) -> Image:
    """Resize, and flip left and right where ``mirrored``; into ``out`` if that fits."""
    if not plan.resizes:
        return image
    height, width = plan.size
    if plan.interpolation != "nearest" and resample.available():
        direct = out if out is not None and out.shape[:2] == (height, width) else None
        resize = _KERNELS[plan.interpolation]
        return resize(image, height, width, direct, mirrored, plan.antialias)
    if plan.interpolation == "nearest":
        image = _resize_nearest(image, height, width)
    else:
        image = _resize_by_torch(image, plan)
    return image[:, ::-1] if mirrored else image


def _resize_nearest(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    rows, columns = _centres(image.shape[0], height), _centres(image.shape[1], width)
    result: NDArray[Any] = image.take(rows, axis=0).take(columns, axis=1)
    return result


def _centres(old: int, new: int) -> NDArray[np.intp]:
    # Sums up as Pillow does, so that a centre between two pixels falls on the same side of it;
    # OpenCV's kernel for this agrees only since version 5.
    steps = np.full(new, old / new)
    steps[0] /= 2
    return np.minimum(np.cumsum(steps).astype(np.intp), old - 1)


def _resize_by_torch(image: Image, plan: Plan) -> Image:
    """Antialiased bilinear without numba, within a level or two of Pillow's."""
    height, width = plan.size
    if width > 1:
        return _interpolate(image, height, width, plan)
    # torch errs where one column is resized, unless the processor has AVX2.
    column = _interpolate(image, image.shape[0], 1, plan)
    return _interpolate(column.repeat(2, axis=1), height, 2, plan)[:, :1]


def _interpolate(image: Image, height: int, width: int, plan: Plan) -> Image:
    import torch  # here: packing, which needs none of it, would wait for seconds

    # torch takes neither the negative strides of a turned view nor read-only memory, and fails on
    # planes of their own for each channel when it shrinks to one pixel.
    if min(image.strides) < 1 or image.strides[2] != 1 or not image.flags.writeable:
        image = image.copy()
    pixels = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
    resized = torch.nn.functional.interpolate(
        pixels, (height, width), mode=plan.interpolation, antialias=plan.antialias
    )
    result: Image = resized[0].permute(1, 2, 0).numpy()
    return result


def _pad(image: NDArray[Any], padding: Padding) -> NDArray[Any]:
    left, top, right, bottom, fill, mode = padding
    padded = cv2.copyMakeBorder(image, top, bottom, left, right, _BORDERS[mode], value=fill)
    return np.asarray(padded)


def _deliver(
    image: NDArray[Any], out: Image | None, hflip: bool = False, vflip: bool = False
) -> NDArray[Any]:
    if hflip or vflip:
        code = 0 if not hflip else -1 if vflip else 1
        return np.asarray(cv2.flip(image, code, out))  # in place where image is out
    if out is None or image is out:
        return image
    out[...] = image
    return out
