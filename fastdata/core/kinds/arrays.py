"""Numbers in rows: arrays of any dtype and shape, and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import DecodeError, described
from ..npy import npy_type, read_npy, write_npy
from .base import Kind

#: By the kind of a dtype, the kinds of what JSON may have for it.
_FROM_JSON = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}


class ArrayKind(Kind):
    """An array of numbers; its first length may vary, and then it lies in the record."""

    name = "array"
    has_type = True
    suffix = "npy"
    own_name = ""
    read_from: ClassVar[Sequence[str]] = ("npy",)
    longest_file = 2**32 - 1

    def __init__(self, dtype: str, shape: tuple[int | None, ...]) -> None:
        self._shape = shape
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._row_shape = tuple(n for n in shape if n is not None)
        self.in_record = None in shape
        self.batching = "listed" if self.in_record else "stacked"
        self.row = self._dtype, self._row_shape

    def __str__(self) -> str:
        lengths = ",".join("?" if n is None else str(n) for n in self._shape)
        return f"{self._dtype.name}[{lengths}]"

    def check(self, value: Any) -> NDArray[Any]:
        return self._checked(value, value)

    def _checked(self, numbers: Any, value: Any) -> NDArray[Any]:
        """``numbers`` as an array of this kind; ``value`` is what messages show."""
        array = _converted(numbers, value, self._dtype)
        if self.in_record and array.shape == (0,):  # [] cannot tell how long its rows would be
            array = array.reshape(0, *self._row_shape)
        lengths = array.shape[1:] if self.in_record else array.shape
        if lengths != self._row_shape or array.ndim != len(self._shape):
            raise DecodeError(f"expected {self}, found {described(value)}")
        return array

    def dump(self, value: NDArray[Any]) -> bytes:
        return value.tobytes()

    def load(self, data: bytes | memoryview) -> NDArray[Any]:
        shape = (-1, *self._row_shape) if self.in_record else self._row_shape
        return np.frombuffer(data, self._dtype).reshape(shape).copy()

    def from_row(self, row: Any) -> NDArray[Any]:
        return np.array(row)

    def to_json(self, value: NDArray[Any]) -> Any:
        return value.tolist()

    def from_json(self, value: Any) -> NDArray[Any]:
        try:
            array = as_numbers(value)
        except (ValueError, OverflowError) as error:
            raise DecodeError(f"expected {self}, found lists of different lengths") from error
        if array.size and array.dtype.kind not in _FROM_JSON[self._dtype.kind]:
            raise DecodeError(f"expected {self}, found {_named(array)}")
        return self._checked(array, value)

    def to_file(self, value: NDArray[Any]) -> bytes:
        return write_npy(value)

    def from_file(self, data: bytes) -> NDArray[Any]:
        found = npy_type(data)
        if found != str(self):
            raise DecodeError(f"expected {self}, as in the first sample, found {found}")
        return read_npy(data).copy(order="K")  # of bytes, it could not be written to

    @classmethod
    def type_of_file(cls, head: bytes) -> str:
        return npy_type(head)


class BoxesKind(ArrayKind):
    """Boxes of a sample, N×4 float32: left, top, right, bottom in pixels of the stored image."""

    name = "boxes"
    has_type = False
    moves = True
    read_from: ClassVar[Sequence[str]] = ()  # a file tells an array from boxes as little as a list

    def __init__(self, dtype: str, shape: tuple[int | None, ...]) -> None:
        super().__init__("float32", (None, 4))

    def __str__(self) -> str:
        return self.name

    def _checked(self, numbers: Any, value: Any) -> NDArray[Any]:
        boxes = _converted(numbers, value, self._dtype)
        boxes = boxes.reshape(0, 4) if boxes.shape == (0,) else boxes
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
            raise DecodeError(f"expected N×4 finite numbers, found {described(value)}")
        if (boxes[:, 2:] < boxes[:, :2]).any():
            raise DecodeError(
                "expected boxes as left, top, right, bottom, with right >= left and bottom >= top, "
                f"found {described(value)}"
            )
        return boxes


def as_numbers(value: Any) -> NDArray[Any]:
    """An array of a value, in which no integer of 64 bits is rounded.

    NumPy makes floats of a list that mixes integers below and above 2^63.
    """
    array = np.asarray(value)
    if array.dtype.kind != "f" or not isinstance(value, (list, tuple)):
        return array
    if not all(type(number) is int for number in np.array(value, object).flat):
        return array
    with suppress(OverflowError):
        return np.array(value, np.uint64)
    return array


def _converted(numbers: Any, value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """As an array of that type, if every number in it can be told exactly, or nearly for floats."""
    try:
        array = as_numbers(numbers)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{array.dtype} is no type of numbers")
        with np.errstate(over="ignore", invalid="ignore"):
            result = np.asarray(array, dtype, order="C")
        if not _kept(array, result):
            raise TypeError(f"a number does not fit into {result.dtype.name}")
        return result
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last is torch's
        message = f"expected numbers of type {dtype.name}, found {described(value)}"
        raise DecodeError(f"{message}: {error}") from error


def _kept(array: NDArray[Any], result: NDArray[Any]) -> bool:
    if result.dtype.kind == "f" and array.dtype.kind in "iuf":
        return bool((np.isfinite(result) | ~np.isfinite(array)).all())
    return np.array_equal(result, array)


def _named(array: NDArray[Any]) -> str:
    kinds = {"b": "true or false", "U": "text", "f": "a number with a fraction"}
    return kinds.get(array.dtype.kind, "something else than numbers")
