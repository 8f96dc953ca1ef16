"""Reading less of a JPEG than all of it, without changing one pixel. Knows nothing of packs."""

from __future__ import annotations

from .rows import first_rows

__all__ = ["first_rows"]
