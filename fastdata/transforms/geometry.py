"""Geometric transforms: from (height, width, randomness) to a plan."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch

from ..errors import OptionError
from ..images import Box, Padding, PaddingMode, Plan, apply_plan
from . import options
from .layouts import as_chw, as_hwc
from .options import Size
from .randomness import Generator, draw_below, torch_seeded_generator


class GeometricTransform(ABC):
    """Base of the transforms that a dataset fuses into decoding.

    A subclass says in ``extend`` what it does to a plan. It must draw all randomness from ``rng``
    and may look at the plan's ``height`` and ``width`` only: there are no pixels yet.

    Example:
        >>> class TopHalf(T.GeometricTransform):
        ...     def extend(self, plan, rng):
        ...         from fastdata.images.plan import Box
        ...         return plan.crop(Box(0, 0, plan.height // 2, plan.width))
        >>> TopHalf()(np.zeros((48, 64, 3), np.uint8)).shape
        torch.Size([3, 24, 64])
    """

    @abstractmethod
    def extend(self, plan: Plan, rng: Generator) -> Plan:
        """The plan with this transform as its last step."""

    def apply(self, image: Any, rng: Generator) -> torch.Tensor:
        """Transform pixels (HWC uint8 ndarray or CHW uint8 tensor) to a new CHW uint8 tensor.

        Raises:
            TypeError: the image is something else, or not uint8 with three channels.
        """
        pixels = as_hwc(image)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            found = f"{pixels.dtype} of shape {pixels.shape}"
            raise TypeError(f"{self!r} needs HWC uint8 RGB, found {found}: put it before ToTensor")
        result = apply_plan(pixels, self.extend(Plan.whole(*pixels.shape[:2]), rng))
        return as_chw(result.copy() if np.may_share_memory(result, pixels) else result)

    def __call__(self, image: Any) -> torch.Tensor:
        """``apply`` with randomness from torch's global generator."""
        return self.apply(image, torch_seeded_generator())

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({settings})"


class Resize(GeometricTransform):
    """Resize to ``size``: (height, width), or one number for the shorter side.

    Args:
        size: target in pixels; the longer side follows the aspect ratio, rounded down.
        interpolation: "nearest", "bilinear", "bicubic", torchvision's enum or Pillow's constant.
        max_size: upper bound of the longer side, only with a single number as ``size``.
        antialias: True gives the very pixels of Pillow 13 (without numba: torch's, which bilinear
            are within 2 levels); False those of torch and torchvision for a uint8 tensor, which
            alias when they shrink.

    Example:
        >>> image = np.zeros((48, 64, 3), np.uint8)
        >>> T.Resize(24)(image).shape, T.Resize((16, 16))(image).shape
        (torch.Size([3, 24, 32]), torch.Size([3, 16, 16]))
    """

    def __init__(
        self,
        size: Size,
        interpolation: Any = "bilinear",
        max_size: int | None = None,
        antialias: bool = True,
    ) -> None:
        self.size = options.whole_numbers("size", size, (1, 2), least=1)
        if max_size is not None and (len(self.size) == 2 or max_size <= self.size[0]):
            raise OptionError(
                f"max_size must be larger than a size given as one number; got size={size!r}, "
                f"max_size={max_size}"
            )
        self.interpolation = options.interpolation_name(interpolation)
        self.max_size = max_size
        self.antialias = bool(antialias)

    def extend(self, plan: Plan, rng: Generator) -> Plan:
        """Plan the resize; nothing is drawn."""
        height, width = self._target(plan.height, plan.width)
        if (height, width) == (plan.height, plan.width):
            return plan
        return plan.resize(height, width, self.interpolation, self.antialias)

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if len(self.size) == 2:
            return self.size[0], self.size[1]
        short, long = sorted((height, width))
        new_short, new_long = self.size[0], int(self.size[0] * long / short)
        if self.max_size is not None and new_long > self.max_size:
            new_short, new_long = int(self.max_size * new_short / new_long), self.max_size
        new_short = max(new_short, 1)
        return (new_short, new_long) if height <= width else (new_long, new_short)


class CenterCrop(GeometricTransform):
    """Keep the centre of ``size`` pixels; a smaller image is padded with black first.

    Example:
        >>> T.CenterCrop(32)(np.zeros((48, 64, 3), np.uint8)).shape
        torch.Size([3, 32, 32])
    """

    def __init__(self, size: Size) -> None:
        self.size = options.pair(size)

    def extend(self, plan: Plan, rng: Generator) -> Plan:
        """Plan the crop; nothing is drawn."""
        height, width = self.size
        missing = max(height - plan.height, 0), max(width - plan.width, 0)
        if any(missing):
            top, left = missing[0] // 2, missing[1] // 2
            plan = plan.pad(Padding(left, top, missing[1] - left, missing[0] - top))
        # Python's round, halves to even, as torchvision rounds.
        top, left = round((plan.height - height) / 2), round((plan.width - width) / 2)
        return plan.crop(Box(top, left, height, width))


class RandomCrop(GeometricTransform):
    """Crop ``size`` pixels at a uniformly random place.

    Args:
        size: (height, width), or one number for both.
        padding: pixels to add first: one number, (left and right, top and bottom), or
            (left, top, right, bottom).
        pad_if_needed: pad an image that is smaller than ``size`` instead of failing.
        fill: value of the added pixels, 0 to 255: one number or RGB.
        padding_mode: "constant", "edge", "reflect" (without the edge) or "symmetric".

    Example:
        >>> crop = T.RandomCrop(32, padding=4, padding_mode="reflect")
        >>> crop(np.zeros((32, 32, 3), np.uint8)).shape
        torch.Size([3, 32, 32])
    """

    def __init__(
        self,
        size: Size,
        padding: Size | None = None,
        pad_if_needed: bool = False,
        fill: int | Sequence[int] = 0,
        padding_mode: PaddingMode = "constant",
    ) -> None:
        if padding_mode not in get_args(PaddingMode):
            raise OptionError(f"padding_mode must be one of {get_args(PaddingMode)}")
        self.size = options.pair(size)
        self.padding = None if padding is None else options.four_sides(padding)
        self.pad_if_needed = pad_if_needed
        self.fill = options.rgb(fill)
        self.padding_mode: PaddingMode = padding_mode
        self._always = None if self.padding is None else self._padding(*self.padding)

    def extend(self, plan: Plan, rng: Generator) -> Plan:
        """Plan the crop; draws its row, then its column.

        Raises:
            ValueError: the image is smaller than ``size`` and ``pad_if_needed`` is off.
        """
        if self._always is not None:
            plan = plan.pad(self._always)
        height, width = self.size
        if self.pad_if_needed and plan.width < width:
            plan = plan.pad(self._padding(width - plan.width, 0, width - plan.width, 0))
        if self.pad_if_needed and plan.height < height:
            plan = plan.pad(self._padding(0, height - plan.height, 0, height - plan.height))
        if plan.height < height or plan.width < width:
            found = f"{plan.height}x{plan.width}"
            raise ValueError(
                f"RandomCrop needs an image of at least {height}x{width} pixels, found {found}; "
                "resize first, or pass pad_if_needed=True"
            )
        top = draw_below(rng, plan.height - height + 1)
        left = draw_below(rng, plan.width - width + 1)
        return plan.crop(Box(top, left, height, width))

    def _padding(self, left: int, top: int, right: int, bottom: int) -> Padding:
        return Padding(left, top, right, bottom, self.fill, self.padding_mode)


class RandomResizedCrop(GeometricTransform):
    """Crop a random share of the area at a random aspect ratio, and resize it to ``size``.

    The "Inception" crop of Szegedy et al., "Going deeper with convolutions" (CVPR 2015), with the
    rule that torchvision documents: up to ten tries, then the largest central crop whose aspect
    ratio is allowed.

    Args:
        size: (height, width), or one number for both.
        scale: smallest and largest share of the area.
        ratio: smallest and largest width / height, drawn uniformly in its logarithm.
        interpolation, antialias: as for ``Resize``.

    Example:
        >>> crop = T.RandomResizedCrop(32, scale=(0.35, 1.0))
        >>> crop(np.zeros((48, 64, 3), np.uint8)).shape
        torch.Size([3, 32, 32])
    """

    def __init__(
        self,
        size: Size,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: Any = "bilinear",
        antialias: bool = True,
    ) -> None:
        self.size = options.pair(size)
        self.scale = options.span("scale", scale)
        self.ratio = options.span("ratio", ratio, zero=False)
        self.interpolation = options.interpolation_name(interpolation)
        self.antialias = bool(antialias)
        self._log_ratio = math.log(self.ratio[0]), math.log(self.ratio[1])

    def extend(self, plan: Plan, rng: Generator) -> Plan:
        """Plan crop and resize; draws area and ratio per try, then row and column."""
        box = self.draw_box(plan.height, plan.width, rng)
        return plan.crop(box).resize(*self.size, self.interpolation, self.antialias)

    def draw_box(self, height: int, width: int, rng: Generator) -> Box:
        """A random crop box for an image of that size."""
        (low, high), (log_low, log_high) = self.scale, self._log_ratio
        for _ in range(10):
            area = height * width * (low + (high - low) * rng.random())
            aspect = math.exp(log_low + (log_high - log_low) * rng.random())
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                top = draw_below(rng, height - h + 1)
                return Box(top, draw_below(rng, width - w + 1), h, w)
        return self._central_box(height, width)

    def _central_box(self, height: int, width: int) -> Box:
        h, w = height, width
        if width / height < self.ratio[0]:
            h = min(round(width / self.ratio[0]), height)
        elif width / height > self.ratio[1]:
            w = min(round(height * self.ratio[1]), width)
        h, w = max(h, 1), max(w, 1)
        return Box((height - h) // 2, (width - w) // 2, h, w)


class RandomHorizontalFlip(GeometricTransform):
    """Mirror left and right with probability ``p``.

    Example:
        >>> pixels = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
        >>> T.RandomHorizontalFlip(p=1.0)(pixels)[0]
        tensor([[3, 0]], dtype=torch.uint8)
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = options.probability(p)

    def extend(self, plan: Plan, rng: Generator) -> Plan:
        """Plan the flip; draws one number."""
        return plan.flip_horizontal() if rng.random() < self.p else plan


class RandomVerticalFlip(GeometricTransform):
    """Mirror top and bottom with probability ``p``.

    Example:
        >>> pixels = np.arange(6, dtype=np.uint8).reshape(2, 1, 3)
        >>> T.RandomVerticalFlip(p=1.0)(pixels)[0]
        tensor([[3],
                [0]], dtype=torch.uint8)
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = options.probability(p)

    def extend(self, plan: Plan, rng: Generator) -> Plan:
        """Plan the flip; draws one number."""
        return plan.flip_vertical() if rng.random() < self.p else plan
