"""Columns whose kind is told by their values: text of a CSV file, or values of JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from ...core import (
    Field,
    dump_json,
    fits_64_bits,
    is_integer,
    is_number,
    parse_integer,
    utf8,
)
from ...errors import DecodeError, SourceError
from ..columns.column import Column, Rows, build_column

#: "007" is a name more often than a number, and as a number could not be written back.
_PADDED = re.compile(r"[+-]?0[0-9]")

_KINDS = ("int", "float", "str")


class InferredText:
    """A CSV column: int if all cells are integers of 64 bits without leading zeros; float if all
    are numbers; else str. Spaces around a number do not count."""

    def __init__(self) -> None:
        self._rows = Rows()
        self._kind = -1  # of _KINDS, the narrowest that still fits
        self._empty = ""

    def add(self, value: str, where: str) -> None:
        """Append a cell; it is told where it stands."""
        text = value.strip()
        if not text:
            self._empty = self._empty or where
        elif self._kind < 2:
            self._kind = max(self._kind, _narrowest(text))
        self._rows.add(utf8(value))

    def finish(self) -> Column:
        """The column; SourceError if it has numbers and an empty cell."""
        kind = _KINDS[self._kind]  # −1, all are empty: str
        if self._empty and kind != "str":
            raise SourceError(
                f"{self._empty}: empty, in a column of numbers (kind {kind}); fill it, or declare "
                "the column as str"
            )
        convert: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str}
        return _built(Field(kind), map(convert[kind], self._rows.table()))


def _narrowest(text: str) -> int:
    if _PADDED.match(text) or not is_number(text):
        return 2
    if not is_integer(text):
        return 1
    try:
        parse_integer(text)
    except DecodeError:  # as a float it would lose digits
        return 2
    return 0


class InferredJson:
    """A column of JSON: int if all values are integers of 64 bits, float if all are numbers, str
    if all are text; else json."""

    def __init__(self) -> None:
        self._rows = Rows()
        self._kinds: set[str] = set()
        self._not_finite = ""

    def add(self, value: Any, where: str) -> None:
        """Append a value.

        Raises:
            SourceError: it contains what valid JSON and Unicode do not.
        """
        kind = _json_kind(value)
        self._kinds.add(kind)
        if kind == "float" and not math.isfinite(value):
            self._not_finite = self._not_finite or where
            self._rows.add(json.dumps(value).encode())  # Python's notation, which its parser reads
            return
        try:
            self._rows.add(dump_json(value))
        except DecodeError as error:
            raise SourceError(f"{where}: {error}") from error

    def finish(self) -> Column:
        """The column; SourceError if values that are not all numbers have a NaN among them."""
        kind = self._common_kind()
        if kind == "json" and self._not_finite:
            raise SourceError(f"{self._not_finite}: NaN or infinity, in a column of kind json")
        return _built(Field(kind), map(json.loads, self._rows.table()))

    def _common_kind(self) -> str:
        if self._kinds == {"int", "float"}:
            return "float"
        return next(iter(self._kinds)) if len(self._kinds) == 1 else "json"


def _json_kind(value: object) -> str:
    if isinstance(value, bool):
        return "json"
    if isinstance(value, int):
        return "int" if fits_64_bits(value) else "json"
    return {float: "float", str: "str"}.get(type(value), "json")


def _built(kind: Field, values: Iterable[Any]) -> Column:
    column = build_column(kind)
    for value in values:
        column.add(value)
    return column.finish()
