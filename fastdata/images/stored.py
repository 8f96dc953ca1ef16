"""Images on their way to a pack and from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class StoredMedia(NamedTuple):
    """An image or a mask as it is stored.

    ``height`` and ``width`` are those of the stored pixels, before any EXIF rotation;
    ``slice_index`` is the offset of a sliceable JPEG's index (0: it is none), and ``verbatim`` why
    an image that was to be sliceable is not.
    """

    data: bytes
    height: int
    width: int
    orientation: int = 1
    slice_index: int = 0
    verbatim: str = ""


class StoredImage(NamedTuple):
    """An image of a pack as a file's bytes or as pixels, and the EXIF orientation to keep: bytes
    that have been encoded anew do not tell it."""

    image: bytes | NDArray[np.uint8]
    orientation: int


class EncodedImage(NamedTuple):
    """A stored image on its way to the decoder.

    ``height`` and ``width`` are those of the stored pixels, or 0 where only decoding can tell;
    ``orientation`` is the EXIF orientation to apply; ``raw`` says that ``data`` is the pixels;
    ``slice_index`` is the offset of a sliceable JPEG's index in ``data``, or 0.
    """

    data: bytes | memoryview
    height: int = 0
    width: int = 0
    orientation: int = 1
    raw: bool = False
    slice_index: int = 0

    @property
    def oriented_size(self) -> tuple[int, int]:
        """Height and width after ``orientation``."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)
