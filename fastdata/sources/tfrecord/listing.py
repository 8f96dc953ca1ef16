"""One pass over TFRecord files: where images lie, labels, class names and file names."""

from __future__ import annotations

import os
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError
from ..archives.base import numbered_classes, relative_key, rows
from ..archives.paths import open_archive
from ..base import Findings
from .example import Feature, Read, one_bytes, one_int, read_features
from .framing import frames

_IMAGE = ("image/encoded", "image")  # as of TensorFlow's Inception scripts; of TensorFlow Datasets
_LABEL = ("image/class/label", "label")
_TEXT = ("image/class/text",)
_FILENAME = ("image/filename", "file_name")
_KNOWN = {*_IMAGE, *_LABEL, *_TEXT, *_FILENAME}
_MOST_TEXT = 4096
_MOST_READS = 1 << 17  # for one record
_MOST_NOTED = 20
_SHARD = re.compile(r"(.*)-\d{1,9}-of-(\d{1,9})")
_LABELS_FILE = "label.labels.txt"  # of TensorFlow Datasets: one class name a line
_MOST_LABELS_FILE = 16 << 20


class TFRecordListing:
    """The records of several files.

    Attributes, once ``names`` is used up:
        archives: the file of each record, as an index.
        spans: four numbers a record: offset and size of its data, offset and size of its image.
    """

    def __init__(self, paths: list[str]) -> None:
        self.archives = array("q")
        self.spans = array("q")
        self._paths = paths
        self._labels = array("q")
        self._texts: dict[int, str] = {}  # by label; "" where several were found
        self._ignored: Counter[str] = Counter()

    def names(self) -> Iterator[str]:
        """Read all records; the file name that each gives, "" where it gives none for a key."""
        for archive, path in enumerate(self._paths):
            with open_archive(path) as file:
                for offset, size in frames(path, file):
                    self.archives.append(archive)
                    try:
                        yield self._add(_bounded_reader(file), offset, size)
                    except ValueError as error:
                        raise SourceError(
                            f"{path}: the record at byte {offset}: expected a tf.train.Example "
                            f"with one encoded image: {error}"
                        ) from error

    def _add(self, read: Read, offset: int, size: int) -> str:
        features = read_features(read, offset, offset + size)
        image = _first(features, _IMAGE)
        if image is None:
            found = ", ".join(sorted(features)[:_MOST_NOTED]) or "no feature"
            raise ValueError(f"no {' or '.join(_IMAGE)}, but {found}")
        self.spans.extend((offset, size, *one_bytes(read, image)))
        if label := _first(features, _LABEL):
            self._labels.append(one_int(read, label))
            self._add_text(_text(read, _first(features, _TEXT)))
        self._ignored.update(features.keys() - _KNOWN)
        return relative_key(_text(read, _first(features, _FILENAME))) or ""

    def _add_text(self, text: str) -> None:
        if text and self._texts.setdefault(self._labels[-1], text) != text:
            self._texts[self._labels[-1]] = ""

    def targets(self) -> NDArray[np.int64] | None:
        """The labels; None if no record has one, SourceError if only some have."""
        lacking = len(self.archives) - len(self._labels)
        if self._labels and lacking:
            raise SourceError(
                f"{self._paths[0]} and others: {lacking} of {len(self.archives)} records have no "
                f"{' or '.join(_LABEL)}; all need one, or none"
            )
        return rows(self._labels) if self._labels else None

    def classes(self, targets: NDArray[np.int64]) -> list[str]:
        """Names by label: the records' texts, else TensorFlow Datasets' file, else numbers."""
        numbers = numbered_classes(targets)
        if self._texts and all(self._texts.values()):
            return _named(numbers, self._texts)
        return _names_from_file(self._paths[0], len(numbers)) or numbers

    def findings(self) -> Findings:
        """Notes on what the user should know."""
        notes = _shard_notes(self._paths)
        if self._ignored:
            names = sorted(self._ignored)
            more = f" and {len(names) - _MOST_NOTED} more" if len(names) > _MOST_NOTED else ""
            notes.append(f"features left out: {', '.join(names[:_MOST_NOTED])}{more}")
        if self._texts and not all(self._texts.values()):
            notes.append(f"{_TEXT[0]} is left out: it differs between records of one label")
        return Findings(notes=notes)


def _first(features: dict[str, Feature], names: tuple[str, ...]) -> Feature | None:
    return next((features[name] for name in names if name in features), None)


def _text(read: Read, feature: Feature | None) -> str:
    if feature is None or feature.start == feature.stop:  # an empty list
        return ""
    start, size = one_bytes(read, feature)
    if size > _MOST_TEXT:
        raise ValueError(f"a name of {size} bytes at byte {start}; at most {_MOST_TEXT} are read")
    return read(start, size).decode("utf-8")


def _bounded_reader(file: BinaryIO) -> Read:
    """Reads of a file, as many as one honest record may need."""
    left = _MOST_READS

    def read(at: int, size: int) -> bytes:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError("too many parts")
        file.seek(at)
        return file.read(size)

    return read


def _named(numbers: list[str], texts: dict[int, str]) -> list[str]:
    """The texts; where two labels share one (ImageNet has two cranes), with the label behind."""
    count = Counter(texts.values())
    names = []
    for label, number in enumerate(numbers):
        text = texts.get(label, number)
        names.append(text if count[text] < 2 else f"{text} ({number})")
    return names


def _names_from_file(path: str, count: int) -> list[str]:
    """The lines of ``label.labels.txt``, if they suffice for all labels; else none."""
    try:
        with open_archive(os.path.join(os.path.dirname(path), _LABELS_FILE)) as file:
            text = file.read(_MOST_LABELS_FILE).decode("utf-8")
    except (OSError, ValueError):  # not there, or not text
        return []
    names = text.splitlines()
    return names if 0 < count <= len(names) else []


def _shard_notes(paths: list[str]) -> list[str]:
    """Notes on ``NAME-00000-of-00010``: files that are missing, and several sets in one."""
    matches = (_SHARD.fullmatch(path) for path in paths)
    found = Counter((match[1], int(match[2])) for match in matches if match)
    notes = [
        f"{prefix}: {count} of {total} files" for (prefix, total), count in found.items()
        if count != total
    ]  # fmt: skip
    if len(found) > 1:
        sets = ", ".join(sorted(os.path.basename(prefix) for prefix, _ in found))
        notes.append(f"several sets of files were put together: {sets}")
    return notes
