"""The kinds of fields that are pixels, or lie among them: what only knowledge of images can do.

``MEDIA`` has the kinds whose values are encoded pixels, ``GEOMETRY`` those whose values are places
in the image, both by the name of the kind. They are what ``core.Kind`` calls ``media`` and
``moves``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DecodeError, described
from .boxes import orient_boxes, resize_boxes, transform_boxes
from .decode import check_decodes, decode_image
from .encode import Encoded, EncodeSettings, encode_image
from .masks import decode_mask, encode_mask
from .plan import Plan
from .render import Image, Labels
from .stored import EncodedImage, StoredImage, StoredMedia

_Size = tuple[int, int]


class Sizes(NamedTuple):
    """Height and width of a sample's first image: as it came, and as it is stored."""

    before: _Size
    after: _Size


class Media(Protocol):
    """Interface of a kind that is pixels: how its values are stored and read.

    Attributes:
        is_color: HWC uint8 RGB. A pack's encoding says how it is stored, and photometric transforms
            change it. All else has one stored form, which is no file, and only moves.
    """

    is_color: bool

    def encode(self, value: Any, settings: EncodeSettings, sizes: Sizes | None) -> Encoded:
        """The stored form of a value, and its size before it was shrunk.

        Args:
            value: a file's bytes, pixels in any form, or what a pack has stored.
            settings: how images are stored.
            sizes: of the sample's first image; None for that image itself.

        Raises:
            DecodeError: it is no such value, or does not go with the first image.
        """

    def check(self, stored: EncodedImage) -> None:
        """DecodeError unless the stored form can be read."""

    def pixels(self, stored: EncodedImage, plan: Plan | None = None) -> NDArray[Any]:
        """The pixels of a plan, or all of them; DecodeError as ``check``."""


class _Images:
    is_color = True

    def encode(self, value: Any, settings: EncodeSettings, sizes: Sizes | None) -> Encoded:
        if isinstance(value, StoredMedia):
            return Encoded(value, (value.height, value.width))
        if isinstance(value, StoredImage):
            media, size = encode_image(value.image, settings)
            return Encoded(media._replace(orientation=value.orientation), size)
        return encode_image(value if isinstance(value, bytes) else rgb_of(value), settings)

    def check(self, stored: EncodedImage) -> None:
        check_decodes(stored)

    def pixels(self, stored: EncodedImage, plan: Plan | None = None) -> Image:
        return decode_image(stored, plan)


class _Masks:
    is_color = False

    def encode(self, value: Any, settings: EncodeSettings, sizes: Sizes | None) -> Encoded:
        if isinstance(value, StoredMedia):
            data, height, width = value.data, value.height, value.width
        else:
            labels = value.cpu().numpy() if hasattr(value, "permute") else value  # of a tensor
            data, height, width = encode_mask(labels)
        before, after = sizes or ((height, width), (height, width))
        if (height, width) != before:
            raise DecodeError(
                f"expected a mask of {before[0]}x{before[1]} as its image, found {height}x{width}"
            )
        if after != before:
            plan = Plan.whole(height, width).resize(*after, "nearest")
            data, *_ = encode_mask(decode_mask(data, height, width, 1, plan))
        return Encoded(StoredMedia(data, *after), before)

    def check(self, stored: EncodedImage) -> None:
        self.pixels(stored)

    def pixels(self, stored: EncodedImage, plan: Plan | None = None) -> Labels:
        return decode_mask(stored.data, stored.height, stored.width, stored.orientation, plan)


MEDIA: dict[str, Media] = {"image": _Images(), "mask": _Masks()}


class Geometry(NamedTuple):
    """Rules by which the values of a kind follow the pixels of their image.

    Attributes:
        orient: (values, EXIF orientation, height, width of the stored image) → where they are in
            the upright image.
        transform: (values, plan) → where they are in the plan's result.
        resize: (values, size before, size after) → where they are once the image was shrunk for
            its pack; a size is height and width.
    """

    orient: Callable[[Any, int, int, int], Any]
    transform: Callable[[Any, Plan], Any]
    resize: Callable[[Any, _Size, _Size], Any]


GEOMETRY: dict[str, Geometry] = {"boxes": Geometry(orient_boxes, transform_boxes, resize_boxes)}


def rgb_of(value: Any) -> Image:
    """HWC uint8 RGB of an ndarray, a CHW tensor or a PIL image; DecodeError for anything else."""
    if hasattr(value, "convert") and hasattr(value, "mode"):
        value = np.asarray(value.convert("RGB"))
    elif hasattr(value, "permute") and getattr(value, "ndim", 0) == 3:
        value = value.detach().permute(1, 2, 0).cpu().numpy()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; the last is torch's
        raise DecodeError(f"expected an image, found {described(value)}: {error}") from error
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise DecodeError(
            "expected an image as encoded bytes, a path, HWC uint8 RGB pixels, a CHW uint8 tensor "
            f"or a PIL image, found {described(value)}"
        )
    return np.ascontiguousarray(array)
