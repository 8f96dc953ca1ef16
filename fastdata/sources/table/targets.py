"""Targets: a column of integers or class names as indices into the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core import Field, is_integer, parse_integer, shown, utf8
from ...errors import DecodeError, SourceError
from ..columns.column import Column, FixedColumn, Rows

#: Class names are made up to the largest target, so a stray huge one must not fill the memory.
_MOST_CLASSES = 1 << 20


class TargetReader:
    """Takes targets one at a time and then says what they are.

    If all are integers they are stored as they are, and classes are "0", "1", … up to the largest
    (none if one is negative or above a million); otherwise all are class names, sorted.

    Args:
        classes: the class names, where they are known. Targets are names from this list, and −1
            for no class, or, if all are integers and one is not in the list, indices into it.

    Attributes:
        classes: the class names, once ``finish`` was called.
    """

    def __init__(self, classes: Sequence[str] | None) -> None:
        self.classes = list(classes or ())
        # No class comes first: it gives way to a class of that name.
        names = {"-1": -1} | {name: i for i, name in enumerate(self.classes)}
        self._index = None if classes is None else names
        self._rows = Rows()
        # What the targets are shows in the end; until then the first contradictions are kept.
        self._not_integer = self._not_fitting = self._not_index = self._not_name = ""

    def add(self, value: Any, where: str) -> None:
        """Append one.

        Raises:
            SourceError: it is empty, or neither text nor an integer.
        """
        is_text = isinstance(value, str)
        if not is_text and (isinstance(value, bool) or not isinstance(value, int)):
            raise SourceError(f"{where}: expected a class name or an integer, found {shown(value)}")
        text = value.strip() if is_text else str(value)
        if not text:
            raise SourceError(f"{where}: empty; expected a class name or an integer")
        self._examine(text, where)
        try:
            self._rows.add(utf8(text))
        except DecodeError as error:
            raise SourceError(f"{where}: {error}") from error

    def _examine(self, text: str, where: str) -> None:
        if self._index is not None and text not in self._index and not self._not_name:
            self._not_name = f"{where}: {shown(text)}"
        if not is_integer(text):
            self._not_integer = self._not_integer or where
            return
        try:
            value = parse_integer(text)
        except DecodeError as error:
            self._not_fitting = self._not_fitting or f"{where}: {error}"
        else:
            if self._index is not None and not -1 <= value < len(self.classes):
                self._not_index = self._not_index or f"{where}: {value}"

    def finish(self) -> Column:
        """The targets, as int.

        Raises:
            SourceError: an integer does not fit into 64 bits, or the given classes lack a target.
        """
        return FixedColumn(Field("int"), self._targets())

    def _targets(self) -> NDArray[np.int64]:
        if self._index is not None:
            return self._in_given_classes(self._index)
        if self._not_integer:
            self.classes = sorted(set(self._rows.table()))
            return self._as_names({name: i for i, name in enumerate(self.classes)})
        targets = self._as_integers()
        if targets.min() >= 0 and targets.max() < _MOST_CLASSES:
            self.classes = [str(i) for i in range(int(targets.max()) + 1)]
        return targets

    def _in_given_classes(self, index: dict[str, int]) -> NDArray[np.int64]:
        if not self._not_name:
            return self._as_names(index)
        if self._not_integer:
            raise SourceError(f"{self._not_name} is not among the {len(self.classes)} classes")
        if self._not_index:
            raise SourceError(f"{self._not_index} is no index into {len(self.classes)} classes")
        return self._as_integers()

    def _as_names(self, index: dict[str, int]) -> NDArray[np.int64]:
        return np.fromiter((index[name] for name in self._rows.table()), np.int64, len(self._rows))

    def _as_integers(self) -> NDArray[np.int64]:
        if self._not_fitting:
            raise SourceError(self._not_fitting)
        return np.fromiter(map(int, self._rows.table()), np.int64, len(self._rows))
