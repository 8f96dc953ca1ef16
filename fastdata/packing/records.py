"""From a sample with named fields to the record and the columns that a pack stores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..core import MOST_RECORD_BYTES, TARGET, Field, Kind, crc32, kind_of, read_file
from ..errors import DecodeError, SourceError
from ..images import GEOMETRY, MEDIA, EncodeSettings, Sizes, StoredImage, StoredMedia
from ..sources import Item, Stored
from ..store import Record

_INTEGER = kind_of(Field("int"))

_Part = tuple[bytes, Any]  # what goes into the record, and the column's row


def encode_sample(item: Item, fields: Mapping[str, Field], settings: EncodeSettings) -> Record:
    """Read, check and encode one sample.

    Args:
        item: has a value for each field; a missing target is −1.
        fields: the image first.
        settings: how images are stored. If they are shrunk, masks and boxes follow.

    Raises:
        DecodeError: a value cannot be read, or is not what its field says: this sample is to be
            left out. The message names the field, unless there is only an image.
        SourceError: the sample has no such field, which is no damage but a mistake.
    """
    _check_key(item.key)
    first, *others = (name for name in fields if name != TARGET)
    fetched = {}
    for name, field in fields.items():
        with _naming(name if others or name != first else ""):
            fetched[name] = fetch(name, field, item)
    with _naming(first if others else ""):
        image, before = MEDIA[fields[first].kind].encode(fetched[first], settings, None)
    sizes = Sizes(before, (image.height, image.width))
    parts, columns = [image.data], {}
    for name in others:
        with _naming(name):
            kind = kind_of(fields[name])
            part, columns[name] = _encoded(kind, fetched[name], settings, sizes)
        parts.append(part)
    data = _fitting(parts[0] if len(parts) == 1 else b"".join(parts))
    with _naming(TARGET):
        target = _INTEGER.check(fetched.get(TARGET, -1))
    read = sum(map(_bytes_read, fetched.values()))
    return Record(item.key, target, image, data, crc32(data), columns, read)


def _check_key(key: str) -> None:
    try:
        key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DecodeError(f"its name is not valid Unicode: {error}") from error


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Say with what goes wrong in which field it was, if that is not ""."""
    where = f"field {field!r}: " if field else ""
    try:
        yield
    except OSError as error:
        told = None if isinstance(error, FileNotFoundError) else error.strerror
        raise DecodeError(f"{where}cannot be read: {told or error}") from error
    except DecodeError as error:
        raise DecodeError(f"{where}{error}") from error


def fetch(name: str, field: Field, item: Item) -> Any:
    """The value of an item's field, with all bytes read; raises as ``encode_sample``."""
    if name not in item.values:
        found = ", ".join(map(repr, item.values)) or "none"
        raise SourceError(f"{item.key}: expected a field {name!r} ({field}), found {found}")
    value, kind = item.values[name], kind_of(field)
    if isinstance(value, Stored):
        return value.value()
    if not kind.is_file:
        return value
    if hasattr(value, "read"):  # a ``Blob``; asking isinstance of a protocol takes 8 µs
        return value.read()
    if isinstance(value, (str, os.PathLike)) and kind.media:
        return read_file(value)
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else value


def _bytes_read(value: Any) -> int:
    """Number of bytes read for a value of ``fetch``."""
    if isinstance(value, (StoredMedia, StoredImage)):
        value = value[0]
        return len(value) if isinstance(value, bytes) else int(value.nbytes)
    return len(value) if isinstance(value, bytes) else 0


def _encoded(kind: Kind, value: Any, settings: EncodeSettings, sizes: Sizes) -> _Part:
    """The stored form of a field behind the first image."""
    if kind.media:
        media, _ = MEDIA[kind.name].encode(value, settings, sizes)
        size = (len(media.data), media.height, media.width)
        return media.data, (*size, media.slice_index, media.orientation, 0, 0)
    checked = kind.check(value)
    if kind.moves and sizes.after != sizes.before:
        checked = GEOMETRY[kind.name].resize(checked, *sizes)
    if not kind.in_record:
        return b"", checked
    data = _fitting(kind.dump(checked))
    return data, len(data)


def _fitting(data: bytes) -> bytes:
    if len(data) > MOST_RECORD_BYTES:
        most = f"a record can hold ({MOST_RECORD_BYTES})"
        raise DecodeError(f"{len(data)} bytes are more than {most}")
    return data
