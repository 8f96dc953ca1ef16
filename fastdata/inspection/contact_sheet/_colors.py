"""Colours of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...images import Image

_VOID = 255  # by convention of Pascal VOC and others: the pixel belongs to no class


def colors(labels: NDArray[Any]) -> NDArray[np.float64]:
    """N×3 RGB, 0 to 1: a bright colour for each label, those of neighbours far apart."""
    hue = labels.astype(np.float64)[:, None] * 0.61803398875 % 1  # the golden ratio spreads evenly
    waves = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    return np.asarray(0.15 + 0.85 * np.clip(waves, 0, 1))


def overlaid(pixels: Image, labels: NDArray[Any]) -> Image:
    """The image half covered by the labels' colours, but for label 0."""
    known, places = np.unique(labels, return_inverse=True)
    palette = 255 * colors(known)
    if labels.dtype == np.uint8:
        palette[known == _VOID] = 255.0
    painted = palette[places].reshape(*labels.shape, 3)
    mixed = (0.5 * pixels + 0.5 * painted).astype(np.uint8)
    return np.where((labels != 0)[..., None], mixed, pixels)
