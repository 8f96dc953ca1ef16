"""From uint8 pixels to the float tensor that a model takes.

Both work on one image (3×H×W) and on a whole batch (N×3×H×W) alike, and keep its memory format.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..errors import OptionError
from .layouts import as_chw


class ToTensor:
    """uint8 HWC ndarray or CHW tensor → float32 CHW tensor in [0, 1]; other dtypes keep values.

    Example:
        >>> T.ToTensor()(np.full((2, 2, 3), 255, np.uint8)).max()
        tensor(1.)
    """

    def __call__(self, image: Any) -> torch.Tensor:
        """Convert; TypeError for anything but an ndarray or a tensor."""
        return _scaled(as_chw(image)) if _is_uint8(image) else as_chw(image)

    def __repr__(self) -> str:
        return "ToTensor()"


class Normalize:
    """``(x - mean) / std`` for each channel, in float32; uint8 is first scaled to [0, 1].

    Args:
        mean, std: one number for each channel, in units of [0, 1].
        inplace: overwrite a float input instead of returning a new tensor.

    Example:
        >>> normalize = T.Normalize(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> normalize(torch.full((3, 2, 2), 255, dtype=torch.uint8)).mean()
        tensor(1.)
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        self.mean = [float(m) for m in mean]
        self.std = [float(s) for s in std]
        self.inplace = inplace
        if not self.mean or len(self.mean) != len(self.std) or min(map(abs, self.std)) == 0.0:
            raise OptionError(
                f"mean and std need one number a channel, std non-zero; got {mean}, {std}"
            )

    def __call__(self, image: Any) -> torch.Tensor:
        """Normalise; TypeError for integers other than uint8."""
        if _is_uint8(image):
            pixels = _scaled(as_chw(image))
        else:
            pixels = as_chw(image)
            if not pixels.is_floating_point():
                raise TypeError(f"Normalize needs uint8 or a float type, found {pixels.dtype}")
            pixels = pixels if self.inplace else pixels.clone()
        mean, std = (pixels.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return pixels.sub_(mean).div_(std)

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


def _is_uint8(image: Any) -> bool:
    return getattr(image, "dtype", None) in (np.uint8, torch.uint8)


def _scaled(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.to(torch.float32).div_(255)
