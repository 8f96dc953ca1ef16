"""Image folders as a source: with one directory for each class, or without classes."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from ...core import TARGET, Field, KeyTable, existing_directory, hexdigest
from ...errors import EmptySourceError, OptionError, SourceError
from ..base import FileBlob, Findings, Item, Source, stat_files
from ..kinds import SourceOption
from .walk import EXTENSIONS, Walk, escaped, is_directory, is_image, is_utf8

OPTIONS = (
    SourceOption("flat", "there are no classes (target -1)", implies=True),
    SourceOption("allow_empty", "accept classes without images"),
)
_EXTENSIONS = f" (extensions: {' '.join(EXTENSIONS)})"


class FolderSource(Source):
    """The images of a folder; fields ``image`` and ``target``, which is −1 without a class.

    Files are asked for their sizes and times when these are first needed: packing needs them, a
    dataset does not.

    Args:
        root: directory that the keys are relative to.
        keys: POSIX names relative to ``root``.
        targets: int64 array; −1 where there is no class.
        classes: class names; a target is an index into them.
        name: see ``Source``.
        findings: what was met besides images.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        keys: KeyTable,
        targets: NDArray[np.int64],
        classes: Sequence[str],
        *,
        name: str,
        findings: Findings | None = None,
    ) -> None:
        self.root, self.name = os.fspath(root), name
        self.fields = {"image": Field("image"), TARGET: Field("int")}
        self.keys, self.targets, self.classes = keys, targets, list(classes)
        self.findings = findings or Findings()

    # mypy takes these for read-only; instances may have them as attributes.
    @cached_property
    def sizes(self) -> NDArray[np.int64]:  # type: ignore[override]
        sizes, self.stamps = self._asked()
        return sizes

    @cached_property
    def stamps(self) -> NDArray[np.int64]:  # type: ignore[override]
        self.sizes, stamps = self._asked()
        return stamps

    def _asked(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return stat_files(os.path.join(self.root, key) for key in self.keys)

    def ask_files(self) -> None:
        """Ask them for sizes and times now, so that a change from now on is seen."""
        self.sizes, self.stamps = self._asked()

    def item(self, index: int) -> Item:
        """Sample ``index``."""
        key = self.keys[index]
        blob = FileBlob(os.path.join(self.root, key))
        return Item(key, {"image": blob, TARGET: int(self.targets[index])})

    def part(self, first: int, stop: int) -> Self:
        """The samples from ``first`` to ``stop`` − 1."""
        part: Self = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part.findings = Findings()
        part.keys = self.keys.part(first, stop)
        part.targets, part.sizes, part.stamps = (
            rows[first:stop].copy() for rows in (self.targets, self.sizes, self.stamps)
        )
        return part

    def digest(self) -> str:
        """See ``Source``."""
        return hexdigest([super().digest(), np.ascontiguousarray(self.targets)])


def list_image_folder(
    root: str | os.PathLike[str],
    *,
    flat: bool = False,
    allow_empty: bool = False,
    stat: bool = True,
) -> FolderSource:
    """A folder in ``ImageFolder`` layout, or with ``flat`` any folder of images.

    Args:
        root: the folder.
        flat: all images below it, without classes; every target is −1.
        allow_empty: accept class directories without an image.
        stat: ask all files for their sizes and times now, so that what changes later is seen.

    Raises:
        OptionError: ``allow_empty`` with ``flat``.
        SourceError: see ``list_folder`` and ``list_flat``.
    """
    if flat and allow_empty:
        raise OptionError("allow_empty is about classes, which a flat folder does not have")
    source = list_flat(root) if flat else list_folder(root, allow_empty=allow_empty)
    if stat:
        source.ask_files()
    return source


def detect_folder(path: str) -> bool:
    """True if ``path`` is a directory of directories, unless it is called an LMDB file."""
    if not os.path.isdir(path) or path.rstrip("/").endswith(".lmdb"):
        return False
    with os.scandir(path) as entries:
        return any(entry.is_dir() for entry in entries)


def list_folder(root: str | os.PathLike[str], *, allow_empty: bool = False) -> FolderSource:
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
        is_class = {entry.name: is_directory(entry) for entry in entries}
    classes = sorted(name for name, directory in is_class.items() if directory)
    if not classes:
        raise EmptySourceError(
            f"{base} has no class directories; for a folder of images without classes use flat "
            "(--flat)"
        )
    for name in classes:
        if not is_utf8(name):
            raise SourceError(f"{base}: the class name {escaped(name)} is not valid UTF-8")
    walk = Walk(base)
    strays = sum(is_image(name) for name, directory in is_class.items() if not directory)
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
            f"{base} has no images below its {len(classes)} class directories{_EXTENSIONS}"
        )
    if empty and not allow_empty:
        raise EmptySourceError(
            f"{base}: no image in {len(empty)} of {len(classes)} classes: {_shortened(empty)}"
            f"{_EXTENSIONS}; remove them, or accept them with allow_empty (--allow-empty)"
        )
    return FolderSource(base, keys, _int64(targets), classes, name="folder", findings=walk.findings)


def list_flat(root: str | os.PathLike[str]) -> FolderSource:
    """List all images below a folder, sorted, without classes (target −1).

    Raises:
        SourceNotFoundError: ``root`` is no directory.
        EmptySourceError: there is no image in it.
    """
    base = existing_directory(root)
    walk = Walk(base)
    keys = KeyTable.from_strings(walk.images(""))
    if not len(keys):
        raise EmptySourceError(f"{base} has no images{_EXTENSIONS}")
    targets = np.full(len(keys), -1, np.int64)
    return FolderSource(base, keys, targets, [], name="flat", findings=walk.findings)


def _int64(values: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(values, np.int64) if len(values) else np.zeros(0, np.int64)


def _shortened(names: Iterable[str]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "")
