"""TFRecord files of ``tf.train.Example`` messages with one encoded image each.

Framing: https://www.tensorflow.org/tutorials/load_data/tfrecord. Neither TensorFlow nor protobuf
is needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...core import TARGET, Field, KeyTable
from ...errors import EmptySourceError, SourceError
from ..archives.base import ArchiveSource, archive_names, repeated_key, rows
from ..archives.paths import Paths, archive_paths, root_of, stamps_of
from ..base import Item
from .framing import RecordBlob, starts_like_tfrecord
from .listing import TFRecordListing

_NAMED = re.compile(r".*\.tfrecords?(-\d+-of-\d+)?", re.IGNORECASE)
_NUMBERED = re.compile(r".*-\d+-of-\d+")


def detect_tfrecord(path: Paths) -> bool:
    """True if ``path`` looks like TFRecord files: by name, or by a length with the right CRC."""
    try:
        found = archive_paths(path, _is_tfrecord, "TFRecord file")
    except SourceError:
        return False
    return all(_is_tfrecord(name) or starts_like_tfrecord(name) for name in found)


def list_tfrecord(path: Paths) -> TFRecordSource:
    """List the samples of TFRecord files, in the files' order; images are stepped over.

    ``image/encoded`` (or ``image``) is the image and ``image/class/label`` (or ``label``) the
    target, as stored. ``image/class/text`` gives class names, if each label has one text only;
    else ``label.labels.txt`` beside the files does. The key is ``image/filename`` (or
    ``file_name``), or FILE/INDEX where they are missing, repeated or no relative paths. Other
    features are left out, and noted.

    The CRC of each length is checked now, that of the data when the image is read.

    Args:
        path: a file, a directory, a pattern, or several; see ``Paths``.

    Raises:
        SourceNotFoundError: there is no such file.
        EmptySourceError: there is no record.
        SourceError: a file is damaged, cut off or compressed, or a record is no Example with one
            image, and one label if others have one; the message has the byte.
    """
    paths = archive_paths(path, _is_tfrecord, "TFRecord file")
    stamps, listing = stamps_of(paths), TFRecordListing(paths)
    names = KeyTable.from_strings(listing.names())
    if not len(names):
        raise EmptySourceError(f"no records in {', '.join(paths[:3])}")
    archives, spans = rows(listing.archives), rows(listing.spans, 4)
    fields, columns = {"image": Field("image")}, {"record": spans[:, :2], "image": spans[:, 2:]}
    classes: list[str] = []
    targets = listing.targets()
    if targets is not None:
        fields[TARGET], columns[TARGET] = Field("int"), targets
        classes = listing.classes(targets)
    return TFRecordSource(
        root=root_of(path, paths),
        paths=paths,
        fields=fields,
        classes=classes,
        findings=listing.findings(),
        keys=_keys(names, archives, paths),
        sizes=np.ascontiguousarray(spans[:, 3]),
        stamps=stamps[archives],
        archives=archives,
        columns=dict(columns),
    )


class TFRecordSource(ArchiveSource):
    """Samples in TFRecord files. Columns: ``target``; ``record`` and ``image``, offset and size."""

    name = "tfrecord"

    def item(self, index: int) -> Item:
        """Sample ``index``; its image is a ``RecordBlob``."""
        record, size = (int(number) for number in self.columns["record"][index])
        start, length = (int(number) for number in self.columns["image"][index])
        blob = RecordBlob(self.path_of(index), record, size, start, start + length)
        values: dict[str, object] = {"image": blob}
        if TARGET in self.fields:
            values[TARGET] = int(self.columns[TARGET][index])
        return Item(self.keys[index], values)


def _keys(names: KeyTable, archives: NDArray[np.int64], paths: list[str]) -> KeyTable:
    """The names, if each record has one of its own; else the files' names and record numbers."""
    named = bool(np.diff(names.offsets).all())
    if named and repeated_key(names) is None:
        return names
    stems, first = archive_names(paths), np.searchsorted(archives, np.arange(len(paths)))

    def numbered() -> Iterator[str]:
        for index, archive in enumerate(archives):
            yield f"{stems[archive]}/{index - first[archive]}"

    return KeyTable.from_strings(numbered())


def _is_tfrecord(path: str) -> bool:
    name = os.path.basename(path)
    if not os.path.isfile(path):
        return False
    return bool(_NAMED.fullmatch(name)) or (
        bool(_NUMBERED.fullmatch(name)) and starts_like_tfrecord(path)
    )
