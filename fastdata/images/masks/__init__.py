"""Segmentation masks: labels by pixel, stored without loss, read only where a crop touches them.

A mask is HW, uint8 or uint16; its values are numbers of classes or objects, so they are never
averaged. ``_bands`` describes how a mask is stored, ``_files`` which mask files are understood.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DecodeError, OptionError
from ..limits import check_pixels
from ..plan import Box, Plan
from ..render import Labels, apply_orientation, apply_plan_nearest
from ._bands import compress, read_box
from ._files import labels_of_file

__all__ = ["Labels", "decode_mask", "encode_mask", "labels_of"]

_PILLOW_MODES = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")


def encode_mask(value: Any) -> tuple[bytes, int, int]:
    """Turn a mask into the bytes that a pack stores, and its height and width.

    Args:
        value: whatever ``labels_of`` takes.

    Returns:
        The stored form (see ``_bands``; the same labels give the same bytes, as far as zlib is the
        same), the height and the width.

    Raises:
        DecodeError: it is no mask, or too large to be stored.
    """
    labels = labels_of(value)
    height, width = labels.shape
    check_pixels(height, width)
    return compress(labels), height, width


def decode_mask(
    data: bytes | memoryview,
    height: int,
    width: int,
    orientation: int = 1,
    plan: Plan | None = None,
    *,
    fill: int = 0,
) -> Labels:
    """Decode a stored mask with the geometry of its image.

    With the plan of an image of the same size, each label lies on the pixel that it belongs to.
    The plan's interpolation is replaced by the nearest pixel, as ``render.apply_plan_nearest`` has
    it.

    Args:
        data: what ``encode_mask`` made; anything else is refused.
        height: of the stored mask, as the pack's table has it.
        width: of the stored mask.
        orientation: EXIF orientation to apply, 1 to 8.
        plan: in the coordinates of the mask after its orientation is applied; None changes nothing.
        fill: label of the pixels that padding by a constant adds; the plan's own is a colour.

    Returns:
        HW, uint8 or uint16 as it was stored, C-contiguous and writable, in memory of its own.

    Raises:
        DecodeError: the bytes are damaged, or the mask has not the size that is announced.
        OptionError: ``fill`` does not fit the mask's type.
    """
    check_pixels(height, width)
    box = Box(0, 0, height, width)
    if plan is not None and orientation == 1:
        box = plan.first.box
        plan = plan.from_box(Box(0, 0, box.height, box.width))
    labels = read_box(data, height, width, box)
    most = np.iinfo(labels.dtype).max
    if not 0 <= fill <= most:
        raise OptionError(f"fill must be a label from 0 to {most} for this mask, got {fill}")
    if orientation != 1:
        labels = apply_orientation(labels, orientation)
    return np.ascontiguousarray(apply_plan_nearest(labels, plan, fill))


def labels_of(value: Any) -> Labels:
    """The labels of a mask in any of the forms in which masks come.

    Args:
        value: an HW ndarray of uint8, uint16 or bool (which becomes 0 and 1); a Pillow image of
            mode P (its palette's indices count, not its colours), L, I;16, I (if 0 to 65535) or 1;
            or the bytes of a PNG, BMP or TIFF file.

    Returns:
        HW, uint8 or uint16, neither side 0; may share memory with ``value``.

    Raises:
        DecodeError: it is something else.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = labels_of_file(value)
    elif not isinstance(value, np.ndarray) and hasattr(value, "mode"):
        value = _pillow_pixels(value)
    if not isinstance(value, np.ndarray):
        raise DecodeError(
            "expected a mask as an ndarray, a Pillow image or a file's bytes, "
            f"found {type(value).__name__}"
        )
    if value.ndim != 2 or 0 in value.shape or value.dtype.kind not in "bu" or _bytes(value) > 2:
        raise DecodeError(
            "expected a mask of HW uint8, uint16 or bool, without empty sides; "
            f"found {value.dtype} of shape {value.shape}"
        )
    return value.astype(f"u{_bytes(value)}", copy=False)


def _bytes(labels: NDArray[Any]) -> int:
    return labels.dtype.itemsize


def _pillow_pixels(image: Any) -> NDArray[Any]:
    if image.mode not in _PILLOW_MODES:
        raise DecodeError(
            f"expected a mask of mode {', '.join(_PILLOW_MODES)}, found {image.mode}: convert its "
            "colours to indices first"
        )
    try:
        pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow decodes only now
        raise DecodeError(f"Pillow cannot decode the mask: {error}") from error
    if image.mode == "I" and pixels.size and pixels.min() >= 0 and pixels.max() < 2**16:
        return pixels.astype(np.uint16)
    return pixels
