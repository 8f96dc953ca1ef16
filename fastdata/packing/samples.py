"""One sample of a source as a record, or as one that has to be left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..errors import DecodeError, FastdataError, PackingError, SourceError
from ..sources import Item, Source
from ..store import Record, Rejection
from .options import PackSettings
from .records import encode_sample


class Bad(NamedTuple):
    """A sample that is to be left out; how many bytes were read for it is not known."""

    rejection: Rejection


def item_of(source: Source, index: int) -> Item:
    """A sample; an OSError of its source must not look like one of the disk written to."""
    try:
        return source.item(index)
    except FastdataError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise SourceError(f"{source.keys[index]}: cannot be read: {reason}") from error


def record_of(fetch: Callable[[], Item], settings: PackSettings) -> Record | Bad:
    """Fetch, read and encode one sample, in whichever thread.

    Raises:
        SourceError: it cannot be fetched, or the source is not what it said it was.
        PackingError: it is bad, and that is to stop everything.
    """
    item = fetch()
    try:
        return encode_sample(item, settings.fields, settings.encode)
    except DecodeError as error:
        if settings.fail:
            raise PackingError(f"{item.key}: {error}") from error
        return Bad(Rejection(item.key, str(error)))
