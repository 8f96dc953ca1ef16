"""Resizing with Pillow's very pixels, or torch's.

``resize_bilinear`` and ``resize_bicubic`` do what ``PIL.Image.Image.resize`` does to an RGB image,
bit for bit: a separable triangle or cubic filter whose support grows with the shrink factor (D.
Schumacher, "General Filtered Image Rescaling", Graphics Gems III, 1992), its coefficients rounded
to 22 fractional bits, and an 8-bit image between the passes.

Because that image is rounded, the order of the passes shows. Pillow 13 runs the vertical pass first
where the height loses pixels, and more than twice as many as the width (python-pillow/Pillow#9549);
so does this module. Pillow 12.2 and 12.3 do so only where an image more than 100 times as high as
wide loses height, older ones never.

With ``antialias=False`` they do what ``torch.nn.functional.interpolate`` does to a uint8 tensor,
and so torchvision's ``Resize(antialias=False)``, bit for bit: 2 or 4 pixels a side, whatever the
shrink factor, the horizontal pass first, and weights of 14 or 15 fractional bits. (torch has that
arithmetic since 2.1. Bilinear results 16,384 or a multiple of that many pixels wide or high may
differ by one level. Where a processor has no AVX2, torchvision goes by way of float32 instead, and
differs from itself.)

The kernels are compiled by numba, on first use or once for all processes by ``available``. They
hold no GIL and no state, so any number of threads may resize at once.

Reading order: this file; ``_kernels`` (antialiased) and the vector operations that it is made of,
``_vectors``; ``_plain`` (without antialiasing) and its own, ``_blends``. The operations are LLVM
code written by hand: README.md beside this file says why, and what to do if they must go.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingDependencyError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

Image = NDArray[np.uint8]


def resize_bilinear(
    image: Image,
    height: int,
    width: int,
    out: Image | None = None,
    hflip: bool = False,
    antialias: bool = True,
) -> Image:
    """Resize as ``Image.resize((width, height), Resampling.BILINEAR)`` of Pillow 13 does.

    Args:
        image: H × W × 3 uint8, no side 0; it is not changed. A crop of a larger C-contiguous image
            is read in place; any other layout is copied first.
        height: of the result, at least 1.
        width: of the result, at least 1.
        out: height × width × 3 uint8, C-contiguous and writable, apart from ``image``: the result
            is written there, and ``out`` is returned.
        hflip: mirror the result left to right, at no cost.
        antialias: False resizes as ``interpolate(mode="bilinear", antialias=False)`` of torch does.

    Returns:
        height × width × 3 uint8, 0 to 255, in the channel order of ``image``: ``out``, or else a
        new array.

    Raises:
        OptionError: ``image`` or ``out`` has another type, shape or layout, or a side is below 1.
        MissingDependencyError: numba is not installed, or does not support this interpreter.
    """
    source, out = _checked(image, height, width, out)
    resample, bilinear = _compiled()
    if antialias:
        resample(source, out, hflip, False, True)
    else:
        bilinear(source, out, hflip)
    return out


def resize_bicubic(
    image: Image,
    height: int,
    width: int,
    out: Image | None = None,
    hflip: bool = False,
    antialias: bool = True,
) -> Image:
    """Resize as ``Image.resize((width, height), Resampling.BICUBIC)`` of Pillow 13 does.

    The cubic is Keys' (1981) with a = -0.5, and, without ``antialias``, torch's with a = -0.75.
    Otherwise as ``resize_bilinear``.
    """
    source, out = _checked(image, height, width, out)
    _compiled()[0](source, out, hflip, True, antialias)
    return out


def available() -> bool:
    """True if this module can resize here; then the kernels are compiled, too.

    The first call in a process imports numba and compiles, or loads the kernels from numba's cache.
    Call it before starting workers: forked ones inherit the kernels, spawned ones find the cache.
    """
    try:
        _compiled()
    except MissingDependencyError:
        return False
    return True


@cache
def _compiled() -> tuple[Callable[..., None], Callable[..., None]]:
    try:
        from ._kernels import resample
        from ._plain import bilinear
    except (ImportError, SystemError) as error:  # SystemError: numba built for another NumPy
        raise MissingDependencyError(
            f"resizing with these kernels needs numba (pip install numba): {error}"
        ) from error
    return resample, bilinear


def _checked(image: Image, height: int, width: int, out: Image | None) -> tuple[Image, Image]:
    """The image in a layout that the kernels read, and the array to write into."""
    _check_image(image)
    if height < 1 or width < 1:
        raise OptionError(f"expected a size of at least 1x1, found {height}x{width}")
    if out is None:
        out = np.empty((height, width, 3), np.uint8)
    else:
        check_out(out, height, width)
    return image if _readable(image) else image.copy(), out


def _check_image(image: Image) -> None:
    shape = image.shape
    if image.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise OptionError(
            f"expected an image of H x W x 3 uint8 without empty sides, "
            f"found {image.dtype} of shape {shape}"
        )


def check_out(out: Image, height: int, width: int) -> None:
    """OptionError unless a result of that size can be written to ``out``."""
    if out.shape != (height, width, 3) or out.dtype != np.uint8 or not out.flags.carray:
        raise OptionError(
            f"out must be a writable C-contiguous uint8 array {(height, width, 3)}, "
            f"found {out.dtype} of shape {out.shape} and strides {out.strides}"
        )


def _readable(image: Image) -> bool:
    """True if rows ascend in memory and each is contiguous; the kernel checks nothing."""
    rows, columns, channels = image.strides
    height, width, _ = image.shape
    return channels == 1 and (width == 1 or columns == 3) and (height == 1 or rows >= 0)
