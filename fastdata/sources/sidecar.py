"""Kinds of a table's columns, in a file beside it, so that none has to be found out; and
the class names of archives.

``labels.fields.json`` belongs to ``labels.csv``, and so on; ``fastdata unpack`` writes it. It is a
JSON object::

    {
     "image": {"column": "path", "field": "image"},
     "fields": {"mask": "mask", "box": "float32[4]"},
     "classes": ["cat", "dog"]
    }

``fields`` has the kinds of columns, as ``fastdata.core.fields`` writes them. Each of the three may
be missing. For tar archives, whose ``cls`` members are numbers, ``shards.fields.json`` in their
directory has ``classes`` alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SourceError

#: What tar archives share a file under.
ARCHIVES = "shards.tar"

_MOST_BYTES = 64 << 20
_IMAGE = "image"


@dataclass(frozen=True)
class Sidecar:
    """Facts that a table's own columns do not tell.

    Attributes:
        column: the column with the images' paths; "" if it is to be found out.
        image: the field that they become.
        fields: kinds of columns.
        classes: class names; empty if they are to be found out.
    """

    column: str = ""
    image: str = _IMAGE
    fields: dict[str, str] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, table: Path) -> Sidecar:
        """That of a table; an empty one if there is no such file.

        Raises:
            SourceError: it is not what is described above.
        """
        path = sidecar_path(table)
        try:
            with path.open("rb") as file:
                values = json.loads(file.read(_MOST_BYTES))
            return cls._parsed(values)
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
        except (ValueError, TypeError, RecursionError) as error:
            raise SourceError(f"{path}: does not describe columns and classes: {error}") from error

    @classmethod
    def _parsed(cls, values: Any) -> Sidecar:
        if not isinstance(values, dict) or not values.keys() <= {"image", "fields", "classes"}:
            raise ValueError("expected an object with image, fields and classes")
        image, fields = values.get("image", {}), values.get("fields", {})
        classes = values.get("classes", [])
        if not isinstance(image, dict) or not isinstance(fields, dict):
            raise ValueError("image and fields are objects")
        if not isinstance(classes, list):
            raise ValueError("classes is a list")
        texts = [*image.values(), *fields.values(), *classes]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("expected text, found something else")
        for text in texts:
            text.encode("utf-8")
        if len(set(classes)) != len(classes):
            raise ValueError("the names in classes must be different")
        return cls(image.get("column", ""), image.get("field", _IMAGE), fields, classes)

    def to_json(self) -> str:
        """The file's content."""
        image = {"column": self.column, "field": self.image} if self.column else {}
        given = {"image": image, "fields": self.fields, "classes": self.classes}
        values = {name: value for name, value in given.items() if value}
        return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


def sidecar_path(table: Path) -> Path:
    """The file beside a table."""
    return table.with_suffix(".fields.json")
