"""Layouts of other people's LMDB files: which keys are samples, where images lie in values."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...core import KeyTable
from ...errors import SourceError
from ...images import sniff
from ..archives.base import relative_key, rows
from ..archives.paths import open_archive
from ..base import Findings
from .pickled import Span, read_pickle
from .values import reading

DATA, META = "data.mdb", "meta_info.txt"
_META_LINE = re.compile(r"(.+?) \([0-9]+, ?[0-9]+(?:, ?[0-9]+)?\)(?: [0-9]+)?")
_MOST_LINE = 1 << 16
_LENGTH, _KEYS = b"__len__", b"__keys__"
_SOME = 65  # characters of a key in messages


class LmdbListing:
    """The samples of several LMDB files.

    Attributes, once ``names`` is used up:
        archives: the file of each sample, as an index.
        spans: two numbers a sample: where the image starts in the value, and its size.
        labels: of the samples that have one.
    """

    def __init__(self, paths: list[str], findings: Findings) -> None:
        self.archives, self.spans, self.labels = array("q"), array("q"), array("q")
        self._paths, self._findings = paths, findings
        self._keys, self._ends = bytearray(), array("q", [0])

    def value_keys(self) -> KeyTable:
        """LMDB's keys of the samples: bytes, which need not be UTF-8; see ``key_bytes``."""
        return KeyTable(rows(self._ends), np.frombuffer(bytes(self._keys), np.uint8))

    def names(self) -> Iterator[str]:
        """Go through all files; the samples' names."""
        for archive, path in enumerate(self._paths):
            try:
                with reading(path) as transaction:
                    for name in self._names(path, transaction):
                        self.archives.append(archive)
                        yield name
            except OSError as error:
                raise SourceError(str(error)) from error

    def _names(self, path: str, transaction: Any) -> Iterator[str]:
        meta = os.path.join(os.path.dirname(path), META)
        if os.path.basename(path) == DATA and os.path.exists(meta):
            return self._basicsr(path, meta, transaction)
        if transaction.get(_LENGTH) is not None:
            return self._pickled(path, transaction)
        return self._plain(path, transaction)

    def _add(self, key: bytes, start: int, size: int) -> None:
        self._keys += key
        self._ends.append(len(self._keys))
        self.spans.extend((start, size))

    def _basicsr(self, path: str, meta: str, transaction: Any) -> Iterator[str]:
        for where, name in _meta_lines(meta):
            key = os.path.splitext(name)[0].encode("utf-8")
            value = transaction.get(key)
            if value is None:
                raise SourceError(f"{where}: {path} has no key {key!r}")
            self._add(key, 0, len(value))
            yield name

    def _pickled(self, path: str, transaction: Any) -> Iterator[str]:
        count = _unpickled(path, _LENGTH, transaction)
        if not isinstance(count, int):
            raise SourceError(f"{path}: {_LENGTH!r}: expected a pickled number")
        left = transaction.stat()["entries"] - count - 1 - (transaction.get(_KEYS) is not None)
        if left > 0:
            self._findings.notes.append(f"{path}: entries beyond {_LENGTH!r} left out: {left}")
        for index in range(count):
            name = str(index)
            pair = _unpickled(path, name.encode(), transaction)
            if not (isinstance(pair, (tuple, list)) and [*map(type, pair)] == [Span, int]):
                raise SourceError(f"{path}: key {name!r}: expected a pair (image bytes, label)")
            self._add(name.encode(), *pair[0])
            self.labels.append(pair[1])
            yield name

    def _plain(self, path: str, transaction: Any) -> Iterator[str]:
        with transaction.cursor() as cursor:
            name_of = _text if all(_is_text(bytes(key)) for key in _keys_of(cursor)) else bytes.hex
            for view in _keys_of(cursor):
                key, value = bytes(view), cursor.value()
                if sniff(value) is None:
                    self._findings.ignored["(no image)"] += 1
                else:
                    self._add(key, 0, len(value))
                    yield name_of(key)


def key_bytes(keys: KeyTable, index: int) -> bytes:
    """LMDB's key of a sample."""
    return bytes(keys.blob[keys.offsets[index] : keys.offsets[index + 1]])


def _keys_of(cursor: Any) -> Iterator[memoryview]:
    """All keys from the first on; where one has several values, it counts once."""
    found = cursor.first()
    while found:
        yield cursor.key()
        found = cursor.next_nodup()


def _text(key: bytes) -> str:
    return key.decode("utf-8")


def _is_text(key: bytes) -> bool:
    try:
        text = key.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return text.isprintable() and relative_key(text) == text


def _meta_lines(path: str) -> Iterator[tuple[str, str]]:
    """Place of each line, and the name in it: ``name.png (height,width,channels) level``."""
    with open_archive(path) as file:
        number = 0
        while line := file.readline(_MOST_LINE):
            number += 1
            text = line.decode("utf-8", "replace").rstrip()
            match = _META_LINE.fullmatch(text)
            name = relative_key(match[1]) if match else None
            if name is not None:
                yield f"{path}, line {number}", name
            elif text:
                raise SourceError(
                    f"{path}, line {number}: expected NAME (height,width,channels) LEVEL, found "
                    f"{text[:_SOME]!r}"
                )


def _unpickled(path: str, key: bytes, transaction: Any) -> Any:
    value = transaction.get(key)
    if value is None:
        raise SourceError(f"{path}: no key {key!r}, although {_LENGTH!r} counts it")
    if not len(value) or value[0] != 0x80:
        raise SourceError(
            f"{path}: key {key!r}: not a pickle; older versions of folder2lmdb.py wrote pyarrow's "
            "serialization, which is not read: write the LMDB anew with the current version"
        )
    try:
        return read_pickle(value)
    except ValueError as error:
        raise SourceError(f"{path}: key {key!r}: {error}") from error
