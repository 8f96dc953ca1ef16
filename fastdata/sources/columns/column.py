"""Columns: the values of one field for all samples, without a Python object for each."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from array import array
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...core import Field, KeyTable
from ...errors import SourceError
from ..base import FileBlob
from .values import as_array, dump_json, fits_64_bits, inside, load_json, shown, utf8

_FILES = ("image", "mask", "bytes")


class Column(Protocol):
    """The values of one field, by sample."""

    @property
    def field(self) -> Field:
        """The kind of the values."""

    @abstractmethod
    def get(self, index: int) -> Any:
        """The value of sample ``index``; arrays are new and writable."""

    @abstractmethod
    def part(self, first: int, stop: int) -> Column:
        """The values of samples ``first`` to ``stop`` − 1."""

    @abstractmethod
    def content(self) -> list[NDArray[Any]]:
        """What distinguishes it from other columns of its kind, for a digest."""


@dataclass(frozen=True, slots=True, eq=False)
class NumberColumn:
    """Numbers: an int64 or float64 array."""

    field: Field
    values: NDArray[Any]

    def get(self, index: int) -> Any:
        return self.values[index].item()

    def part(self, first: int, stop: int) -> NumberColumn:
        return NumberColumn(self.field, self.values[first:stop])

    def content(self) -> list[NDArray[Any]]:
        return [self.values]


@dataclass(frozen=True, slots=True, eq=False)
class PackedColumn:
    """Anything else, as bytes: UTF-8 of text, JSON and file names; the elements of arrays.

    Attributes:
        field: the kind.
        rows: the bytes, in a table of which only those of text are asked for as names.
        root: the directory that file names are relative to.
    """

    field: Field
    rows: KeyTable
    root: str = ""

    def get(self, index: int) -> Any:
        kind = self.field.kind
        if kind == "str":
            return self.rows[index]
        if kind == "json":
            return load_json(self.rows[index])
        if kind in _FILES:
            return FileBlob(self.path(index))
        return self._array(index)

    def _array(self, index: int) -> NDArray[Any]:
        first, stop = self.rows.offsets[index : index + 2]
        data = self.rows.blob[first:stop].copy()
        if self.field.kind == "boxes":
            return data.view("<f4").reshape(-1, 4)
        elements = data.view(self.field.numpy)
        rows = elements.size // max(1, math.prod(self.field.row_shape))
        return elements.reshape([rows if n is None else n for n in self.field.shape])

    def path(self, index: int) -> str:
        """The path of a file, in a column of images, masks or bytes."""
        return os.path.join(self.root, self.rows[index])

    def part(self, first: int, stop: int) -> PackedColumn:
        return PackedColumn(self.field, self.rows.part(first, stop), self.root)

    def content(self) -> list[NDArray[Any]]:
        return [self.rows.offsets, self.rows.blob]


class Rows:
    """Byte strings that come one at a time, kept as one."""

    def __init__(self) -> None:
        self._offsets = array("q", [0])
        self._blob = bytearray()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def add(self, row: bytes) -> None:
        """Append one."""
        self._blob += row
        self._offsets.append(len(self._blob))

    def table(self) -> KeyTable:
        """All of them; nothing may be added any more."""
        return KeyTable(np.frombuffer(self._offsets, np.int64), np.frombuffer(self._blob, np.uint8))


class ColumnBuilder(Protocol):
    """Takes the values of a column one at a time."""

    @abstractmethod
    def add(self, value: Any) -> None:
        """Append a value; SourceError if it is not of the column's kind."""

    @abstractmethod
    def finish(self) -> Column:
        """The column; nothing may be added any more."""


def build_column(kind: Field, root: str = "") -> ColumnBuilder:
    """What builds a column of a kind; files are relative to ``root``."""
    return _Numbers(kind) if kind.kind in ("int", "float") else PackedBuilder(kind, root)


class _Numbers:
    def __init__(self, kind: Field) -> None:
        self._field = kind
        self._values: array[Any] = array("q" if kind.kind == "int" else "d")

    def add(self, value: Any) -> None:
        types = int if self._field.kind == "int" else (int, float)
        if isinstance(value, bool) or not isinstance(value, types):
            raise SourceError(f"expected {self._field}, found {shown(value)}")
        if isinstance(value, int) and not fits_64_bits(value):
            raise SourceError("an integer that does not fit into 64 bits")
        self._values.append(value)

    def finish(self) -> Column:
        dtype = np.int64 if self._field.kind == "int" else np.float64
        return NumberColumn(self._field, np.frombuffer(self._values, dtype))


class PackedBuilder:
    """Takes text, JSON values, arrays or file names, which are checked to lie inside ``root``."""

    def __init__(self, kind: Field, root: str = "") -> None:
        self._field = kind
        self._root = root
        self._rows = Rows()

    def add(self, value: Any) -> None:
        """Append a value; SourceError if it is not of the column's kind."""
        self._rows.add(self._encoded(value))

    def _encoded(self, value: Any) -> bytes:
        kind = self._field.kind
        if kind == "json":
            return utf8(dump_json(value))
        if kind in ("boxes", "array"):
            return as_array(self._field, value).tobytes()
        if not isinstance(value, str):
            expected = "text" if kind == "str" else "a path"
            raise SourceError(f"expected {expected}, found {shown(value)}")
        return utf8(value if kind == "str" else inside(value))

    def finish(self) -> PackedColumn:
        """The column; nothing may be added any more."""
        return PackedColumn(self._field, self._rows.table(), self._root)
