"""Samples of sources in a form that can be compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdata.sources import Blob, Item, Samples
from fastdata.sources.packs import Stored


def plain(value: Any) -> Any:
    """A value that ``==`` compares: what a blob reads, and what an array consists of."""
    if isinstance(value, Blob):
        return value.read()
    if isinstance(value, Stored):
        return value.value()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tolist()
    return value


def size_of(value: Any) -> int:
    """Bytes that are read for a value, if they are not read for its item already."""
    if isinstance(value, Stored):
        return len(value.pack.read_field(value.index, value.name))
    return len(value.read()) if isinstance(value, Blob) else 0


def content(item: Item) -> tuple[str, dict[str, Any]]:
    """An item that ``==`` compares."""
    return item.key, {name: plain(value) for name, value in item.values.items()}


def contents(samples: Samples) -> list[tuple[str, dict[str, Any]]]:
    """All items in order."""
    return [content(task()) for task in samples.tasks()]
