"""Roles of a table's columns: the image's path, the target, or a field of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core import TARGET, Field, parse_fields
from ...errors import OptionError, SourceError

#: Columns that may hold the image's path, and the target, in order of preference.
IMAGE_COLUMNS = ("path", "file_name", "filename", "image", "file")
TARGET_COLUMNS = (TARGET, "label", "class")

#: The kinds of columns that are declared; None for one that is left out.
Declared = Mapping[str, Field | None]

_IMAGE = Field("image")


def parse_declared(fields: Mapping[str, str | Field | None]) -> dict[str, Field | None]:
    """The kinds that the columns of a table are declared to have; OptionError for no kind."""
    kinds = {name: Field.parse(k) if isinstance(k, str) else k for name, k in fields.items()}
    target = kinds.get(TARGET)
    if target is not None and target.kind != "int":
        raise OptionError(f"column {TARGET!r} must be of kind int, got {target}")
    return kinds


def check_declared(declared: Declared, columns: Sequence[str], where: str) -> None:
    """OptionError if a column that is declared is not there."""
    unknown = [name for name in declared if name not in columns]
    if unknown:
        raise OptionError(
            f"fields has the column {unknown[0]!r}; {where} has {', '.join(columns) or 'none'}"
        )


def image_column(asked: str | None, columns: Sequence[str], declared: Declared, where: str) -> str:
    """The column that holds the images' paths.

    Raises:
        OptionError: the column that is asked for is not there, or declared as something else.
        SourceError: there is none.
    """
    if asked is not None:
        if asked not in columns:
            raise OptionError(f"no column {asked!r} for the image; {where} has {_listed(columns)}")
        if declared.get(asked, _IMAGE) != _IMAGE:
            raise OptionError(f"column {asked!r} cannot be both the image and another field")
        return asked
    for name in IMAGE_COLUMNS:
        if name in columns and declared.get(name, _IMAGE) == _IMAGE:
            return name
    hint = "; cells are separated by commas" if len(columns) == 1 else ""
    raise SourceError(
        f"{where}: expected a column {', '.join(IMAGE_COLUMNS[:-1])} or {IMAGE_COLUMNS[-1]}, or "
        f"the name of another one in image, found {_listed(columns)}{hint}"
    )


def target_column(columns: Sequence[str], declared: Declared) -> str | None:
    """The column that holds the targets, if there is one."""
    found = (name for name in TARGET_COLUMNS if name in columns)
    return next((name for name in found if may_be_target(name, declared)), None)


def may_be_target(name: str, declared: Declared) -> bool:
    """True if a column holds targets, unless one with a better name does."""
    if name == TARGET:
        return declared.get(name, _IMAGE) is not None
    return name in TARGET_COLUMNS and name not in declared


def check_field_name(name: str, where: str, image: str = "image") -> None:
    """SourceError unless a column can be a field besides ``image`` and the target."""
    advice = f"rename it, or leave it out with fields={{{name!r}: None}}"
    if name in (image, TARGET):
        raise SourceError(f"{where}: another column is the {name} already; {advice}")
    try:
        parse_fields({image: "image", name: "str"})
    except OptionError as error:
        raise SourceError(f"{where}: {error}; {advice}") from error


def _listed(columns: Sequence[str]) -> str:
    return f"the columns {', '.join(columns)}" if columns else "an empty file"
