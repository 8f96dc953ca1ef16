"""Image folders as a source: with one directory for each class, or without classes."""

from __future__ import annotations

import os

import numpy as np
from typing_extensions import Self

from ...core import TARGET, Field, hexdigest
from ..base import FileBlob, Findings, Item, Source, stat_files
from .walk import Listing, list_flat, list_folder


class FolderSource(Source):
    """The images of a folder; fields ``image`` and, where there are classes, ``target``."""

    def __init__(self, listing: Listing) -> None:
        self.name = listing.source
        self.root = os.fspath(listing.root)
        self.fields = {"image": Field("image"), TARGET: Field("int")}
        self.classes = listing.classes
        self.findings = listing.findings
        self.keys = listing.keys
        self.targets = listing.targets
        self.sizes, self.stamps = stat_files(os.path.join(self.root, key) for key in self.keys)

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
    root: str | os.PathLike[str], *, flat: bool = False, allow_empty: bool = False
) -> FolderSource:
    """A folder in ``ImageFolder`` layout, or with ``flat`` any folder of images.

    Raises:
        SourceError: see ``fastdata.sources.folder.walk``.
    """
    return FolderSource(list_flat(root) if flat else list_folder(root, allow_empty=allow_empty))
