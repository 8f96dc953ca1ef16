"""CRC-32 (ISO 3309, as in zlib and PNG), by the fastest library that is there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import _BLOCK, open_regular

crc32: Callable[..., int]

try:
    from isal.isal_zlib import crc32  # uses the processor's carry-less multiplication
except ImportError:  # no wheel for this platform: the same numbers, in four times the time
    from zlib import crc32

__all__ = ["crc32"]


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with os.fdopen(open_regular(path), "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hexdigest(parts: Iterable[str | bytes | NDArray[Any]]) -> str:
    """SHA-256 of several pieces, in hex; how they are cut makes a difference."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        view = np.ascontiguousarray(data).data if isinstance(data, np.ndarray) else memoryview(data)
        digest.update(view.nbytes.to_bytes(8, "little"))
        digest.update(view.cast("B") if view.nbytes else b"")
    return digest.hexdigest()
