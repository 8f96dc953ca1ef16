"""MXNet's RecordIO files of images: ``.rec``, with ``.lst`` and ``.idx`` beside it if there are."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from ...core import TARGET, Field, KeyTable, hexdigest
from ...errors import EmptySourceError, SourceError
from ..archives.base import (
    ArchiveSource,
    distinct_keys,
    numbered_classes,
    relative_key,
    repeated_key,
    rows,
)
from ..archives.paths import Paths, archive_paths, open_archive, root_of, stamps_of
from ..base import Blob, Findings, Item, SpanBlob
from .framing import (
    IRHeader,
    PartsBlob,
    RecordFrames,
    read_header,
    records,
    starts_like_recordio,
)

_LST = re.compile(r"([0-9]{1,18})\t(?:[^\t]*\t)*([^\t]+)")  # number, labels, path
_IDX = re.compile(r"([0-9]{1,18})\t([0-9]{1,18})")  # number, offset
_MOST_LINE = 1 << 16
_MOST_EXACT = 1 << 24  # labels are float32, which holds integers up to this one


def detect_recordio(path: Paths) -> bool:
    """True if ``path`` looks like RecordIO files: by name, or by the magic number."""
    try:
        found = archive_paths(path, _is_rec, "RecordIO file")
    except SourceError:
        return False
    return all(_is_rec(name) or starts_like_recordio(name) for name in found)


def list_recordio(path: Paths) -> RecordIOSource:
    """List the samples of RecordIO files, in the files' order; images are stepped over.

    If each record has one label and all are integers, they are the ``target``; else there is a
    float32 array ``label``, of varying length if lengths differ. The key is the path that the
    ``.lst`` file has for the record's id, or the id; see ``record_names``.

    Face recognition packs (insightface) have records without an image: a header, and a range of
    records for each identity. They are left out, and an image's first label is its target.

    Args:
        path: a ``.rec`` file, a directory, a pattern, or several; see ``Paths``.

    Raises:
        SourceNotFoundError: there is no such file.
        EmptySourceError: there is no record with an image.
        SourceError: a file is damaged or cut off, or a record has no image header; the message
            has the byte.
    """
    paths = archive_paths(path, _is_rec, "RecordIO file")
    stamps, listing = stamps_of(paths), _RecordIOListing(paths)
    keys = KeyTable.from_strings(listing.names())
    if not len(keys):
        raise EmptySourceError(f"no records with an image in {', '.join(paths[:3])}")
    archives, places = rows(listing.archives), rows(listing.places, 5)
    fields, columns, labels = listing.labels()
    targets = columns.get(TARGET)
    return RecordIOSource(
        root=root_of(path, paths),
        paths=paths,
        fields=fields,
        classes=[] if targets is None else numbered_classes(targets),
        findings=listing.findings,
        keys=_checked(distinct_keys(keys, archives, paths)),
        sizes=np.ascontiguousarray(places[:, 4]),
        stamps=stamps[archives],
        archives=archives,
        columns={"place": places[:, :4], **columns},
        labels=labels,
    )


@dataclass(eq=False)
class RecordIOSource(ArchiveSource):
    """Samples in RecordIO files.

    Columns: ``place``, the record's offset, the bytes to its end, those before the image, and the
    number of parts; ``target``, or ``label``: first and stop in ``labels``.
    """

    name = "recordio"
    labels: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def item(self, index: int) -> Item:
        """Sample ``index``; its image is a ``SpanBlob``, or a ``PartsBlob`` if it has parts."""
        values: dict[str, Any] = {"image": self._blob(index)}
        if TARGET in self.columns:
            values[TARGET] = int(self.columns[TARGET][index])
        if "label" in self.columns:
            first, stop = self.columns["label"][index]
            values["label"] = self.labels[first:stop].copy()
        return Item(self.keys[index], values)

    def _blob(self, index: int) -> Blob:
        offset, size, skip, parts = (int(number) for number in self.columns["place"][index])
        if parts > 1:
            return PartsBlob(self.path_of(index), offset, size, skip)
        return SpanBlob(self.path_of(index), offset + 8 + skip, size - 8 - skip)

    def part(self, first: int, stop: int) -> Self:
        """As ``ArchiveSource.part``, with the part's labels alone."""
        part = super().part(first, stop)
        ranges = part.columns.get("label")
        if ranges is None or not len(ranges):
            return part
        low, high = int(ranges[0, 0]), int(ranges[-1, 1])
        part.columns["label"] = ranges - low
        return replace(part, labels=self.labels[low:high])

    def digest(self) -> str:
        """As ``ArchiveSource.digest``, with the labels."""
        return hexdigest([super().digest(), self.labels])


