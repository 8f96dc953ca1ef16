"""A source that consists of image files and columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from ...core import hexdigest, kind_of
from ..base import Findings, Item, Source, stat_files
from ..kinds import SourceOption
from .column import Column, PackedColumn

#: The option of sources that have the images' paths in a file.
IMAGES = SourceOption("images", "where the paths of images begin", "DIR")


@dataclass(eq=False, kw_only=True)
class ColumnSource(Source):
    """A source whose samples are image files and columns.

    Attributes:
        images: the column of images; their names are the keys.
        columns: the other columns, by field.
        image: the field that the images become.
        The rest: see ``Source``.
    """

    root: str
    images: PackedColumn
    columns: dict[str, Column]
    sizes: NDArray[np.int64]
    stamps: NDArray[np.int64]
    classes: list[str]
    findings: Findings = field(default_factory=Findings)
    image: str = "image"

    @classmethod
    def of(
        cls,
        root: str,
        images: PackedColumn,
        columns: dict[str, Column],
        *,
        classes: Sequence[str] = (),
        findings: Findings | None = None,
        image: str = "image",
    ) -> Self:
        """A source with the sizes and stamps of all the files that its columns name."""
        sizes, stamps = _stat([images, *columns.values()])
        return cls(
            root=root,
            images=images,
            columns=columns,
            sizes=sizes,
            stamps=stamps,
            classes=list(classes),
            findings=findings or Findings(),
            image=image,
        )

    def __post_init__(self) -> None:
        self.keys = self.images.rows
        self.fields = {name: column.field for name, column in self._all().items()}

    def _all(self) -> dict[str, Column]:
        return {self.image: self.images, **self.columns}

    def item(self, index: int) -> Item:
        values = {name: column.get(index) for name, column in self._all().items()}
        return Item(self.keys[index], values)

    def part(self, first: int, stop: int) -> Self:
        return replace(
            self,
            images=self.images.part(first, stop),
            columns={name: column.part(first, stop) for name, column in self.columns.items()},
            sizes=self.sizes[first:stop],
            stamps=self.stamps[first:stop],
            findings=Findings(),
        )

    def digest(self) -> str:
        kinds = [[name, str(kind)] for name, kind in self.fields.items()]
        contents = [piece for column in self.columns.values() for piece in column.content()]
        return hexdigest([json.dumps([self.classes, kinds]), *contents])


def _stat(columns: list[Column]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    packed = [column for column in columns if isinstance(column, PackedColumn)]
    files = [column for column in packed if kind_of(column.field).is_file]
    stats = [stat_files(map(column.path, range(len(column.rows)))) for column in files]
    # A sum of times is no time, but it changes whenever one of the files does.
    total: NDArray[np.int64] = np.array(stats, np.int64).sum(axis=0)
    return total[0], total[1]
