"""JPEG decoders to choose from; whatever one of them does not take goes to OpenCV.

==============  =================================================================================
``opencv``      the default: libjpeg-turbo as OpenCV builds it, with the pixels of Pillow
``turbo``       libjpeg-turbo as simplejpeg builds it, with exact switches: the pixels of OpenCV
``turbo-fast``  the same with its fast inverse DCT, and colours repeated instead of interpolated
                where they are subsampled: other pixels
``auto``        the first of ``turbo`` and ``opencv`` that is installed and, on trial images of
                every subsampling, gives OpenCV's pixels bit for bit; never ``turbo-fast``
==============  =================================================================================

They take whole JPEGs and slices of sliceable ones. Where only the upper rows of another JPEG are
wanted, or a reduced image (``decode_scale``), OpenCV decodes: it alone stops early, without an end.

``python -m benchmarks.decoders FOLDER`` measures how fast they are, and how far the pixels differ.
Decoding on the GPU is a matter of DALI's pipelines over the same packs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Literal

import cv2
import numpy as np

from ..errors import MissingDependencyError, OptionError
from .render import Image

Buffer = bytes | memoryview
DecoderName = Literal["opencv", "turbo", "turbo-fast", "auto"]

_SAMPLINGS = (
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
)


def choose_decoder(name: str, opencv: Callable[[Buffer], Image]) -> str:
    """The key in ``DECODERS`` that a name stands for.

    Args:
        name: one of the table above.
        opencv: decodes with OpenCV, for "auto" to compare with.

    Raises:
        OptionError: there is no such decoder.
        MissingDependencyError: it needs a package that is not installed.
    """
    if name not in DECODERS and name != "auto":
        raise OptionError(f"decoder must be one of {', '.join(DECODERS)}, auto; got {name!r}")
    if name == "auto":
        return "turbo" if _installed() and _turbo_is_exact(opencv) else "opencv"
    if name != "opencv" and not _installed():
        raise MissingDependencyError(f"decoder {name!r} needs simplejpeg: pip install simplejpeg")
    return name


def _installed() -> bool:
    try:
        import simplejpeg  # noqa: F401
    except ImportError:
        return False
    return True


@cache
def _turbo_is_exact(opencv: Callable[[Buffer], Image]) -> bool:
    """True if both builds of libjpeg-turbo agree: older ones interpolate 4:4:0 differently."""
    return all(_equal(_turbo(data), opencv(data)) for data in _trial_images())


def _equal(found: Image | None, expected: Image) -> bool:
    return found is not None and np.array_equal(found, expected)


def _trial_images() -> Iterator[bytes]:
    """JPEGs of each subsampling, smooth and noisy, of odd sizes; grey and progressive ones."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (67, 45, 3), np.uint8)
    smooth = cv2.resize(noise[:8, :8], (83, 51), interpolation=cv2.INTER_CUBIC)
    for pixels in (noise, smooth):
        for sampling in _SAMPLINGS:
            yield _jpeg(pixels, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling)
        yield _jpeg(pixels, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
        yield _jpeg(pixels[..., 0], cv2.IMWRITE_JPEG_QUALITY, 75)


def _jpeg(pixels: Any, *option: int) -> bytes:
    return cv2.imencode(".jpg", pixels, option)[1].tobytes()


def _left_to_opencv(data: Buffer) -> Image | None:
    return None


def _turbo(data: Buffer) -> Image | None:
    return _simplejpeg(data, fast=False)


def _turbo_fast(data: Buffer) -> Image | None:
    return _simplejpeg(data, fast=True)


def _simplejpeg(data: Buffer, fast: bool) -> Image | None:
    import simplejpeg

    try:
        # Strict: what libjpeg only warns of is for OpenCV to accept or to refuse.
        image: Image = simplejpeg.decode_jpeg(data, "RGB", fastdct=fast, fastupsample=fast)
    except ValueError:
        return None
    return image


#: By name: a JPEG file's bytes in, HWC uint8 RGB in memory of its own out; or None, if damaged or
#: of a kind that the decoder does not know, such as CMYK: OpenCV decodes it, or says what is wrong.
DECODERS: dict[str, Callable[[Buffer], Image | None]] = {
    "opencv": _left_to_opencv,
    "turbo": _turbo,
    "turbo-fast": _turbo_fast,
}
