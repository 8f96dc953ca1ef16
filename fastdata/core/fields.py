"""Named fields: what a sample consists of, and how each part is kept in a pack.

A field is written as a short text, in ``pack(..., fields=...)`` as in ``pack.json``:

==================  ====================================================================
``image``           an encoded image; HWC uint8 RGB when read
``mask``            labels by pixel, HW uint8 or uint16; never resampled but by nearest
``boxes``           N×4 float32, left, top, right, bottom in pixels of the stored image
``int``, ``float``  one 64-bit number
``str``, ``json``   text; any JSON value
``bytes``           anything else
``float32[512]``    an array of this dtype and shape; one ``?`` in place of the first
                    length lets it differ from sample to sample, as in ``int64[?]``
==================  ====================================================================

What the values of a kind are like, and all that is done with them, is in ``kinds``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import OptionError
from .kinds import KINDS, Kind

#: The field that holds the class of a sample; it lies in the pack's table.
TARGET = "target"

_DTYPES = (
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
    "float16", "float32", "float64",
)  # fmt: skip
# No length has more than ten digits, as a record has less than 2**32 bytes.
_ARRAY = re.compile(r"([a-z]+[0-9]*)\[((?:\?|[0-9]{1,10})(?:,[0-9]{1,10})*)?\]")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}")
#: The largest record: its size is a uint32 in the pack's table.
MOST_RECORD_BYTES = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Field:
    """The kind of one field.

    Attributes:
        kind: "image", "mask", "boxes", "int", "float", "str", "json", "bytes" or "array".
        dtype: of an array, as NumPy names it; else "".
        shape: of an array, whose first length may be None (it varies); else ().

    Example:
        >>> field = fastdata.Field.parse("float32[?,4]")
        >>> field.kind, field.dtype, field.shape
        ('array', 'float32', (None, 4))
        >>> str(field)
        'float32[?,4]'
    """

    kind: str
    dtype: str = ""
    shape: tuple[int | None, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Field:
        """The field that a text describes; OptionError if none."""
        plain = [name for name, kind in KINDS.items() if not kind.has_type]
        if text in plain:
            return cls(text)
        match = _ARRAY.fullmatch(text.replace(" ", "")) if isinstance(text, str) else None
        if match is None or match[1] not in _DTYPES:
            raise OptionError(
                f"a field is {', '.join(plain)}, or an array such as float32[512] or int64[?]; "
                f"got {text!r}"
            )
        lengths = match[2].split(",") if match[2] else []
        field = cls("array", match[1], tuple(None if n == "?" else int(n) for n in lengths))
        if None in field.shape and 0 in field.shape:
            raise OptionError(f"an array of {text} would have no bytes to tell its length by")
        # One row has to fit into a record, whose size is a 32-bit number.
        sizes = field.row_shape
        if len(sizes) > 32 or math.prod(sizes) * field.numpy.itemsize > MOST_RECORD_BYTES:
            raise OptionError(f"an array of {text} is too large for a record")
        return field

    def __str__(self) -> str:
        if not self.dtype:
            return self.kind
        lengths = ",".join("?" if n is None else str(n) for n in self.shape)
        return f"{self.dtype}[{lengths}]"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """An array's dtype, little-endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def row_shape(self) -> tuple[int, ...]:
        """An array's lengths that do not vary."""
        return tuple(n for n in self.shape if n is not None)

    @property
    def in_record(self) -> bool:
        """True if its bytes are a part of the record; the others have a column."""
        return kind_of(self).in_record


@lru_cache(maxsize=1024)
def kind_of(field: Field) -> Kind:
    """The kind of a field, which has all that is done with its values; OptionError if none."""
    if field.kind not in KINDS:
        raise OptionError(f"a field is {', '.join(KINDS)}; got {field.kind!r}")
    return KINDS[field.kind](field.dtype, field.shape)


def parse_fields(fields: Mapping[str, str | Field]) -> dict[str, Field]:
    """Check the fields of a pack and return them with the first image in front.

    Raises:
        OptionError: a name or kind is wrong, or there is no image.
    """
    found = {}
    for name, kind in fields.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "key":
            raise OptionError(
                f"a field's name is up to 64 of A-Z a-z 0-9 _ - . and not 'key', got {name!r}"
            )
        found[name] = Field.parse(str(kind) if isinstance(kind, Field) else kind)
    if TARGET in found and found[TARGET].kind != "int":
        raise OptionError(f"field {TARGET!r} must be of kind int, got {found[TARGET]}")
    image = next((name for name, field in found.items() if field.kind == "image"), None)
    if image is None:
        raise OptionError(f"there must be a field of kind image, got {_listed(found)}")
    return {image: found.pop(image), **found}


def _listed(fields: Mapping[str, Field]) -> str:
    return ", ".join(f"{name}: {field}" for name, field in fields.items()) or "none"
