"""CRC-32C (Castagnoli; RFC 3720, B.4), and the masked form that TFRecord files hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # bits reversed
_ALL = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8
_SHORT = 64  # bytes, for which a kernel is not worth its call


def _make_tables() -> NDArray[np.uint32]:
    """Row 0: the CRC of each byte. Row k: the same with k zero bytes behind it."""
    tables = np.zeros((8, 256), np.uint32)
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = (crc >> np.uint32(1)) ^ (np.uint32(_POLYNOMIAL) * (crc & np.uint32(1)))
    tables[0] = crc
    for row in range(1, 8):
        crc = (crc >> np.uint32(8)) ^ tables[0][crc & np.uint32(0xFF)]
        tables[row] = crc
    return tables


_TABLES = _make_tables()
_BYTE_TABLE: list[int] = _TABLES[0].tolist()


def crc32c(data: bytes) -> int:
    """CRC-32C; 0xE3069283 for b"123456789"."""
    if len(data) > _SHORT:
        try:
            from ._crc32c_kernel import update
        except ImportError:  # no numba for this interpreter: right, but slow
            pass
        else:
            return int(update(np.frombuffer(data, np.uint8), _TABLES)) ^ _ALL
    crc = _ALL
    for byte in data:
        crc = (crc >> 8) ^ _BYTE_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ _ALL


def masked_crc32c(data: bytes) -> int:
    """As TFRecord files hold it: rotated, plus a constant (tensorflow/core/lib/hash/crc32c.h)."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _ALL
