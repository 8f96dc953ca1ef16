"""Image folders and label files: which samples there are, in which order, with which targets."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core import KeyTable, existing_directory
from ...errors import EmptySourceError, SourceError
from ..base import Findings

#: torchvision's list, and avif.
EXTENSIONS = (
    ".avif", ".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
_KNOWN = f" (extensions: {' '.join(EXTENSIONS)})"


@dataclass(frozen=True)
class Listing:
    """The samples of a source, in order, without a Python object for each.

    Attributes:
        root: directory that the keys are relative to.
        source: "folder", "flat" or "labels".
        keys: POSIX names relative to ``root``.
        targets: int64 array; −1 where there is no class.
        classes: class names; a target is an index into them.
        findings: what was met besides images.
    """

    root: Path
    source: str
    keys: KeyTable
    targets: NDArray[np.int64]
    classes: list[str]
    findings: Findings = field(default_factory=Findings)

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Sample]:
        for key, target in zip(self.keys, self.targets, strict=True):
            yield Sample(key, int(target))


def list_folder(root: str | os.PathLike[str], *, allow_empty: bool = False) -> Listing:
    """List a folder in torchvision's ``ImageFolder`` layout, in torchvision's order.

    Classes are the sorted first-level directories; below them any depth counts. Symbolic links are
    followed, except where a directory would contain itself.

    Args:
        root: the folder.
        allow_empty: accept classes without any image.

    Raises:
        SourceNotFoundError: ``root`` is no directory.
        EmptySourceError: there is no class directory, no image, or a class without one.
    """
    base = existing_directory(root)
    with os.scandir(base) as entries:
        is_class = {entry.name: _is_directory(entry) for entry in entries}
    classes = sorted(name for name, is_directory in is_class.items() if is_directory)
    if not classes:
        raise EmptySourceError(
            f"{base} has no class directories; for a folder of images without classes use flat "
            "(--flat)"
        )
    for name in classes:
        if not _is_utf8(name):
            raise SourceError(f"{base}: the class name {_escaped(name)} is not valid UTF-8")
    walk = _Walk(base)
    strays = sum(_is_image(name) for name, is_directory in is_class.items() if not is_directory)
    if strays:
        walk.findings.notes.append(f"images left out, lying in {base} without a class: {strays}")
    targets = array("q")
    counts = [0] * len(classes)

    def names() -> Iterator[str]:
        for target, name in enumerate(classes):
            for key in walk.images(name):
                targets.append(target)
                counts[target] += 1
                yield key

    keys = KeyTable.from_strings(names())
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if not len(keys):
        raise EmptySourceError(
            f"{base} has no images below its {len(classes)} class directories{_KNOWN}"
        )
    if empty and not allow_empty:
        raise EmptySourceError(
            f"{base}: no image in {len(empty)} of {len(classes)} classes: {_shortened(empty)}"
            f"{_KNOWN}; remove them, or accept them with allow_empty (--allow-empty)"
        )
    return Listing(base, "folder", keys, _int64(targets), classes, walk.findings)


def list_flat(root: str | os.PathLike[str]) -> Listing:
    """List all images below a folder, sorted, without classes (target −1).

    Raises:
        SourceNotFoundError: ``root`` is no directory.
        EmptySourceError: there is no image in it.
    """
    base = existing_directory(root)
    walk = _Walk(base)
    keys = KeyTable.from_strings(walk.images(""))
    if not len(keys):
        raise EmptySourceError(f"{base} has no images{_KNOWN}")
    targets = np.full(len(keys), -1, np.int64)
    return Listing(base, "flat", keys, targets, [], walk.findings)


class _Walk:
    """Finds images below a directory, collecting what the user should hear about on the way."""

    def __init__(self, base: Path) -> None:
        self._base = os.fspath(base)
        self.findings = Findings()

    def images(self, start: str) -> Iterator[str]:
        """Keys of all images below ``start`` in torchvision's order: by directory, then name."""
        try:
            directories = sorted(self._directories(start))
        except OSError as error:
            raise SourceError(f"cannot list {error.filename}: {error.strerror}") from error
        for directory, files in directories:
            yield from (f"{directory}/{name}" if directory else name for name in files)

    def _directories(self, start: str) -> Iterator[tuple[str, list[str]]]:
        pending = [(start, (_identity(self._base),) if start else ())]
        while pending:
            relative, parents = pending.pop()
            path = os.path.join(self._base, relative)
            identity = _identity(path)
            if identity in parents:
                self.findings.notes.append(
                    f"{relative}: a link back to a directory above it, not followed"
                )
                continue
            files: list[str] = []
            below: list[str] = []
            rejected, notes = self.findings.rejected, self.findings.notes
            told = len(rejected), len(notes)
            with os.scandir(path) as entries:
                for entry in entries:  # sorting names takes less memory than sorting entries
                    self._sort_in(entry, relative, files, below)
            files.sort()
            below.sort()
            rejected[told[0] :] = sorted(rejected[told[0] :])
            notes[told[1] :] = sorted(notes[told[1] :])
            yield relative, files
            pending += [(_joined(relative, name), (*parents, identity)) for name in below[::-1]]

    def _sort_in(
        self, entry: os.DirEntry[str], relative: str, files: list[str], below: list[str]
    ) -> None:
        where = _joined(relative, entry.name)
        is_directory, is_image = _is_directory(entry), _is_image(entry.name)
        if not _is_utf8(entry.name) and (is_directory or is_image):
            self.findings.rejected.append((_escaped(where), "the name is not valid UTF-8"))
        elif is_directory:
            below.append(entry.name)
            if is_image:
                self.findings.notes.append(
                    f"{where}: a directory, though named like an image; the images in it are used"
                )
        elif is_image:
            files.append(entry.name)
        else:
            suffix = os.path.splitext(entry.name)[1].lower()
            self.findings.ignored[_escaped(suffix) or "(none)"] += 1


def _joined(relative: str, name: str) -> str:
    return f"{relative}/{name}" if relative else name


def _identity(path: str) -> tuple[int, int]:
    return (status := os.stat(path)).st_dev, status.st_ino


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)  # as torchvision: ".jpg" alone is an image, too


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; reading it will fail, with its name
        return False


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _escaped(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _int64(values: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(values, np.int64) if len(values) else np.zeros(0, np.int64)


def _shortened(names: Iterable[str]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "")


class Sample(NamedTuple):
    """One image of a folder: its source-relative POSIX name and its integer target (−1: none)."""

    key: str
    target: int
