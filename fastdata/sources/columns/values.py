"""Values that text files give for a field: checked strictly, and turned into NumPy arrays.

The errors raised here say what is wrong with a value, not where it stands: that is added by
whoever reads the file.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core import Field
from ...errors import SourceError

# int() would also take "1_2" and digits of any script. Both patterns are matched in linear time.
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf(?:inity)?)", re.IGNORECASE
)
# Most paths, told from the others in a tenth of the time that pathlib takes.
_PLAIN_PATH = re.compile(r"(?:(?!\.{1,2}(?:/|\Z))[^/\\:\0]+(?:/(?!\Z)|\Z))+")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_BOXES = Field("array", "float32", (None, 4))


def inside(text: str) -> str:
    """A relative POSIX path, normalised; SourceError if it may lead out of its folder."""
    if _PLAIN_PATH.fullmatch(text):
        return text
    if not text:
        raise SourceError("empty; expected a path")
    path = PurePosixPath(text)
    outside = path.is_absolute() or ".." in path.parts or bool(Path(text).drive)
    if outside or not path.parts or "\0" in text:
        raise SourceError(f"{shown(text)} is not a path inside of the image folder")
    return path.as_posix()


def is_integer(text: str) -> bool:
    """Whether a text is a decimal integer, of whatever size."""
    return _INTEGER.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Whether a text is a decimal number, NaN or infinity."""
    return _NUMBER.fullmatch(text) is not None


def parse_integer(text: str) -> int:
    """The integer that ``is_integer`` found; SourceError if it takes more than 64 bits."""
    # Asked first: converting digits by the thousand takes long, or is refused by int() itself.
    value = int(text) if len(text.lstrip("+-0")) < 20 else None
    if value is None or not fits_64_bits(value):
        raise SourceError(f"the integer {shown(text)} does not fit into 64 bits")
    return value


def fits_64_bits(value: int) -> bool:
    """Whether an int64 can hold it."""
    return -(2**63) <= value < 2**63


def parse_cell(field: Field, text: str) -> Any:
    """What the text of a CSV cell means in a column of this kind; SourceError if nothing."""
    if field.kind in ("str", "image", "mask", "bytes"):
        return text
    if field.kind not in ("int", "float"):
        return load_json(text)
    text = text.strip()
    if not text:
        raise SourceError(f"empty, in a column of kind {field}; fill it, or declare it as str")
    if field.kind == "int" and is_integer(text):
        return parse_integer(text)
    if field.kind == "float" and is_number(text):
        return float(text)
    raise SourceError(f"expected {_ARTICLES[field.kind]}, found {shown(text)}")


_ARTICLES = {"int": "an integer", "float": "a number"}


def load_json(text: str) -> Any:
    """The value of a JSON text; SourceError if it is none, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise SourceError("JSON that is nested too deeply") from error
    except ValueError as error:  # also of integers with thousands of digits
        raise SourceError(f"not JSON: {error}") from error


def dump_json(value: object) -> str:
    """A value as compact JSON in valid Unicode; SourceError if there is none for it."""
    try:
        text = _ENCODER.encode(value)
    except RecursionError as error:
        raise SourceError("JSON that is nested too deeply") from error
    except ValueError as error:
        raise SourceError("NaN and infinity are not JSON; write null instead") from error
    utf8(text)
    return text


def utf8(text: str) -> bytes:
    """A text's bytes; JSON can write half of a surrogate pair, which has none: SourceError."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SourceError("half of a surrogate pair, which is not Unicode text") from error


def as_array(field: Field, value: object) -> NDArray[Any]:
    """Nested lists as an array of a field's dtype and shape; nothing is rounded or cut off.

    Args:
        field: of kind "array", or "boxes": N×4 float32.
        value: numbers in nested lists, or an ndarray.

    Raises:
        SourceError: another shape, numbers that do not fit into the dtype, or boxes that are not
            finite or have their right or lower edge before the opposite one.
    """
    want = _BOXES if field.kind == "boxes" else field
    if isinstance(value, list) and not value and want.shape[:1] == (None,):
        return np.zeros((0, *want.row_shape), want.numpy)
    array = _converted(want, value)
    lengths = zip(want.shape, array.shape, strict=False)
    if array.ndim != len(want.shape) or any(n not in (None, found) for n, found in lengths):
        raise SourceError(f"expected {want}, found the shape {list(array.shape)}")
    if field.kind == "boxes":
        check_boxes(array)
    return array


def check_boxes(boxes: NDArray[Any]) -> None:
    """SourceError unless N×4 boxes are finite and no edge lies before the opposite one."""
    if not np.isfinite(boxes).all():
        raise SourceError("a box is four finite numbers")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise SourceError("a box is [left, top, right, bottom], with right ≥ left, bottom ≥ top")


def _converted(want: Field, value: object) -> NDArray[Any]:
    try:
        array = _integers(np.asarray(value), value)
    except (ValueError, OverflowError) as error:
        raise SourceError(f"expected {want}, found lists of different lengths") from error
    if not array.size:  # its dtype means nothing, as there is no number
        return array.astype(want.numpy)
    allowed = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}[want.numpy.kind]
    if array.dtype.kind not in allowed:
        raise SourceError(f"expected {want}, found {_described(array)}")
    with np.errstate(over="ignore"):
        result = array.astype(want.numpy)
    if not _kept(array, result):
        raise SourceError(f"expected {want}, found a number that does not fit into {want.dtype}")
    return result


def _integers(array: NDArray[Any], value: object) -> NDArray[Any]:
    """The same as uint64, where NumPy has made floats of integers as it mixes 0 with 2^63."""
    if array.dtype.kind != "f" or not isinstance(value, list):
        return array
    if not all(type(number) is int for number in np.array(value, object).flat):
        return array
    with suppress(OverflowError):
        return np.array(value, np.uint64)
    return array


def _kept(array: NDArray[Any], result: NDArray[Any]) -> bool:
    if not array.size or result.dtype.kind == "b":
        return True
    if result.dtype.kind == "f":
        return bool((np.isfinite(result) | ~np.isfinite(array)).all())
    limits = np.iinfo(result.dtype)
    return int(array.min()) >= limits.min and int(array.max()) <= limits.max


def _described(array: NDArray[Any]) -> str:
    kinds = {"b": "true or false", "U": "text", "f": "a number with a fraction"}
    return kinds.get(array.dtype.kind, "something else than numbers")


def shown(value: object) -> str:
    """A value for an error message, however long, deep or strange it is."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        text = repr(value) if not isinstance(value, int) or fits_64_bits(value) else "a huge int"
        return text if len(text) <= 80 else f"{text[:77]}…"
    names = {"NoneType": "null", "bool": "true or false", "dict": "an object", "list": "a list"}
    return names.get(type(value).__name__, type(value).__name__)
