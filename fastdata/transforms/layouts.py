"""The two forms that an image has between transforms: HWC ndarray and CHW tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def as_chw(image: Any) -> torch.Tensor:
    """A CHW tensor of an HWC (or HW) ndarray, sharing its memory; a tensor stays itself.

    Raises:
        TypeError: ``image`` is neither.

    Example:
        >>> T.as_chw(np.zeros((48, 64, 3), np.uint8)).shape
        torch.Size([3, 48, 64])
    """
    if isinstance(image, torch.Tensor):
        return image
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
        raise TypeError(_wrong_type(image))
    # torch takes neither the negative strides of a flipped view nor read-only memory.
    if not image.flags.writeable or min(image.strides, default=1) < 0:
        image = image.copy()
    pixels = torch.from_numpy(image)
    return pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def as_hwc(image: Any) -> NDArray[Any]:
    """An HWC ndarray of a CHW tensor, sharing its memory; an ndarray stays itself.

    Raises:
        TypeError: ``image`` is neither.
    """
    if isinstance(image, np.ndarray):
        return image
    if not isinstance(image, torch.Tensor) or image.ndim != 3:
        raise TypeError(_wrong_type(image))
    pixels: NDArray[Any] = image.permute(1, 2, 0).numpy()
    return pixels


def _wrong_type(image: Any) -> str:
    shape = f" of shape {tuple(image.shape)}" if hasattr(image, "shape") else ""
    return (
        f"expected an HWC uint8 ndarray or a CHW tensor, found {type(image).__name__}{shape}; "
        "turn a PIL image into one by numpy.asarray(image.convert('RGB'))"
    )
