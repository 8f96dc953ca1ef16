"""Interface of a kind of field, with what most kinds have in common."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from ...errors import DecodeError
from ..text import load_json, utf8

#: How a batch holds the values of a field: in one tensor, or in one if all have the same shape and
#: else in a list, or in a list.
Batching = Literal["stacked", "stacked if equal", "listed"]

LONGEST_TEXT = 64 << 20  # bytes; what a parser makes of them takes many times as many


class Kind:
    """Interface of a kind of field: all that is done with its values.

    A value has five forms. *Checked*, it is the Python or NumPy object that a dataset gives.
    *Dumped*, it is bytes: a part of the record, or, if not ``in_record``, a row of the field's
    column. Its *JSON* form stands in manifests, its *cell* is text in a CSV file, and its *file* is
    a member of an archive. Whatever is no such value is a DecodeError, which says what was
    expected and found; the caller adds where.

    A kind is one for all fields that are written alike, and is got by ``kind_of``.

    Attributes:
        name: as a field is written, unless ``has_type``.
        has_type: a field of it is written as a dtype and a shape.
        media: encoded pixels. ``images.MEDIA`` has what checks, encodes and decodes them; the
            methods here do not apply.
        moves: it is about places in the image, so it follows when that is cropped, resized,
            turned or flipped; ``images.GEOMETRY`` has how.
        in_record: its bytes are a part of the record; the others have a column for themselves.
        row: dtype and shape of a row of that column.
        is_file: a table has the path of a file with the value, and not the value.
        in_csv: its JSON form is a number or text, so that a cell of a CSV file can hold it.
        batching: how a batch has its values.
        suffix: extension of the file of a value.
        own_name: name of the field whose file has no other extension than ``suffix``.
        read_from: extensions of the files that are taken for values of this kind.
        longest_file: bytes of a file, above which it is not read.
        may_lack: a sample of an archive may have no file for it; the value is ``empty`` then.
    """

    name: ClassVar[str]
    has_type: ClassVar[bool] = False
    media: ClassVar[bool] = False
    moves: ClassVar[bool] = False
    in_record: bool = True
    row: tuple[np.dtype[Any], tuple[int, ...]]
    is_file: ClassVar[bool] = False
    in_csv: ClassVar[bool] = False
    batching: Batching = "listed"
    suffix: ClassVar[str] = "json"
    own_name: ClassVar[str] = "json"
    read_from: ClassVar[Sequence[str]] = ()
    longest_file: ClassVar[int] = LONGEST_TEXT
    may_lack: ClassVar[bool] = False
    empty: ClassVar[Any] = None

    def __init__(self, dtype: str, shape: tuple[int | None, ...]) -> None:
        """Get ready for the fields of this dtype and shape, which are "" and () for most kinds."""

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def check(self, value: Any) -> Any:
        """The value that a Python object is, be it one of a tensor or a NumPy scalar."""

    @abstractmethod
    def dump(self, value: Any) -> bytes:
        """The bytes of a checked value; of a row of the column, if not ``in_record``."""

    @abstractmethod
    def load(self, data: bytes | memoryview) -> Any:
        """The value whose bytes these are, in memory of its own; ValueError if there is none."""

    def from_row(self, row: Any) -> Any:
        """The value of a row of the column."""
        return row.item()

    def to_json(self, value: Any) -> Any:
        """A value in the types that JSON has."""
        return value

    def from_json(self, value: Any) -> Any:
        """The value that a JSON value says; stricter than ``check``: true is no number."""
        return self.check(value)

    def from_cell(self, text: str) -> Any:
        """The JSON value that a cell of a CSV file says; where ``is_file``, the path itself."""
        return text if self.is_file else load_json(text)

    def to_file(self, value: Any) -> bytes:
        """Content of the file of a value."""
        return utf8(json.dumps(self.to_json(value), ensure_ascii=False))

    def from_file(self, data: bytes) -> Any:
        """The value in a file whose extension is one of ``read_from``."""
        try:
            return self.from_json(load_json(data.decode("utf-8")))
        except UnicodeDecodeError as error:
            raise DecodeError(f"expected UTF-8 text: {error}") from error

    @classmethod
    def type_of_file(cls, head: bytes) -> str:
        """The text of a field whose first value's file begins with these ``NPY_HEAD`` bytes."""
        return cls.name
