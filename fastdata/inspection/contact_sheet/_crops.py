"""The part of an image that the result of a plan shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...images import Plan


def taken(plan: Plan) -> NDArray[np.float64]:
    """Left, top, right and bottom, in pixels of the image that the plan was made for.

    ``boxes.transform_boxes`` the other way round, for the whole of the result; padding, which lies
    outside of the image, is left out.
    """
    corners = np.array([[0.0, 0.0], [plan.width, plan.height]])
    step: Plan | None = plan
    while step is not None:
        corners = _before(corners, step)
        step = step.before
    return corners.reshape(4)


def _before(corners: NDArray[Any], plan: Plan) -> NDArray[Any]:
    for axis, length, flip in ((0, plan.width, plan.hflip), (1, plan.height, plan.vflip)):
        if flip:
            corners[:, axis] = length - corners[::-1, axis]
    corners = corners + np.array([plan.window.left, plan.window.top])
    if plan.padding is not None:
        corners -= (plan.padding.left, plan.padding.top)
    height, width = plan.size
    corners = corners * (plan.box.width / width, plan.box.height / height)
    corners = np.clip(corners, 0, (plan.box.width, plan.box.height))
    return np.asarray(corners + np.array([plan.box.left, plan.box.top]))
