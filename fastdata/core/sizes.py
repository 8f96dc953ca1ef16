"""Sizes in bytes as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

from ..errors import OptionError

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{p}B": 1000 ** (i + 1) for i, p in enumerate("kMGT")}
_UNITS |= {f"{p}iB": 1024 ** (i + 1) for i, p in enumerate("KMGT")}


def parse_size(size: int | str) -> int:
    """Bytes from a number or from text such as "1GiB", "500 MB" or "4096"; else OptionError."""
    text = str(size)
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2] not in _UNITS:
        units = " ".join(filter(None, _UNITS))
        raise OptionError(f"a size is a number of bytes, or one with {units}; got {text!r}")
    value = int(Fraction(match[1]) * _UNITS[match[2]])
    if value < 1:
        raise OptionError(f"a size must be >= 1 byte, got {text!r}")
    return value
