"""Table files: the rows of a CSV (RFC 4180) or JSON Lines (jsonlines.org) file, one at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ...core import load_json
from ...errors import DecodeError, SourceError, SourceNotFoundError

#: Longer lines are refused, so that a file without line ends does not fill the memory.
MOST_CHARACTERS = 1 << 26
#: JSON may come with new columns in every row, each as long as the table.
MOST_COLUMNS = 1024

_JSON_LINES = (".jsonl", ".ndjson", ".json")


class TableFile:
    """An open table.

    Iterating gives the line in which each row ends, and the row's values by column: text, or what
    JSON holds. What a row lacks is missing in it.

    Attributes:
        path: the file.
        is_json: whether it is JSON Lines, going by the name: .jsonl, .ndjson or .json.
        columns: the header of a CSV file; the first row's keys of JSON Lines.
    """

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path = path
        self.is_json = path.suffix.lower() in _JSON_LINES
        self._lines = self._limited(file)
        self._number = 0
        self._first: dict[str, Any] | None = None
        if self.is_json:
            self._objects = self._read_objects()
            self._first = next(self._objects, None)
            self.columns = list(self._first or ())
        else:
            self._reader = csv.reader(self._lines, strict=True)
            self.columns = self._next_row() or []

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        return self._json_rows() if self.is_json else self._csv_rows()

    def at(self, line: int) -> str:
        """Place of a line, for messages."""
        return f"{self.path}, line {line}"

    def _limited(self, file: TextIO) -> Iterator[str]:
        while line := file.readline(MOST_CHARACTERS):
            self._number += 1
            if len(line) == MOST_CHARACTERS:
                raise SourceError(
                    f"{self.at(self._number)}: more than {MOST_CHARACTERS} characters"
                )
            yield line

    def _next_row(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except csv.Error as error:
            where = self.at(self._number)
            hint = "; use JSON Lines for cells of this size" if "limit" in str(error) else ""
            raise SourceError(f"{where}: not CSV: {error}{hint}") from error

    def _csv_rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        while (cells := self._next_row()) is not None:
            if len(cells) > len(self.columns):  # a comma in a name, most likely
                where = self.at(self._number)
                raise SourceError(f"{where}: more fields than columns; quote a name with a comma")
            if cells:
                yield self._number, dict(zip(self.columns, cells, strict=False))

    def _json_rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        if self._first is not None:
            yield self._number, self._first
            self._first = None
        for row in self._objects:
            yield self._number, row

    def _read_objects(self) -> Iterator[dict[str, Any]]:
        for line in self._lines:
            if not line.strip():
                continue
            try:
                row = load_json(line)
            except DecodeError as error:
                raise SourceError(f"{self.at(self._number)}: {error}") from error
            if not isinstance(row, dict):
                raise SourceError(
                    f"{self.at(self._number)}: expected one JSON object a line, such as "
                    '{"path": "a.jpg", "target": 0}'
                )
            yield row


@contextmanager
def open_table_file(path: Path) -> Iterator[TableFile]:
    """Open a UTF-8 table, with or without a byte order mark.

    Raises:
        SourceNotFoundError: there is no file.
        SourceError: it, or what is read from it meanwhile, is no such file.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield TableFile(path, file)
    except FileNotFoundError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceNotFoundError(f"no table at {path}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not a UTF-8 file: {error}") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
