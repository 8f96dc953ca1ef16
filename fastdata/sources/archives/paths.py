"""Files that a path, a directory, a pattern or a list of them means."""

from __future__ import annotations

import glob
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from ...errors import EmptySourceError, SourceError, SourceNotFoundError

#: A file, a directory of files, a pattern such as train-*.tar or train-{000..012}.tar, or several.
Paths: TypeAlias = Union[str, "os.PathLike[str]", Sequence[Union[str, "os.PathLike[str]"]]]

_MOST_FILES = 1 << 20
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")


def archive_paths(path: Paths, is_archive: Callable[[str], bool], what: str) -> list[str]:
    """The archives that ``path`` means; those of a directory or of a ``*`` are sorted.

    Args:
        path: see ``Paths``.
        is_archive: whether a path found in a directory is one; a file that is named always is.
        what: what messages call an archive.

    Raises:
        SourceNotFoundError: a path does not exist, or nothing matches a pattern.
        EmptySourceError: a directory or the list has no archives.
        SourceError: an archive is named twice, or a pattern stands for too many.
    """
    given = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    found = [name for one in given for name in _archives_of(os.fspath(one), is_archive, what)]
    if not found:
        raise EmptySourceError(f"expected at least one {what}, got an empty list")
    seen: set[str] = set()
    for name in found:
        if name in seen:
            raise SourceError(f"{name}: named twice; name each {what} once")
        seen.add(name)
    return found


def _archives_of(path: str, is_archive: Callable[[str], bool], what: str) -> list[str]:
    if is_archive(path) or os.path.isfile(path):
        return [path]
    if os.path.isdir(path):
        found = sorted(entry for entry in _entries(path) if is_archive(entry))
        if not found:
            raise EmptySourceError(f"{path} has no {what} in it")
        return found
    if os.path.lexists(path):
        raise SourceError(f"{path}: expected a {what}, found something that is not a regular file")
    expanded = expand_braces(path)
    found = [name for one in expanded for name in _matches(one)]
    if not found:
        raise SourceNotFoundError(f"no {what} at {path}")
    if found == [path]:  # there is nothing to expand, and it does not exist
        raise SourceNotFoundError(f"{what} {path} does not exist")
    return [name for one in found for name in _archives_of(one, is_archive, what)]


def _entries(directory: str) -> Iterator[str]:
    try:
        with os.scandir(directory) as entries:
            yield from (entry.path for entry in entries)
    except OSError as error:
        raise SourceError(f"cannot list {directory}: {error.strerror}") from error


def _matches(pattern: str) -> list[str]:
    wild = glob.has_magic(pattern) and not os.path.lexists(pattern)
    return sorted(glob.glob(pattern)) if wild else [pattern]


def expand_braces(pattern: str) -> list[str]:
    """``a{1,2}`` as a1, a2 and ``{08..10}`` as 08, 09, 10, as a shell does; no braces: itself."""
    pieces = _BRACES.split(pattern)  # text and the inside of braces take turns
    choices = [_alternatives(piece) if i % 2 else [piece] for i, piece in enumerate(pieces)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MOST_FILES:
        raise SourceError(f"{pattern} stands for {count} files, more than {_MOST_FILES}")
    return ["".join(parts) for parts in itertools.product(*choices)]


def _alternatives(inside: str) -> Sequence[str]:
    match = _RANGE.fullmatch(inside)
    if match is None:
        return inside.split(",") if "," in inside else [f"{{{inside}}}"]
    first, last = int(match[1]), int(match[2])
    width = len(match[1]) if match[1].startswith("0") else 0
    if abs(last - first) >= _MOST_FILES:
        raise SourceError(f"{{{inside}}} stands for more than {_MOST_FILES} files")
    step = 1 if first <= last else -1
    return [f"{number:0{width}d}" for number in range(first, last + step, step)]


def root_of(path: Paths, paths: list[str]) -> str:
    """The path that a source was opened with; of several, the directory that all lie in."""
    if isinstance(path, (str, os.PathLike)):
        return os.fspath(path)
    return common_directory(paths)


def common_directory(paths: list[str]) -> str:
    """The deepest directory that all paths lie in, absolute."""
    return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])


def open_archive(path: str) -> BinaryIO:
    """A regular file, opened for reading; SourceError if it is none (a pipe could hang)."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise SourceError(f"{path}: not a regular file")
        return open(path, "rb")
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error


def stamps_of(paths: list[str]) -> NDArray[np.int64]:
    """The archives' modification times in ns; ask before reading them."""
    try:
        return np.array([os.stat(path).st_mtime_ns for path in paths], np.int64)
    except OSError as error:
        raise SourceError(f"{error.filename}: cannot be read: {error.strerror}") from error
