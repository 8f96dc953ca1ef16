"""What the values of a sample are, by their types and names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from operator import index as as_int
from typing import Any

import numpy as np

from ...core import TARGET
from ...errors import OptionError
from ...images import sniff
from ..base import Blob, Item

_IMAGE_NAMES = {"image", "img", "jpg", "jpeg", "png", "webp", "lq", "gt", "x"}
_MASK_NAMES = {"mask", "masks", "segmentation", "seg", "semantic", "label_map"}


def integer(value: Any) -> int | None:
    """An integer of Python, NumPy or torch; None for anything else."""
    try:
        return as_int(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        return None


def infer_fields(sample: Any) -> dict[str, str]:
    """Kinds of a sample's values, from their types and names.

    Raises:
        OptionError: nothing in it looks like an image, or it is a tuple of unknown meaning.
    """
    if isinstance(sample, Item):
        sample = sample.values
    if isinstance(sample, Mapping):
        return {name: _kind(name, value) for name, value in sample.items() if name != "key"}
    if not isinstance(sample, (tuple, list)):
        return {"image": "image"}
    if len(sample) == 1:
        return {"image": "image"}
    if len(sample) == 2 and (isinstance(sample[1], str) or integer(sample[1]) is not None):
        return {"image": "image", TARGET: "int"}
    raise OptionError(
        f"samples are tuples of {len(sample)}; say what they are, in order, such as "
        "fields={'image': 'image', 'mask': 'mask'}"
    )


def _kind(name: str, value: Any) -> str:
    low = name.lower()
    if name == TARGET:
        return "int"
    if low in _MASK_NAMES:
        return "mask"
    if low in ("boxes", "bboxes"):
        return "boxes"
    if _is_image(low, value):
        return "image"
    if isinstance(value, (bytes, bytearray, memoryview, Blob)):
        return "bytes"
    if isinstance(value, str):
        return "str"
    if isinstance(value, (bool, int, np.integer)):
        return "int"
    if isinstance(value, (float, np.floating)):
        return "float"
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        return f"{array.dtype.name}[{','.join(map(str, array.shape))}]"
    return "json"


def _is_image(name: str, value: Any) -> bool:
    if hasattr(value, "convert") and hasattr(value, "mode"):
        return True
    if isinstance(value, (bytes, bytearray, memoryview)):
        return sniff(bytes(value[:512])) is not None
    if isinstance(value, (str, os.PathLike, Blob)) or hasattr(value, "__array__"):
        return name in _IMAGE_NAMES
    return False
