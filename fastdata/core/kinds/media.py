"""Encoded pixels: ``image`` and ``mask``. What knows of pixels is in ``images.MEDIA``."""

from __future__ import annotations

from .base import Batching, Kind


class _MediaKind(Kind):
    media = True
    is_file = True
    batching: Batching = "stacked if equal"
    own_name = ""


class ImageKind(_MediaKind):
    """An encoded image; HWC uint8 RGB when read. Its first bytes tell the extension of its file."""

    name = "image"
    suffix = ""


class MaskKind(_MediaKind):
    """Labels by pixel, HW uint8 or uint16; never resampled but by nearest."""

    name = "mask"
    suffix = "mask.png"
    own_name = "mask"
