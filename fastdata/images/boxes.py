"""Bounding boxes under the geometry of their image.

Boxes are rows of left, top, right, bottom in continuous pixel coordinates, as torchvision's
``BoundingBoxes`` in format XYXY: 0 is the left edge of the first column, ``width`` the right edge
of the last. Every function takes an N×4 array of any number type, also an empty one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError
from .plan import Box, Plan

Boxes = NDArray[np.float32]
_Corners = NDArray[np.float64]  # N×2×2: left top and right bottom, each x and y


def transform_boxes(boxes: NDArray[Any], plan: Plan | None) -> Boxes:
    """Move boxes to where a plan moves the pixels in them.

    Wherever the plan crops, what is cut off an object is cut off its box (v2 of torchvision's
    transforms does the same after each crop and each padding). A box that is wholly cut off stays,
    with zero area, so that rows still match their labels; ``visible`` tells which ones these are.

    Args:
        boxes: N×4, in pixels of the image that the plan was made for.
        plan: None changes nothing.

    Returns:
        N×4 float32 in pixels of the plan's result, in memory of their own; with a plan, within
        0 to its width and height (NaN stays NaN).

    Raises:
        OptionError: ``boxes`` are not N×4 numbers.
    """
    corners = _corners(boxes)
    return _rows(corners if plan is None else _transformed(corners, plan))


def orient_boxes(boxes: NDArray[Any], orientation: int, height: int, width: int) -> Boxes:
    """Move boxes of a stored image to where EXIF orientation turns it.

    Args:
        boxes: N×4, in pixels of the stored image.
        orientation: 1 to 8, as in CIPA DC-008, tag 0x0112.
        height: of the stored image.
        width: of the stored image.

    Returns:
        N×4 float32 in pixels of the upright image, in memory of their own.

    Raises:
        OptionError: ``boxes`` are not N×4 numbers, or there is no such orientation.
    """
    if orientation not in range(1, 9):
        raise OptionError(f"an EXIF orientation is a number from 1 to 8, got {orientation!r}")
    corners = _corners(boxes)
    if orientation >= 5:
        corners, height, width = corners[..., ::-1], width, height
    return _rows(
        _mirrored(corners, height, width, orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8))
    )


def resize_boxes(boxes: Boxes, before: tuple[int, int], after: tuple[int, int]) -> Boxes:
    """Move boxes to where an image that is resized as a whole has the pixels in them.

    Args:
        boxes: N×4 float32.
        before: height and width of the image.
        after: those that it gets.
    """
    vertical, horizontal = (new / old for new, old in zip(after, before, strict=True))
    return boxes * np.array([horizontal, vertical] * 2, np.float32)


def visible(boxes: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask of the boxes that have an area: N bool.

    (torchvision's ``SanitizeBoundingBoxes`` also drops those less than ``min_size`` >= 1 wide or
    high.) Neither a box whose edges are swapped nor one with a NaN is visible.

    Raises:
        OptionError: ``boxes`` are not N×4 numbers.
    """
    corners = _corners(boxes)
    larger = corners[:, 1] > corners[:, 0]
    return larger[:, 0] & larger[:, 1]


def _corners(boxes: NDArray[Any]) -> _Corners:
    found = np.asarray(boxes)
    if found.ndim != 2 or found.shape[1] != 4 or found.dtype.kind not in "fiu":
        raise OptionError(
            "expected boxes as an array of N rows left, top, right, bottom; "
            f"found {found.dtype} of shape {found.shape}"
        )
    return found.astype(np.float64).reshape(-1, 2, 2)


def _rows(corners: _Corners) -> Boxes:
    return np.ascontiguousarray(corners.reshape(-1, 4), np.float32)


def _transformed(corners: _Corners, plan: Plan) -> _Corners:
    if plan.before is not None:
        corners = _transformed(corners, plan.before)
    corners = _cut(corners, plan.box)
    if plan.resizes:
        height, width = plan.size
        corners = corners * (width / plan.box.width, height / plan.box.height)
    if plan.padding is not None:
        corners += (plan.padding.left, plan.padding.top)
    corners = _cut(corners, plan.window)
    return _mirrored(corners, plan.height, plan.width, plan.hflip, plan.vflip)


def _cut(corners: _Corners, box: Box) -> _Corners:
    # np.clip takes twice as long for so few numbers.
    cut: _Corners = np.maximum(corners - (box.left, box.top), 0.0)
    return np.minimum(cut, (box.width, box.height), out=cut)


def _mirrored(corners: _Corners, height: int, width: int, hflip: bool, vflip: bool) -> _Corners:
    """Mirror both corners, and swap them so that the first is again left, or above."""
    if not (hflip or vflip):
        return corners
    mirrored = corners.copy()
    for axis, length, flip in ((0, width, hflip), (1, height, vflip)):
        if flip:
            mirrored[..., axis] = length - corners[:, ::-1, axis]
    return mirrored
