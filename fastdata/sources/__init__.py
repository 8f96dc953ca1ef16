"""Sources: whatever images come from, as one thing, a list of samples with named fields.

Read ``base`` first; each other module lists one kind of input.
"""

from __future__ import annotations

from .base import Blob, FileBlob, Item, Source, SpanBlob

__all__ = ["Blob", "FileBlob", "Item", "Source", "SpanBlob"]
