"""A sample encoded, ready to be stored."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..images import StoredMedia


class Record(NamedTuple):
    """An encoded sample, ready to be stored.

    Attributes:
        key: its name.
        target: its class, or −1.
        image: the first image field.
        data: the whole record: the image, then the other fields that lie in it.
        crc32: of ``data``.
        columns: by field, the row for its column; see ``fastdata.store.columns``.
        bytes_in: how many bytes were read for it.
    """

    key: str
    target: int
    image: StoredMedia
    data: bytes
    crc32: int
    columns: dict[str, Any]
    bytes_in: int = 0
