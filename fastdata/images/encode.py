"""From an image, as a file's bytes or as pixels, to the bytes that a pack stores, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import OptionError
from .decode import decode_whole
from .encodings import DEFAULT_ENCODING, ENCODINGS, Encoding
from .header import orientation_of
from .plan import Plan
from .render import Image, apply_plan
from .stored import StoredMedia

CHECKS = ("decode", "header")


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """Settings by which images are stored.

    Attributes:
        encoding: "sliceable" (JPEGs rewritten without loss, so that a part of one can be decoded;
            other files as they are), "keep" (the file's own bytes), "jpeg", "png" (both
            re-encoded) or "raw" (HWC uint8 RGB pixels).
        resize_short: shrink so that the shorter side has this many pixels, to the size and the
            pixels of torchvision's ``Resize`` of a PIL image (without numba: ``transforms.Resize``
            tells).
        max_side: the same for the longer side.
        quality: JPEG quality, 1 to 100 (default 90).
        check: "decode" decodes each image before it is stored; "header" trusts its header.

    Raises:
        OptionError: the options contradict each other.
    """

    encoding: str = DEFAULT_ENCODING
    resize_short: int | None = None
    max_side: int | None = None
    quality: int | None = None
    check: str = "decode"

    def __post_init__(self) -> None:
        sides = [side for side in (self.resize_short, self.max_side) if side is not None]
        if self.encoding not in ENCODINGS:
            known = ", ".join(ENCODINGS)
            raise OptionError(f"encoding must be one of {known}; got {self.encoding!r}")
        encoding = ENCODINGS[self.encoding]
        rules = [
            (
                self.check not in CHECKS,
                f"check must be one of {', '.join(CHECKS)}; got {self.check!r}",
            ),
            (len(sides) > 1, "resize_short and max_side exclude each other"),
            (any(side < 1 for side in sides), "resize_short and max_side must be >= 1"),
            (
                bool(sides) and not encoding.may_shrink,
                f"encoding {self.encoding!r} keeps every pixel and cannot resize: "
                f"choose encoding {_names(lambda other: other.may_shrink)}",
            ),
            (
                self.quality is not None and not encoding.has_quality,
                f"quality applies to encoding {_names(lambda other: other.has_quality)!r} only, "
                f"not to {self.encoding!r}",
            ),
            (
                self.quality is not None and not 1 <= self.quality <= 100,
                f"quality must be 1 to 100, got {self.quality}",
            ),
            (
                self.check == "header" and not encoding.header_suffices,
                f"check 'header' does not decode, encoding {self.encoding!r} has to: "
                f"choose encoding {_names(lambda other: other.header_suffices)}",
            ),
        ]
        for broken, message in rules:
            if broken:
                raise OptionError(message)

    @property
    def shrinks(self) -> bool:
        """True if images may be made smaller."""
        return self.resize_short is not None or self.max_side is not None

    @property
    def chosen_quality(self) -> int | None:
        """The quality that was asked for, or else the encoding's default."""
        return self.quality or ENCODINGS[self.encoding].quality

    def describe(self) -> dict[str, Any]:
        """The settings as they stand in the manifest; ``check`` leaves no trace in the bytes."""
        values = {k: v for k, v in asdict(self).items() if v is not None and k != "check"}
        if ENCODINGS[self.encoding].has_quality:
            values["quality"] = self.chosen_quality
        return {"name": values.pop("encoding"), **values}


def _names(fits: Callable[[Encoding], bool]) -> str:
    """The encodings of a kind, as a choice."""
    *others, last = (encoding.name for encoding in ENCODINGS.values() if fits(encoding))
    return f"{', '.join(others)} or {last}" if others else last


class Encoded(NamedTuple):
    """A stored image, and the height and width that it had before it was shrunk."""

    media: StoredMedia
    size: tuple[int, int]


def encode_image(data: bytes | Image, settings: EncodeSettings) -> Encoded:
    """Check an image and turn it into what is stored.

    Args:
        data: an image file's bytes, or HWC uint8 RGB pixels; pixels are stored as PNG where the
            encoding would keep a file.
        settings: how.

    Raises:
        DecodeError: it is no image that can be decoded or encoded.
    """
    if isinstance(data, np.ndarray):
        return _from_pixels(data, settings, 1)
    from_file = ENCODINGS[settings.encoding].from_file
    if from_file is None:
        return _from_pixels(decode_whole(data), settings, orientation_of(data))
    media = from_file(data, settings.check == "decode")
    return Encoded(media, (media.height, media.width))


def _from_pixels(image: Image, settings: EncodeSettings, orientation: int) -> Encoded:
    shrunk, quality = _shrunk(image, settings), settings.chosen_quality
    media = ENCODINGS[settings.encoding].from_pixels(shrunk, quality, shrunk is not image)
    return Encoded(media._replace(orientation=orientation), image.shape[:2])


def _shrunk(image: Image, settings: EncodeSettings) -> Image:
    height, width = image.shape[:2]
    short, long = sorted((height, width))
    limit, named = settings.resize_short, short
    if limit is None:
        limit, named = settings.max_side, long
    if limit is None or limit >= named:
        return image
    # Rounded down, as torchvision does, and exact, since no float is involved.
    size = max(height * limit // named, 1), max(width * limit // named, 1)
    return apply_plan(image, Plan.whole(height, width).resize(*size))
