"""Detection data sets in COCO's format: one JSON file with images, annotations and categories.

The format is described at https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core import Field, dump_json, shown
from ...errors import DecodeError, SourceError
from ..columns.column import Column, PackedBuilder, PackedColumn, build_column
from ..columns.source import IMAGES, ColumnSource
from .document import CocoDocument
from .layout import annotation_file, detect_coco, image_root

__all__ = ["OPTIONS", "CocoSource", "detect_coco", "list_coco"]

OPTIONS = (IMAGES,)

_KINDS = {
    "boxes": Field("boxes"),
    "labels": Field.parse("int64[?]"),
    "annotations": Field("json"),
    "image_id": Field("int"),
}


@dataclass(eq=False)
class CocoSource(ColumnSource):
    """The images of a COCO-style file, by image id.

    Attributes:
        category_ids: of each class, its id in the file.
        The rest: see ``Source``.
    """

    name = "coco"
    walks = False
    category_ids: list[int] = field(default_factory=list)


def list_coco(
    annotations: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> CocoSource:
    """List the images of a COCO-style file with their boxes, by image id.

    Classes are the categories' names, by category id. Images without annotations are kept. The
    fields, of which the rows are the image's annotations in the file's order, are:

    - ``image``, whose name in the file is the key;
    - ``boxes``: N×4 float32, left, top, right, bottom, made from COCO's x, y, width, height;
    - ``labels``: int64[N], indices into the classes;
    - ``annotations``: JSON, a list of N objects with all else that an annotation has: id,
      category_id, area, iscrowd, segmentation, keypoints, …
    - ``image_id``: int.

    Args:
        annotations: the JSON file, or a folder with one annotations/instances_*.json. It is read
            into memory as a whole.
        images: directory of the images; default: it is looked for beside the file.

    Raises:
        SourceNotFoundError: the file or the images' directory is not there.
        EmptySourceError: the file has no images.
        SourceError: the file is damaged or has no boxes, or an annotation is wrong; its id is
            named.
    """
    document = CocoDocument(annotation_file(Path(annotations)))
    root = os.fspath(image_root(images, document.path, document.images[0][1]))
    names, columns = _columns(document, root)
    source = CocoSource.of(root, names, columns, classes=[name for _, name in document.categories])
    source.category_ids = [number for number, _ in document.categories]
    return source


def _columns(document: CocoDocument, root: str) -> tuple[PackedColumn, dict[str, Column]]:
    names = PackedBuilder(Field("image"), root)
    columns = {name: build_column(kind) for name, kind in _KINDS.items()}
    for (number, name), rows in zip(document.images, document.by_image(), strict=True):
        try:
            names.add(name)
            for column, value in zip(columns.values(), (*rows, number), strict=True):
                column.add(value)
        except SourceError as error:
            which = _not_json(rows[-1])
            raise SourceError(f"{document.path}: image {number}{which}: {error}") from error
    return names.finish(), {name: column.finish() for name, column in columns.items()}


def _not_json(annotations: list[Any]) -> str:
    """Which annotation cannot be written as JSON."""
    for annotation in annotations:
        try:
            dump_json(annotation)
        except DecodeError:
            return f", annotation {shown(annotation.get('id'))}"
    return ""
