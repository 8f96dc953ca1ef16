"""Label files: a CSV that says which images there are and what their targets are.

Also ``list_source``, which chooses between a label file and the two kinds of image folder.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from .errors import EmptySourceError, OptionError, SourceError, SourceNotFoundError
from .folder import Listing, existing_directory, list_flat, list_folder
from .sample import KeyTable

_INTEGER = re.compile(r"[+-]?[0-9]+")  # int() would also take the class name "1_2" for 12
_MOST_CLASSES = 1 << 20


def list_source(
    root: str | os.PathLike[str],
    *,
    flat: bool = False,
    labels: str | os.PathLike[str] | None = None,
    allow_empty: bool = False,
) -> Listing:
    """List by class directories, or as one flat folder, or by a label file.

    Raises:
        OptionError: more than one of them is asked for.
        SourceError: see ``list_folder``, ``list_flat`` and ``list_labels``.
    """
    if flat and labels is not None:
        raise OptionError("flat and labels exclude each other")
    if allow_empty and (flat or labels is not None):
        raise OptionError("allow_empty is about class directories: not with flat or labels")
    if labels is not None:
        return list_labels(root, labels)
    return list_flat(root) if flat else list_folder(root, allow_empty=allow_empty)


def list_labels(root: str | os.PathLike[str], labels: str | os.PathLike[str]) -> Listing:
    """List the images that a CSV file names, in the file's order.

    Args:
        root: directory that the column ``path`` is relative to.
        labels: UTF-8 CSV with a header and the columns ``path`` and ``target``. If every target is
            an integer they are stored as they are, and classes are "0", "1", … up to the largest
            (none if one is negative or above a million); otherwise all are class names, sorted.

    Raises:
        SourceNotFoundError: ``root`` or ``labels`` does not exist.
        EmptySourceError: the file has no rows.
        SourceError: a row is wrong; the message has its line.
    """
    base = existing_directory(root)
    paths, names = _read_labels(Path(labels))
    targets, classes = _as_integers(names, labels) or _as_classes(names)
    return Listing(base, "labels", KeyTable.from_strings(paths), targets, classes)


def _as_integers(
    names: list[str], where: str | os.PathLike[str]
) -> tuple[NDArray[np.int64], list[str]] | None:
    if not all(_INTEGER.fullmatch(name) for name in names):
        return None
    try:
        targets = np.array([int(name) for name in names], np.int64)
    except (OverflowError, ValueError) as error:
        raise SourceError(f"{where}: an integer target does not fit into 64 bits") from error
    # Class names are made up to the largest target, so a stray huge one must not fill the memory.
    counted = targets.min() >= 0 and targets.max() < _MOST_CLASSES
    return targets, [str(i) for i in range(int(targets.max()) + 1)] if counted else []


def _as_classes(names: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    classes = sorted(set(names))
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[name] for name in names], np.int64), classes


def _read_labels(path: Path) -> tuple[list[str], list[str]]:
    paths, targets = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for where, row in _rows(path, file):
                key, target = row["path"], (row["target"] or "").strip()
                if not key or not target:
                    raise SourceError(f"{where}: path or target is empty")
                paths.append(_checked_key(key, where))
                targets.append(target)
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"no label file at {path}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not a UTF-8 file: {error}") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not paths:
        raise EmptySourceError(f"{path} has no rows below its header")
    return paths, targets


def _rows(path: Path, file: TextIO) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Each row, and where it is for error messages."""
    rows = csv.DictReader(file, strict=True)
    try:
        columns = list(rows.fieldnames or ())
        if not {"path", "target"} <= set(columns):
            found = f"the columns {', '.join(columns)}" if columns else "an empty file"
            raise SourceError(
                f"{path}: expected a header with the columns path and target, found {found}"
            )
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if None in row:  # a comma in a name, most likely
                raise SourceError(f"{where}: more fields than columns; quote a name with a comma")
            yield where, row
    except csv.Error as error:
        raise SourceError(f"{path}, line {rows.reader.line_num}: not CSV: {error}") from error


def _checked_key(key: str, where: str) -> str:
    path = PurePosixPath(key)
    outside = path.is_absolute() or ".." in path.parts or bool(Path(key).drive)
    if outside or not path.parts or "\0" in key:
        raise SourceError(f"{where}: {key!r} is not a path inside of the image folder")
    return path.as_posix()
