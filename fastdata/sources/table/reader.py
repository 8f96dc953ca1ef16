"""The rows of a table on their way into columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ...core import TARGET, Field, kind_of, parse_fields
from ...errors import DecodeError, OptionError, SourceError
from ..base import Findings
from ..columns.column import Column, PackedBuilder, PackedColumn, build_column
from .infer import InferredJson, InferredText
from .lines import MOST_COLUMNS, TableFile
from .targets import TargetReader

#: Columns that may hold the image's path, and the target, in order of preference.
IMAGE_COLUMNS = ("path", "file_name", "filename", "image", "file")
TARGET_COLUMNS = (TARGET, "label", "class")

#: The kinds of columns that are declared; None for one that is left out.
Declared = Mapping[str, Field | None]

_IMAGE = Field("image")


class _Reader(Protocol):
    """Takes the values of a column as the file has them, each with its place for messages."""

    def add(self, value: Any, where: str) -> None: ...
    def finish(self) -> Column: ...


class _DeclaredReader:
    """A column whose kind is known: a value of another kind is an error at once."""

    def __init__(self, kind: Field, root: str, *, is_json: bool) -> None:
        self._kind = kind_of(kind)
        self._column = build_column(kind, root)
        self._is_json = is_json

    def add(self, value: Any, where: str) -> None:
        try:
            self._column.add(value if self._is_json else self._kind.from_cell(value))
        except (SourceError, DecodeError) as error:
            raise SourceError(f"{where}: {error}") from error

    def finish(self) -> Column:
        return self._column.finish()


class RowReader:
    """Turns the rows of a table into columns.

    Args:
        table: where they come from.
        root: directory that paths are relative to.
        image: name of the column with the images' paths, or None to find it.
        declared: kinds of columns.
        classes: class names, or None to find them.
        field: what the images' field is called.

    Attributes:
        findings: what was left out.

    Raises:
        OptionError: ``image`` or ``declared`` do not go with the table's columns.
        SourceError: its columns cannot be the fields of a sample.
    """

    def __init__(
        self,
        table: TableFile,
        root: str,
        image: str | None,
        declared: Declared,
        *,
        classes: Sequence[str] | None = None,
        field: str = "image",
    ) -> None:
        columns, where = table.columns, str(table.path)
        self.findings = Findings()
        self._table = table
        self._root = root
        self._declared = declared
        self._image = image_column(image, columns, declared, where)
        self._field = field
        self._images = PackedBuilder(Field("image"), root)
        self._target = target_column(columns, declared)
        self._targets = TargetReader(classes)
        self._readers: dict[str, _Reader] = {}
        self._seen: set[str] = set()
        self._count = 0
        check_declared(declared, columns, where)
        for name in columns:
            self._open(name, where)

    def __len__(self) -> int:
        return self._count

    def add(self, line: int, row: dict[str, Any]) -> None:
        """Append a row.

        Raises:
            SourceError: a value is wrong; the message has its line and column.
        """
        where = self._table.at(line)
        if self._table.is_json and not row.keys() <= self._seen:
            for name in [name for name in row if name not in self._seen]:
                self._open_late(name, where)
        missing = None if self._table.is_json else ""
        try:
            self._images.add(row.get(self._image, missing))
        except SourceError as error:
            raise SourceError(f"{where}, column {self._image!r}: {error}") from error
        for name, reader in self._readers.items():
            reader.add(row.get(name, missing), f"{where}, column {name!r}")
        self._count += 1

    def finish(self) -> tuple[PackedColumn, dict[str, Column], list[str]]:
        """The images, the other columns by field, and the class names."""
        columns = {}
        for name, reader in self._readers.items():
            columns[TARGET if name == self._target else name] = reader.finish()
        return self._images.finish(), columns, self._targets.classes

    def _open(self, name: str, where: str) -> None:
        """Get ready for a column."""
        if name in self._seen and name:
            raise SourceError(f"{where}: two columns are called {name!r}")
        self._seen.add(name)
        if len(self._seen) > MOST_COLUMNS:
            raise SourceError(f"{where}: more than {MOST_COLUMNS} columns")
        if not name:  # as pandas writes its index
            self.findings.notes.append(f"{where}: a column without a name was left out")
        elif name != self._image and self._declared.get(name, ...) is not None:
            self._readers[name] = self._reader(name, f"{where}, column {name!r}")

    def _reader(self, name: str, where: str) -> _Reader:
        if name == self._target:
            return self._targets
        check_field_name(name, where, self._field)
        kind = self._declared.get(name)
        if kind is not None:
            return _DeclaredReader(kind, self._root, is_json=self._table.is_json)
        return InferredJson() if self._table.is_json else InferredText()

    def _open_late(self, name: str, where: str) -> None:
        """Get ready for a column of JSON that the rows so far did not have."""
        if may_be_target(name, self._declared) and self._target is None:
            raise SourceError(f"{where}: {name!r} is missing in the rows above; all need a target")
        self._open(name, where)
        for _ in range(self._count if name in self._readers else 0):
            self._readers[name].add(None, where)


def parse_declared(fields: Mapping[str, str | Field | None]) -> dict[str, Field | None]:
    """The kinds that the columns of a table are declared to have; OptionError for no kind."""
    kinds = {name: Field.parse(k) if isinstance(k, str) else k for name, k in fields.items()}
    target = kinds.get(TARGET)
    if target is not None and target.kind != "int":
        raise OptionError(f"column {TARGET!r} must be of kind int, got {target}")
    return kinds


def check_declared(declared: Declared, columns: Sequence[str], where: str) -> None:
    """OptionError if a column that is declared is not there."""
    unknown = [name for name in declared if name not in columns]
    if unknown:
        raise OptionError(
            f"fields has the column {unknown[0]!r}; {where} has {', '.join(columns) or 'none'}"
        )


def image_column(asked: str | None, columns: Sequence[str], declared: Declared, where: str) -> str:
    """The column that holds the images' paths.

    Raises:
        OptionError: the column that is asked for is not there, or declared as something else.
        SourceError: there is none.
    """
    if asked is not None:
        if asked not in columns:
            raise OptionError(f"no column {asked!r} for the image; {where} has {_listed(columns)}")
        if declared.get(asked, _IMAGE) != _IMAGE:
            raise OptionError(f"column {asked!r} cannot be both the image and another field")
        return asked
    for name in IMAGE_COLUMNS:
        if name in columns and declared.get(name, _IMAGE) == _IMAGE:
            return name
    hint = "; cells are separated by commas" if len(columns) == 1 else ""
    raise SourceError(
        f"{where}: expected a column {', '.join(IMAGE_COLUMNS[:-1])} or {IMAGE_COLUMNS[-1]}, or "
        f"the name of another one in image, found {_listed(columns)}{hint}"
    )


def target_column(columns: Sequence[str], declared: Declared) -> str | None:
    """The column that holds the targets, if there is one."""
    found = (name for name in TARGET_COLUMNS if name in columns)
    return next((name for name in found if may_be_target(name, declared)), None)


def may_be_target(name: str, declared: Declared) -> bool:
    """True if a column holds targets, unless one with a better name does."""
    if name == TARGET:
        return declared.get(name, _IMAGE) is not None
    return name in TARGET_COLUMNS and name not in declared


def check_field_name(name: str, where: str, image: str = "image") -> None:
    """SourceError unless a column can be a field besides ``image`` and the target."""
    advice = f"rename it, or leave it out with fields={{{name!r}: None}}"
    if name in (image, TARGET):
        raise SourceError(f"{where}: another column is the {name} already; {advice}")
    try:
        parse_fields({image: "image", name: "str"})
    except OptionError as error:
        raise SourceError(f"{where}: {error}; {advice}") from error


def _listed(columns: Sequence[str]) -> str:
    return f"the columns {', '.join(columns)}" if columns else "an empty file"
