"""Checks of the arguments that transforms take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any, cast, get_args

from ..errors import OptionError
from ..images import Interpolation

Size = int | Sequence[int]

_PILLOW_RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}


def interpolation_name(value: Any) -> Interpolation:
    """ "nearest", "bilinear" or "bicubic" from a name, torchvision's InterpolationMode or Pillow's
    Resampling.

    Raises:
        OptionError: it is another one.
    """
    name = getattr(value, "value", value)
    name = _PILLOW_RESAMPLING.get(name, name) if isinstance(name, int) else name
    name = "nearest" if name == "nearest-exact" else name  # the same for Pillow's pixel centres
    if name not in get_args(Interpolation):
        raise OptionError(f"interpolation must be one of {get_args(Interpolation)}, got {value!r}")
    return cast("Interpolation", name)


def pair(size: Size) -> tuple[int, int]:
    """(height, width) from one number, one in a sequence, or two; OptionError for anything else."""
    both = whole_numbers("size", size, (1, 2), least=1)
    return both[0], both[-1]


def whole_numbers(
    name: str, value: Size, counts: Sequence[int], least: int, most: float = math.inf
) -> list[int]:
    """The integer or integers as a list; OptionError for another count, type or range."""
    try:
        found = [index(v) for v in (value if isinstance(value, Sequence) else [value])]
    except TypeError:
        found = []
    if len(found) not in counts or min(found) < least or max(found) > most:
        how_many = " or ".join(map(str, counts))
        bounds = f">= {least}" if most == math.inf else f"from {least} to {most}"
        raise OptionError(f"{name} must be {how_many} whole numbers {bounds}, got {value!r}")
    return found


def probability(p: float) -> float:
    """``p`` itself; OptionError outside of 0 to 1."""
    if not 0.0 <= p <= 1.0:
        raise OptionError(f"p must lie between 0 and 1, got {p!r}")
    return p


def span(name: str, bounds: Sequence[float], zero: bool = True) -> tuple[float, float]:
    """``bounds`` as (low, high); OptionError for anything else, negative or, if asked, zero."""
    if len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1] or (bounds[0] == 0 and not zero):
        sign = "<=" if zero else "<"
        raise OptionError(f"{name} must be (low, high) with 0 {sign} low <= high, got {bounds!r}")
    return bounds[0], bounds[1]


def four_sides(padding: Size) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) from 1, 2 (sides, ends) or 4 numbers; OptionError otherwise."""
    left, top, right, bottom = (whole_numbers("padding", padding, (1, 2, 4), least=0) * 4)[:4]
    return left, top, right, bottom


def rgb(fill: Size) -> tuple[int, int, int]:
    """(red, green, blue) from one number or three, 0 to 255; OptionError otherwise."""
    red, green, blue = (whole_numbers("fill", fill, (1, 3), least=0, most=255) * 3)[:3]
    return red, green, blue
