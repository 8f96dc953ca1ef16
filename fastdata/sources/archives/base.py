"""Base of sources made of archive files: samples as rows of arrays, and their keys."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from ...core import Field, KeyTable, hexdigest
from ..base import Findings, Source
from .paths import common_directory

_MOST_CLASSES = 1 << 20  # as for label files: a stray huge label must not fill the memory


@dataclass(eq=False, kw_only=True)
class ArchiveSource(Source):
    """Samples that lie in archive files; each array has one row a sample.

    Attributes:
        paths: the archives.
        archives: int64 array, each sample's archive, as an index into ``paths``; never falls.
        columns: further arrays, such as targets, offsets and sizes, by name.
    """

    walks = False

    root: str
    paths: list[str]
    fields: dict[str, Field]
    classes: list[str]
    findings: Findings
    keys: KeyTable
    sizes: NDArray[np.int64]
    stamps: NDArray[np.int64]
    archives: NDArray[np.int64]
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)

    def part(self, first: int, stop: int) -> Self:
        """The samples ``first`` to ``stop`` − 1, with the archives that they lie in."""
        archives = self.archives[first:stop]
        low, high = (int(archives[0]), int(archives[-1]) + 1) if len(archives) else (0, 0)
        return replace(
            self,
            paths=self.paths[low:high],
            findings=Findings(),
            keys=self.keys.part(first, stop),
            sizes=self.sizes[first:stop],
            stamps=self.stamps[first:stop],
            archives=archives - low,
            columns={name: column[first:stop] for name, column in self.columns.items()},
        )

    def path_of(self, index: int) -> str:
        """The archive that sample ``index`` lies in."""
        return self.paths[int(self.archives[index])]

    def digest(self) -> str:
        """As ``Source.digest``; the columns are a part of it."""
        columns = [piece for name in sorted(self.columns) for piece in (name, self.columns[name])]
        return hexdigest([super().digest(), *self.fields, *columns])


def rows(values: array[int], width: int = 1) -> NDArray[np.int64]:
    """An ``array("q")`` as int64[N], or int64[N, width]."""
    flat = np.frombuffer(values, np.int64) if len(values) else np.zeros(0, np.int64)
    return flat if width == 1 else flat.reshape(-1, width)


def numbered_classes(targets: NDArray[np.int64]) -> list[str]:
    """Class names for targets that come without: "0", "1", … as for label files."""
    counted = len(targets) and targets.min() >= 0 and targets.max() < _MOST_CLASSES
    return [str(i) for i in range(int(targets.max()) + 1)] if counted else []


def relative_key(name: str) -> str | None:
    """``name`` as a sample's key, without ``./``; None if it is no path inside of a directory."""
    path = PurePosixPath(name)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return None
    outside = path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name
    return None if outside else path.as_posix()


def repeated_key(keys: KeyTable, archives: NDArray[np.int64] | None = None) -> int | None:
    """The index of a key that occurs before, in the same archive if archives are given."""
    of_key = (hash(key) for key in keys)
    hashes = np.fromiter(of_key, np.int64, len(keys))
    groups = np.zeros(len(keys), np.int64) if archives is None else archives
    order = np.lexsort((hashes, groups))
    same = (np.diff(hashes[order]) == 0) & (np.diff(groups[order]) == 0)
    for place in np.flatnonzero(same):
        first, second = order[place], order[place + 1]
        if keys[first] == keys[second]:
            return int(max(first, second))
    return None


def distinct_keys(keys: KeyTable, archives: NDArray[np.int64], paths: list[str]) -> KeyTable:
    """The keys, behind their archives' names if several archives have the same ones."""
    if len(paths) == 1 or repeated_key(keys) is None:
        return keys
    names = archive_names(paths)
    pairs = zip(archives, keys, strict=True)
    return KeyTable.from_strings(f"{names[archive]}/{key}" for archive, key in pairs)


def archive_names(paths: list[str]) -> list[str]:
    """The archives' names as parts of keys: relative to the directory that all lie in."""
    base = common_directory(paths)
    names = [os.path.relpath(os.path.abspath(path), base).replace(os.sep, "/") for path in paths]
    stems = [os.path.splitext(name)[0] for name in names]
    return stems if len(set(stems)) == len(stems) else names
