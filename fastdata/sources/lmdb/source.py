"""LMDB files of encoded images that others have written, in the three layouts that are common.

- BasicSR and mmcv: a directory with ``meta_info.txt``, an image a line;
  https://github.com/XPixelGroup/BasicSR, docs/DatasetPreparation.md.
- Pickled pairs (image bytes, label) under "0", "1", …, with ``__len__``;
  https://github.com/Lyken17/Efficient-PyTorch, tools/folder2lmdb.py. They are not unpickled.
- Plain: each value is an encoded image.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from typing_extensions import Self

from ...core import TARGET, Field, KeyTable
from ...errors import EmptySourceError, SourceError
from ..archives.base import (
    ArchiveSource,
    distinct_keys,
    numbered_classes,
    repeated_key,
    rows,
)
from ..archives.paths import Paths, archive_paths, root_of, stamps_of
from ..base import Findings, Item
from .layouts import DATA, LmdbListing, key_bytes
from .values import LmdbBlob, starts_like_lmdb

_SUFFIXES = (".lmdb", ".mdb")
_LOCKS = ("lock.mdb",)


def detect_lmdb(path: Paths) -> bool:
    """True if ``path`` looks like LMDB files: directories with ``data.mdb``, or by the magic."""
    try:
        found = archive_paths(path, _is_lmdb, "LMDB")
    except SourceError:
        return False
    return all(_is_lmdb(name) or starts_like_lmdb(name) for name in found)


def list_lmdb(path: Paths) -> LmdbSource:
    """List the images of LMDB files; see above for the layouts.

    With ``meta_info.txt`` keys are its names, in its order. Of pickled pairs the label is the
    target; nothing is unpickled, and whatever is not bytes and a number is refused. Of a plain
    file, keys are LMDB's, in LMDB's order, in hex if one of them is not text; values that are no
    images are counted and left out.

    LMDB itself reads the files, and trusts them: a malicious one may crash the process. They must
    not be written to until the source is done with.

    Args:
        path: a file or a directory with ``data.mdb``; a directory or pattern of these, or several.

    Raises:
        SourceNotFoundError: there is no such file.
        EmptySourceError: there is no image.
        SourceError: a file is no LMDB, damaged or cut off, or a value is not what its layout says.
    """
    found = archive_paths(path, _is_lmdb, "LMDB")
    paths = [os.path.join(one, DATA) if os.path.isdir(one) else one for one in found]
    stamps, findings = stamps_of(paths), Findings()
    listing = LmdbListing(paths, findings)
    keys = KeyTable.from_strings(listing.names())
    if not len(keys):
        raise EmptySourceError(f"{paths[0]}: none of the values is an encoded image")
    archives, spans = rows(listing.archives), rows(listing.spans, 2)
    fields, columns, classes = {"image": Field("image")}, {"span": spans}, []
    if listing.labels:
        if len(listing.labels) != len(keys):
            raise SourceError(f"{paths[0]} and others: some have labels, some have none")
        fields[TARGET], columns[TARGET] = Field("int"), rows(listing.labels)
        classes = numbered_classes(columns[TARGET])
    return LmdbSource(
        root=root_of(path, paths),
        paths=paths,
        fields=fields,
        classes=classes,
        findings=findings,
        keys=_checked(distinct_keys(keys, archives, paths), paths),
        sizes=np.ascontiguousarray(spans[:, 1]),
        stamps=stamps[archives],
        archives=archives,
        columns=dict(columns),
        value_keys=listing.value_keys(),
    )


@dataclass(eq=False)
class LmdbSource(ArchiveSource):
    """Samples in LMDB files.

    Columns: ``span``, where the image starts in its value, and its size; ``target``.
    ``value_keys`` has LMDB's key of each sample, as bytes.
    """

    name = "lmdb"
    value_keys: KeyTable = field(default_factory=lambda: KeyTable.from_strings(()))

    def item(self, index: int) -> Item:
        """Sample ``index``; its image is an ``LmdbBlob``."""
        start, size = (int(number) for number in self.columns["span"][index])
        key = key_bytes(self.value_keys, index)
        values: dict[str, Any] = {"image": LmdbBlob(self.path_of(index), key, start, size)}
        if TARGET in self.fields:
            values[TARGET] = int(self.columns[TARGET][index])
        return Item(self.keys[index], values)

    def part(self, first: int, stop: int) -> Self:
        """As ``ArchiveSource.part``."""
        keys = self.value_keys.part(first, stop)
        return replace(super().part(first, stop), value_keys=keys)


def _checked(keys: KeyTable, paths: list[str]) -> KeyTable:
    again = repeated_key(keys)
    if again is not None:
        raise SourceError(f"{paths[0]}: {keys[again]!r} occurs twice; name each image once")
    return keys


def _is_lmdb(path: str) -> bool:
    if os.path.isdir(path):
        return os.path.isfile(os.path.join(path, DATA))
    named = path.lower().endswith(_SUFFIXES) and os.path.basename(path) not in _LOCKS
    return named and starts_like_lmdb(path)
