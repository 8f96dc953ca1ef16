"""Class names of several origins: put together, and targets that follow them by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..core import TARGET


def merged_classes(classes: Iterable[Sequence[str]]) -> list[str]:
    """All names, in the order in which they are first met."""
    return list(dict.fromkeys(name for names in classes for name in names))


class ClassMap:
    """From indices into some class names to indices into others, by name.

    A number that is no index, such as −1, stays as it is, as does that of a name that ``after``
    lacks.
    """

    def __init__(self, before: Sequence[str], after: Sequence[str]) -> None:
        index = {name: i for i, name in enumerate(after)}
        self._numbers = {i: index[name] for i, name in enumerate(before) if name in index}

    def renumbered(self, values: dict[str, Any]) -> dict[str, Any]:
        """A sample's values with the classes in them renumbered; the dict may be the same."""
        target = values.get(TARGET)
        number = self._numbers.get(target, target) if target is not None else None
        return values if number is target else {**values, TARGET: number}
