"""Numbers out of a file's bytes, which may end too early, and how its damage is told."""

from __future__ import annotations

import struct
from typing import Any, NoReturn

from ...errors import DecodeError


def fail(what: str, at: int, expected: str, found: object) -> NoReturn:
    """Raise a DecodeError that names the place in the file."""
    raise DecodeError(f"{what}: expected {expected} at byte {at}, found {found}")


def unpack(what: str, layout: str, data: bytes | memoryview, at: int) -> tuple[Any, ...]:
    """``struct.unpack_from``, with a DecodeError where the data end."""
    size = struct.calcsize(layout)
    if at + size > len(data):
        fail(what, at, f"{size} bytes", f"the end at byte {len(data)}")
    return struct.unpack_from(layout, data, at)
