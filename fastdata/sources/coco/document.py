"""A COCO-style JSON file, read and checked as a whole."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core import fits_64_bits, load_json, read_file, shown, utf8
from ...errors import DecodeError, EmptySourceError, SourceError

#: Beyond it a coordinate is infinite as float32.
_MOST = 3e38


class CocoDocument:
    """The contents of a file in COCO's format.

    Attributes:
        images: (id, file name), by id.
        categories: (id, name), by id.

    Raises:
        SourceError: the file is not what it has to be; the message has the id of what is wrong.
        EmptySourceError: it has no images.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        document = self._parsed()
        lists = {key: self._list(document, key) for key in ("images", "annotations", "categories")}
        self.images = self._named(lists["images"], "image", "file_name")
        self.categories = self._named(lists["categories"], "category", "name")
        if not self.images:
            raise EmptySourceError(f"{path} has no images")
        self._refuse_repeated_files()
        self._annotations = lists["annotations"]
        self._image_of = array("q")
        self._labels = array("q")
        self._boxes = array("d")
        self._check_annotations()

    def by_image(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64], list[Any]]]:
        """Of each image its boxes (N×4), the indices of their categories (N), and the rest."""
        image_of = np.array(self._image_of, np.int64)
        labels = np.array(self._labels, np.int64)
        boxes = np.array(self._boxes, np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        order = np.argsort(image_of, kind="stable")
        bounds = np.searchsorted(image_of[order], np.arange(len(self.images) + 1))
        for first, stop in pairwise(bounds):
            own = order[first:stop]
            rest = [_rest(self._annotations[i]) for i in own]
            yield boxes[own].astype(np.float32), labels[own], rest

    def _parsed(self) -> dict[str, Any]:
        try:
            document = load_json(read_file(self.path).decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise SourceError(f"{self.path}: not a UTF-8 file: {error}") from error
        except DecodeError as error:
            raise SourceError(f"{self.path}: {error}") from error
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        if not isinstance(document, dict):
            raise SourceError(f"{self.path}: expected an object, found {shown(document)}")
        return document

    def _list(self, document: dict[str, Any], key: str) -> list[Any]:
        value = document.get(key)
        if isinstance(value, list):
            return value
        found = shown(value) if key in document else "missing"
        raise SourceError(
            f"{self.path}: expected the lists images, annotations and categories of a data set for "
            f"detection; {key} is {found}"
        )

    def _named(self, entries: list[Any], what: str, name: str) -> list[tuple[int, str]]:
        """(id, name) of images or categories, by id."""
        found: dict[int, str] = {}
        for position, entry in enumerate(entries):
            where = f"{self.path}: {_called(what, entry, position)}"
            number = _integer(entry, "id", where)
            if number in found:
                raise SourceError(f"{where}: there are two of this id")
            found[number] = _text(entry, name, where)
        return sorted(found.items())

    def _refuse_repeated_files(self) -> None:
        numbers: dict[str, int] = {}
        for number, name in self.images:
            first = numbers.setdefault(name, number)
            if first != number:
                raise SourceError(
                    f"{self.path}: images {first} and {number} are the same file {shown(name)}"
                )

    def _check_annotations(self) -> None:
        images = {number: i for i, (number, _) in enumerate(self.images)}
        categories = {number: i for i, (number, _) in enumerate(self.categories)}
        for position, entry in enumerate(self._annotations):
            where = f"{self.path}: {_called('annotation', entry, position)}"
            self._image_of.append(_known(images, entry, "image_id", where))
            self._labels.append(_known(categories, entry, "category_id", where))
            self._boxes.extend(_box(entry.get("bbox"), where))


def _rest(annotation: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in annotation.items() if key not in ("bbox", "image_id")}


def _called(what: str, entry: Any, position: int) -> str:
    if isinstance(entry, dict) and "id" in entry:
        return f"{what} {shown(entry['id'])}"
    return f"{what} without id, number {position + 1} of the list"


def _integer(entry: Any, key: str, where: str) -> int:
    value = entry.get(key) if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, int) or not fits_64_bits(value):
        raise SourceError(f"{where}: {key} must be an integer, found {shown(value)}")
    return value


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise SourceError(f"{where}: {key} must be text, found {shown(value)}")
    try:
        utf8(value)
    except DecodeError as error:
        raise SourceError(f"{where}: {error}") from error
    return value


def _known(indices: dict[int, int], entry: Any, key: str, where: str) -> int:
    value = _integer(entry, key, where)
    if value not in indices:
        raise SourceError(f"{where}: its {key} {value} is not in the file")
    return indices[value]


def _box(value: Any, where: str) -> list[float]:
    if isinstance(value, list) and len(value) == 4 and all(map(_is_coordinate, value)):
        if value[2] < 0 or value[3] < 0:
            raise SourceError(f"{where}: bbox has a negative width or height")
        return [float(number) for number in value]
    raise SourceError(f"{where}: bbox must be four finite numbers, x, y, width and height")


def _is_coordinate(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _MOST / 2  # so that x + width is finite, too; NaN is not
