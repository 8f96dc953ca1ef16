"""The kinds of fields. A new one is a class beside these and a line in ``KINDS``.

Reading order: ``base`` (the interface), ``numbers``, ``arrays``, ``strings``, ``media``.
"""

from __future__ import annotations

from .arrays import ArrayKind, BoxesKind
from .base import Kind
from .media import ImageKind, MaskKind
from .numbers import FloatKind, IntKind
from .strings import BytesKind, JsonKind, StrKind

__all__ = ["KINDS", "Kind"]

#: By name, in the order in which they are told to users.
KINDS: dict[str, type[Kind]] = {
    kind.name: kind
    for kind in (
        ImageKind, MaskKind, BoxesKind, IntKind, FloatKind, StrKind, JsonKind, BytesKind, ArrayKind,
    )
}  # fmt: skip
