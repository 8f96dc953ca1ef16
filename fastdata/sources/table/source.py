"""Tables: a CSV or JSON Lines file with one row for each image, its target and anything else."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core import Field, existing_directory
from ...errors import EmptySourceError, OptionError
from ..columns.source import IMAGES, ColumnSource
from ..kinds import SourceOption
from ..sidecar import Sidecar
from .lines import open_table_file
from .reader import RowReader, parse_declared

_SUFFIXES = (".csv", ".jsonl", ".ndjson", ".json")


def parse_kinds(text: str) -> dict[str, str | None]:
    """``NAME=KIND,…`` as kinds by name, None for an empty one; OptionError if it is not that."""
    found: dict[str, str | None] = {}
    for part in re.split(r",(?![^\[]*\])", text):  # not those between an array's lengths
        name, equals, kind = part.partition("=")
        if not name or not equals:
            raise OptionError(f"expected NAME=KIND, got {part!r}")
        found[name] = kind or None
    return found


OPTIONS = (
    SourceOption(
        "labels",
        "rows path,target,… for the images in SRC, which needs no classes then",
        "FILE",
        implies=True,
    ),
    IMAGES,
    SourceOption(
        "fields",
        "kinds of columns; an empty one leaves the column out",
        "NAME=KIND,…",
        parse_kinds,
    ),
)


class TableSource(ColumnSource):
    """The samples of a table, in the order of its rows. A path may stand in several rows."""

    name = "table"
    walks = False


def list_table(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    *,
    image: str | None = None,
    fields: Mapping[str, str | Field | None] | None = None,
    classes: Sequence[str] | None = None,
) -> TableSource:
    """List the images that a table names, with its other columns as fields.

    The table is UTF-8 (a byte order mark is skipped): JSON Lines, one object a line, if its name
    ends in .jsonl, .ndjson or .json; else CSV with commas and a header. Images need not exist
    to be listed. Every column becomes a field of its name, except that:

    - the paths become the field "image" and the samples' keys;
    - the column ``target``, else ``label``, else ``class`` becomes the field "target". If all its
      values are integers they are stored as they are, and classes are "0", "1", … up to the
      largest (none if one is negative or above a million); otherwise all are class names, sorted.

    The kind of a column that is not declared shows in all of its values. In CSV: integers, without
    leading zeros, are int; numbers are float; else str. In JSON: the same, strings are str, and
    all else, such as lists, true, null or a mixture, is json. A file beside the table, as
    ``fastdata unpack`` writes it, may tell all this instead (see ``fastdata.sources.sidecar``);
    what is given here goes before it.

    Args:
        path: the table.
        root: directory that paths are relative to; default: the table's own.
        image: column with the images' paths; default: the first there is of path, file_name,
            filename, image and file.
        fields: kinds of columns by name. Masks, further images and bytes are paths of files like
            the image's; boxes and arrays are JSON lists. None leaves a column out. A column
            ``label`` or ``class`` that is declared is not the target.
        classes: the class names in their order, where the table's own are not all or not in this
            order. Targets are then names in it, or else indices into it; −1 is no class.

    Raises:
        SourceNotFoundError: the table or ``root`` does not exist.
        EmptySourceError: the table has no rows.
        SourceError: it is wrong; the message has the line and the column.
        OptionError: ``image`` or ``fields`` name a column that is not there, or no kind; class
            names are repeated.
    """
    file = Path(path)
    known = Sidecar.of(file)
    image, classes = image or known.column or None, classes or known.classes or None
    if classes is not None and len(set(classes)) != len(classes):
        raise OptionError("the names in classes must be different")
    with open_table_file(file) as table:
        base = os.fspath(existing_directory(file.parent if root is None else root))
        declared = parse_declared({**known.fields, **(fields or {})})
        reader = RowReader(table, base, image, declared, classes=classes, field=known.image)
        for line, row in table:
            reader.add(line, row)
        if not len(reader):
            raise EmptySourceError(f"{file} has no rows below its header")
        images, columns, names = reader.finish()
    return TableSource.of(
        base, images, columns, classes=names, findings=reader.findings, image=known.image
    )


def open_table(
    path: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    fields: Mapping[str, str | Field | None] | None = None,
) -> TableSource:
    """A table by its own path, or by that of its images.

    Args:
        path: the table; with ``labels`` the directory of the images.
        labels: the table.
        images, fields: ``root`` and ``fields`` of ``list_table``.

    Raises:
        OptionError: ``images`` with ``labels``.
        FastdataError: as ``list_table``.
    """
    if labels is None:
        return list_table(path, images, fields=fields)
    if images is not None:
        raise OptionError("with labels (--labels) the source is the images' directory: not images")
    return list_table(labels, existing_directory(path), fields=fields)


def detect_table(path: str) -> bool:
    """True if ``path`` is called like a table, and is no directory."""
    return Path(path).suffix.lower() in _SUFFIXES and not os.path.isdir(path)
