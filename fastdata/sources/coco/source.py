"""Detection data sets in COCO's format: one JSON file with images, annotations and categories.

The format is described at https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core import Field, dump_json, existing_directory, shown
from ...errors import DecodeError, SourceError, SourceNotFoundError
from ..columns.column import Column, PackedBuilder, PackedColumn, build_column
from ..columns.source import IMAGES, ColumnSource
from .document import CocoDocument

OPTIONS = (IMAGES,)

_KINDS = {
    "boxes": Field("boxes"),
    "labels": Field.parse("int64[?]"),
    "annotations": Field("json"),
    "image_id": Field("int"),
}

_PREFIX_BYTES = 1 << 16
# A string counts without its closing quote, too: the matches then never overlap, and the time is
# linear whatever the text.
_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"?|[\[\]{}]', re.DOTALL)
_LIST = re.compile(rb"\s*:\s*\[")


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
    """The annotation that cannot be written as JSON, for a message."""
    for annotation in annotations:
        try:
            dump_json(annotation)
        except DecodeError:
            return f", annotation {shown(annotation.get('id'))}"
    return ""


def detect_coco(path: str | os.PathLike[str]) -> bool:
    """True if a path is a COCO-style JSON file, or a folder with one where COCO has it.

    A file is read up to 64 KiB: its name ends in .json, and in the outermost object "images" or
    "annotations" is a list. A folder has annotations/instances_*.json, or _annotations.coco.json
    as Roboflow writes it.
    """
    path = Path(path)
    return _is_coco_json(path) if path.is_file() else bool(_annotation_files(path))


def _is_coco_json(path: Path) -> bool:
    if path.suffix.lower() != ".json":
        return False
    try:
        with path.open("rb") as file:
            prefix = file.read(_PREFIX_BYTES)
    except OSError:
        return False
    return bool(lists_in(prefix) & {b"images", b"annotations"})


def lists_in(prefix: bytes) -> set[bytes]:
    """The keys of lists in the outermost object of a JSON text that begins like this."""
    if not prefix.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return set()
    depth, found = 0, set()
    for token in _TOKEN.finditer(prefix):
        if token[0] in (b"{", b"["):
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and _LIST.match(prefix, token.end()):
            found.add(token[1])
    return found


def annotation_file(path: Path) -> Path:
    """The file itself, or the only one of a folder.

    Raises:
        SourceNotFoundError: there is no such file or folder, or none in it.
        SourceError: the folder has several.
    """
    if path.is_file():
        return path
    if not path.exists():
        raise SourceNotFoundError(f"no annotations at {path}")
    found = _annotation_files(path)
    if not found:
        raise SourceNotFoundError(f"{path} has no annotations/instances_*.json")
    if len(found) > 1:
        names = ", ".join(str(file) for file in found)
        raise SourceError(f"{path} has several annotation files; give one of {names}")
    return found[0]


def _annotation_files(folder: Path) -> list[Path]:
    single = folder / "_annotations.coco.json"
    return sorted(folder.glob("annotations/instances_*.json")) or [single] * single.is_file()


def image_root(given: str | os.PathLike[str] | None, annotations: Path, name: str) -> Path:
    """The directory that file names are relative to.

    It is looked for where COCO and others have it, and has to hold the file ``name``: of
    annotations/instances_train2017.json in train2017, images/train2017, images and "." beside
    the directory annotations, and of each also inside of it.

    Raises:
        SourceNotFoundError: the given directory does not exist, or none was found.
    """
    if given is not None:
        return existing_directory(given)
    split = annotations.stem.removeprefix("instances_")
    places = (split, f"images/{split}", "images", ".")
    parents = (annotations.parent.parent, annotations.parent)
    tried = [parent / place for parent in parents for place in places]
    for directory in tried:
        if os.path.isfile(directory / name):  # False, not an error, whatever the name
            return directory
    raise SourceNotFoundError(
        f"{annotations}: its first image {name} is in none of {', '.join(map(str, tried))}; give "
        "the directory of the images"
    )
