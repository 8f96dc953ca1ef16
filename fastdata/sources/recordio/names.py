"""Names of RecordIO's records: from the ``.lst`` or ``.idx`` file beside them, or their ids."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...core import KeyTable
from ...errors import SourceError
from ..archives.base import relative_key, rows
from ..archives.paths import open_archive

_LST = re.compile(r"([0-9]{1,18})\t(?:[^\t]*\t)*([^\t]+)")  # number, labels, path
_IDX = re.compile(r"([0-9]{1,18})\t([0-9]{1,18})")  # number, offset
_MOST_LINE = 1 << 16


def record_names(path: str, ids: NDArray[np.uint64], offsets: NDArray[np.int64]) -> Iterator[str]:
    """A name for each record of one file.

    The path that ``.lst`` has for its id; else the id; where ids repeat, the number that ``.idx``
    has for its offset; else its place in the file.
    """
    distinct = len(np.unique(ids)) == len(ids)
    if distinct and os.path.exists(listed := _beside(path, ".lst")):
        yield from _listed_names(listed, ids)
    elif distinct:
        yield from (str(number) for number in ids)
    else:
        yield from _indexed_names(_beside(path, ".idx"), offsets)


def _beside(path: str, suffix: str) -> str:
    return os.path.splitext(path)[0] + suffix


def _listed_names(path: str, ids: NDArray[np.uint64]) -> Iterator[str]:
    numbers = array("q")

    def names() -> Iterator[str]:
        for where, match in _lines(path, _LST, "number, labels and path with tabs between"):
            key = relative_key(match[2])
            if key is None:
                raise SourceError(f"{where}: {match[2]!r} is no relative path")
            numbers.append(int(match[1]))
            yield key

    table = KeyTable.from_strings(names())
    order = np.argsort(rows(numbers), kind="stable")
    known = rows(numbers)[order].astype(np.uint64)
    places = np.searchsorted(known, ids)
    for place, number in zip(places, ids, strict=True):
        found = place < len(known) and known[place] == number
        yield table[order[place]] if found else str(number)


def _indexed_names(path: str, offsets: NDArray[np.int64]) -> Iterator[str]:
    pairs = array("q")
    if os.path.exists(path):
        for _, match in _lines(path, _IDX, "number and offset with a tab between"):
            pairs.extend((int(match[2]), int(match[1])))
    number_at = rows(pairs, 2)
    number_at = number_at[np.argsort(number_at[:, 0], kind="stable")]
    places = np.searchsorted(number_at[:, 0], offsets)
    complete = len(number_at) > 0 and bool((places < len(number_at)).all())
    if complete and (number_at[places, 0] == offsets).all():
        yield from (str(number) for number in number_at[places, 1])
    else:
        yield from (str(place) for place in range(len(offsets)))


def _lines(path: str, form: re.Pattern[str], expected: str) -> Iterator[tuple[str, re.Match[str]]]:
    with open_archive(path) as file:
        number = 0
        while line := file.readline(_MOST_LINE):
            number += 1
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            match = form.fullmatch(text)
            if match is None and text:
                raise SourceError(
                    f"{path}, line {number}: expected {expected}, found {text[:80]!r}"
                )
            if match is not None:
                yield f"{path}, line {number}", match
