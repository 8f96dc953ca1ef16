"""CRC-32 (ISO 3309, as in zlib and PNG), by the fastest library that is there."""

from __future__ import annotations

from collections.abc import Callable

crc32: Callable[..., int]

try:
    from isal.isal_zlib import crc32  # uses the processor's carry-less multiplication
except ImportError:  # no wheel for this platform: the same numbers, in four times the time
    from zlib import crc32

__all__ = ["crc32"]
