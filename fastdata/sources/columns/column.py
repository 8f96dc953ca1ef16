"""Columns: the values of one field for all samples, without a Python object for each."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from array import array
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...core import Field, KeyTable, Kind, kind_of, shown, utf8
from ...errors import DecodeError, SourceError
from ..base import FileBlob

# Most paths, told from the others in a tenth of the time that pathlib takes.
_PLAIN_PATH = re.compile(r"(?:(?!\.{1,2}(?:/|\Z))[^/\\:\0]+(?:/(?!\Z)|\Z))+")


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
        """Arrays that distinguish it from other columns of its kind, for a digest."""


@dataclass(frozen=True, slots=True, eq=False)
class FixedColumn:
    """Values that all have the same number of bytes: an array with a row for each."""

    field: Field
    values: NDArray[Any]

    def get(self, index: int) -> Any:
        return kind_of(self.field).from_row(self.values[index])

    def part(self, first: int, stop: int) -> FixedColumn:
        return FixedColumn(self.field, self.values[first:stop])

    def content(self) -> list[NDArray[Any]]:
        return [self.values]


@dataclass(frozen=True, slots=True, eq=False)
class PackedColumn:
    """Values as bytes of any number, or the names of the files that have them.

    Attributes:
        field: the kind.
        rows: the bytes, in a table of which only those of file names are asked for as names.
        root: the directory that file names are relative to.
    """

    field: Field
    rows: KeyTable
    root: str = ""

    def get(self, index: int) -> Any:
        kind = kind_of(self.field)
        if kind.is_file:
            return FileBlob(self.path(index))
        first, stop = self.rows.offsets[index : index + 2]
        return kind.load(self.rows.blob[first:stop].tobytes())

    def path(self, index: int) -> str:
        """The path of a file, in a column of files."""
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


def build_column(field: Field, root: str = "") -> ColumnBuilder:
    """A builder for the columns of a field; files are relative to ``root``."""
    return PackedBuilder(field, root) if field.in_record else FixedBuilder(field)


class FixedBuilder:
    """Takes values that all have the same number of bytes."""

    def __init__(self, field: Field) -> None:
        self._field, self._kind = field, kind_of(field)
        self._blob, self._count = bytearray(), 0

    def add(self, value: Any) -> None:
        """Append a value; SourceError if it is not of the column's kind."""
        self._blob += _dumped(self._kind, value)
        self._count += 1

    def finish(self) -> FixedColumn:
        """The column; nothing may be added any more."""
        dtype, shape = self._kind.row
        values = np.frombuffer(self._blob, dtype).reshape(self._count, *shape)
        return FixedColumn(self._field, values)


class PackedBuilder:
    """Takes all other values, and file names, which are checked to lie inside ``root``."""

    def __init__(self, field: Field, root: str = "") -> None:
        self._field, self._kind = field, kind_of(field)
        self._root = root
        self._rows = Rows()

    def add(self, value: Any) -> None:
        """Append a value; SourceError if it is not of the column's kind."""
        self._rows.add(_path(value) if self._kind.is_file else _dumped(self._kind, value))

    def finish(self) -> PackedColumn:
        """The column; nothing may be added any more."""
        return PackedColumn(self._field, self._rows.table(), self._root)


def _dumped(kind: Kind, value: Any) -> bytes:
    try:
        return kind.dump(kind.from_json(value))
    except DecodeError as error:
        raise SourceError(str(error)) from error


def _path(value: Any) -> bytes:
    if not isinstance(value, str):
        raise SourceError(f"expected a path, found {shown(value)}")
    try:
        return utf8(_inside(value))
    except DecodeError as error:
        raise SourceError(str(error)) from error


def _inside(text: str) -> str:
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
