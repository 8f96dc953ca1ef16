"""Text as values: numbers and JSON, read strictly and written compactly.

What is wrong with a text is a DecodeError, which says what was found but not where: whoever reads
the file adds that.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ..errors import DecodeError

# int() would also take "1_2" and digits of any script. Both patterns are matched in linear time.
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf(?:inity)?)", re.IGNORECASE
)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def is_integer(text: str) -> bool:
    """True for the text of a decimal integer, of whatever size."""
    return _INTEGER.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """True for the text of a decimal number, NaN or infinity."""
    return _NUMBER.fullmatch(text) is not None


def fits_64_bits(value: int) -> bool:
    """True if an int64 can hold it."""
    return -(2**63) <= value < 2**63


def parse_integer(text: str) -> int:
    """The integer that ``is_integer`` found; DecodeError if it takes more than 64 bits."""
    # Asked first: converting digits by the thousand takes long, or is refused by int() itself.
    value = int(text) if len(text.lstrip("+-0")) < 20 else None
    if value is None or not fits_64_bits(value):
        raise DecodeError(f"the integer {shown(text)} does not fit into 64 bits")
    return value


def shown(value: object) -> str:
    """A value of JSON or CSV as messages show it, however long, deep or strange it is."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        text = repr(value) if not isinstance(value, int) or fits_64_bits(value) else "a huge int"
        return text if len(text) <= 80 else f"{text[:77]}…"
    names = {"NoneType": "null", "bool": "true or false", "dict": "an object", "list": "a list"}
    return names.get(type(value).__name__, type(value).__name__)


def utf8(text: str) -> bytes:
    """A text's bytes; JSON can write half of a surrogate pair, which has none: DecodeError."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DecodeError("half of a surrogate pair, which is not valid Unicode text") from error


def load_json(text: str) -> Any:
    """The value of a JSON text; DecodeError if it is none, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DecodeError("JSON that is nested too deeply") from error
    except ValueError as error:  # also of integers with thousands of digits
        raise DecodeError(f"not JSON: {error}") from error


def dump_json(value: object) -> bytes:
    """A value as compact JSON in UTF-8; DecodeError if there is none for it."""
    try:
        return utf8(_ENCODER.encode(value))
    except DecodeError:
        raise
    except RecursionError as error:
        raise DecodeError("not a JSON value: it is nested too deeply") from error
    except (TypeError, ValueError) as error:
        if "JSON compliant" in str(error):
            raise DecodeError("NaN and infinity are not JSON; write null instead") from error
        raise DecodeError(f"not a JSON value: {error}") from error