class _RecordIOListing:
    """One pass over all records, collecting where their images lie, and labels."""

    def __init__(self, paths: list[str]) -> None:
        self.archives, self.places = array("q"), array("q")
        self.findings = Findings()
        self._paths = paths
        self._labels, self._counts = array("f"), array("q")
        self._faces = False

    def names(self) -> Iterator[str]:
        for archive, path in enumerate(self._paths):
            ids, offsets = array("Q"), array("q")
            without_image = 0
            with open_archive(path) as file:
                for record in records(path, file):
                    try:
                        header = read_header(file, record)
                    except ValueError as error:
                        raise SourceError(
                            f"{path}: the record at byte {record.offset}: {error}"
                        ) from error
                    if header.size == record.size:
                        without_image += 1
                        self._faces = self._faces or len(header.labels) == 2
                        continue
                    self._add(archive, record, header)
                    ids.append(header.id)
                    offsets.append(record.offset)
            if without_image:
                self.findings.notes.append(f"{path}: records without an image: {without_image}")
            yield from record_names(path, np.array(ids, np.uint64), rows(offsets))

    def _add(self, archive: int, record: RecordFrames, header: IRHeader) -> None:
        self.archives.append(archive)
        self.places.extend((record.offset, record.stop - record.offset, header.size))
        self.places.extend((len(record.parts), record.size - header.size))
        self._labels.frombytes(header.labels.tobytes())
        self._counts.append(len(header.labels))

    def labels(self) -> tuple[dict[str, Field], dict[str, NDArray[Any]], NDArray[np.float32]]:
        """Fields, columns and the array of labels, empty if there are targets instead."""
        labels = np.array(self._labels, np.float32)
        counts = rows(self._counts)
        stops = np.cumsum(counts)
        ranges = np.stack([stops - counts, stops], axis=1)
        image = Field("image")
        first = labels[ranges[:, 0]]
        single = self._faces or bool((counts == 1).all())
        if single and (np.abs(first) <= _MOST_EXACT).all() and (first == np.rint(first)).all():
            none = np.zeros(0, np.float32)
            return {"image": image, TARGET: Field("int")}, {TARGET: first.astype(np.int64)}, none
        length = int(counts[0]) if (counts == counts[0]).all() else None
        kind = Field("array", "float32", (length,))
        return {"image": image, "label": kind}, {"label": ranges}, labels


def record_names(path: str, ids: NDArray[np.uint64], offsets: NDArray[np.int64]) -> Iterator[str]:
    """A name for each record of one file.

    The path that ``.lst`` has for its id; else the id; where ids repeat, the number that ``.idx``
    has for its offset; else its place in the file.
    """
    distinct = len(np.unique(ids)) == len(ids)
    if distinct and os.path.exists(listed := _beside(path, ".lst")):
        yield from _listed_names(listed, ids)
    elif distinct:
        yield from (str(number) for number in ids)
    else:
        yield from _indexed_names(_beside(path, ".idx"), offsets)


def _beside(path: str, suffix: str) -> str:
    return os.path.splitext(path)[0] + suffix


def _listed_names(path: str, ids: NDArray[np.uint64]) -> Iterator[str]:
    numbers = array("q")

    def names() -> Iterator[str]:
        for where, match in _lines(path, _LST, "number, labels and path with tabs between"):
            key = relative_key(match[2])
            if key is None:
                raise SourceError(f"{where}: {match[2]!r} is no relative path")
            numbers.append(int(match[1]))
            yield key

    table = KeyTable.from_strings(names())
    order = np.argsort(rows(numbers), kind="stable")
    known = rows(numbers)[order].astype(np.uint64)
    places = np.searchsorted(known, ids)
    for place, number in zip(places, ids, strict=True):
        found = place < len(known) and known[place] == number
        yield table[order[place]] if found else str(number)


def _indexed_names(path: str, offsets: NDArray[np.int64]) -> Iterator[str]:
    pairs = array("q")
    if os.path.exists(path):
        for _, match in _lines(path, _IDX, "number and offset with a tab between"):
            pairs.extend((int(match[2]), int(match[1])))
    number_at = rows(pairs, 2)
    number_at = number_at[np.argsort(number_at[:, 0], kind="stable")]
    places = np.searchsorted(number_at[:, 0], offsets)
    complete = len(number_at) > 0 and bool((places < len(number_at)).all())
    if complete and (number_at[places, 0] == offsets).all():
        yield from (str(number) for number in number_at[places, 1])
    else:
        yield from (str(place) for place in range(len(offsets)))


def _lines(path: str, form: re.Pattern[str], expected: str) -> Iterator[tuple[str, re.Match[str]]]:
    with open_archive(path) as file:
        number = 0
        while line := file.readline(_MOST_LINE):
            number += 1
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            match = form.fullmatch(text)
            if match is None and text:
                raise SourceError(
                    f"{path}, line {number}: expected {expected}, found {text[:80]!r}"
                )
            if match is not None:
                yield f"{path}, line {number}", match


def _checked(keys: KeyTable) -> KeyTable:
    again = repeated_key(keys)
    if again is not None:
        raise SourceError(f"the .lst file names {keys[again]!r} twice; name each record once")
    return keys


def _is_rec(path: str) -> bool:
    return path.lower().endswith(".rec") and os.path.isfile(path)
