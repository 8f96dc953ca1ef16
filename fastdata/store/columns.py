"""Columns: what a pack keeps of each field beside the records, one row a sample.

A number or an array of fixed shape stands in its column itself. Of what lies in the record, the
column has the size, and of an image or a mask its height and width, too. A record is the image,
then the other fields that lie in it, in the manifest's order, without gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import Field, Kind, kind_of
from ..errors import PackFormatError
from .manifest import column_fields
from .table import MEDIA_DTYPE, SIZE_DTYPE


def column_type(field: Field) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Dtype and shape of a row in the column of a field."""
    kind = kind_of(field)
    if kind.media:
        return MEDIA_DTYPE, ()
    return (SIZE_DTYPE, ()) if kind.in_record else kind.row


def column_types(fields: Mapping[str, Field]) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """``column_type`` of each field that has a column."""
    return {name: column_type(fields[name]) for name in column_fields(dict(fields))}


def as_column(field: Field, values: Iterable[Any]) -> NDArray[Any]:
    """Rows of a column from a sequence of them."""
    dtype, shape = column_type(field)
    rows = list(values)
    column = np.zeros((len(rows), *shape), dtype)
    for place, row in enumerate(rows):
        column[place] = row
    return column


def parse_value(kind: Kind, data: bytes | memoryview) -> Any:
    """The value of a field that lies in the record and is no media, from its part of it.

    Raises:
        PackFormatError: the bytes are not such a value.
    """
    try:
        return kind.load(data)
    except (ValueError, RecursionError) as error:
        raise PackFormatError(f"not a value of kind {kind}: {error}") from error


class RecordLayout:
    """The place of each field of a sample in its record.

    Args:
        fields: those of the pack, the image first.
        columns: by field.

    Attributes:
        names: the fields behind the image.
    """

    def __init__(self, fields: Mapping[str, Field], columns: Mapping[str, NDArray[Any]]) -> None:
        names = [name for name in column_fields(dict(fields)) if fields[name].in_record]
        self.names = names
        self._sizes = [_sizes(columns[name]) for name in names]
        self._places = {name: place for place, name in enumerate(names)}

    def span(self, index: int, name: str, total: int) -> tuple[int, int]:
        """First and last byte + 1 of a field in a record of ``total`` bytes.

        The image is what the others leave; sizes that do not suit the record give a start below 0,
        or one behind the end.
        """
        place = self._places.get(name, -1)
        stop = total
        for sizes in reversed(self._sizes[place + 1 :]):
            stop -= sizes.item(index)
        return (0 if place < 0 else stop - self._sizes[place].item(index)), stop


def _sizes(column: NDArray[Any]) -> NDArray[np.uint32]:
    sizes: NDArray[np.uint32] = column["bytes"] if column.dtype == MEDIA_DTYPE else column
    return sizes
