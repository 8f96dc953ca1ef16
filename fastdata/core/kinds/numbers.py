"""One number: ``int`` and ``float``."""

from __future__ import annotations

import struct
from operator import index as as_int
from typing import Any, ClassVar

import numpy as np

from ...errors import DecodeError, described
from ..text import fits_64_bits, is_integer, is_number, parse_integer, shown
from .base import Batching, Kind


class _NumberKind(Kind):
    """A number of 64 bits, in a column."""

    in_record = False
    in_csv = True
    batching: Batching = "stacked"
    layout: ClassVar[struct.Struct]

    def dump(self, value: Any) -> bytes:
        return self.layout.pack(value)

    def load(self, data: bytes | memoryview) -> Any:
        try:
            return self.layout.unpack(data)[0]
        except struct.error as error:
            raise ValueError(str(error)) from error


class IntKind(_NumberKind):
    """An integer of 64 bits."""

    name = "int"
    row = np.dtype("<i8"), ()
    layout = struct.Struct("<q")

    def check(self, value: Any) -> int:
        try:
            number = as_int(value.item() if hasattr(value, "item") else value)
        except (TypeError, ValueError, RuntimeError) as error:  # the last is torch's
            raise DecodeError(f"expected an integer, found {described(value)}") from error
        if not fits_64_bits(number):
            found = number if number.bit_length() < 1000 else "an integer of hundreds of digits"
            raise DecodeError(f"{found} does not fit into 64 bits")
        return number

    def from_json(self, value: Any) -> int:
        if type(value) is not int:
            raise DecodeError(f"expected an integer, found {shown(value)}")
        return self.check(value)

    def from_cell(self, text: str) -> int:
        return parse_integer(_number(text, is_integer(text.strip()), "an integer", self))


class FloatKind(_NumberKind):
    """A number with a fraction, of 64 bits."""

    name = "float"
    row = np.dtype("<f8"), ()
    layout = struct.Struct("<d")

    def check(self, value: Any) -> float:
        try:
            if isinstance(value, (str, bytes, bytearray)):
                raise TypeError("text is no number")
            return float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise DecodeError(f"expected a number, found {described(value)}") from error

    def from_json(self, value: Any) -> float:
        if type(value) not in (int, float):
            raise DecodeError(f"expected a number, found {shown(value)}")
        return self.check(value)

    def from_cell(self, text: str) -> float:
        return float(_number(text, is_number(text.strip()), "a number", self))


def _number(cell: str, valid: bool, expected: str, kind: Kind) -> str:
    """The text of a cell without the spaces around it, if it is a number."""
    text = cell.strip()
    if not text:
        raise DecodeError(f"empty, in a column of kind {kind}; fill it, or declare it as str")
    if not valid:
        raise DecodeError(f"expected {expected}, found {shown(text)}")
    return text
