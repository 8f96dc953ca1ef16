"""Packs and folders as map-style datasets, with one allocation for a batch.

Reading order: ``base`` (images by index), ``reading`` (a sample on its way to pixels: plan first,
decode second), ``packed`` and ``folder`` (the two with a class for each image), ``fields`` (samples
with any fields), ``batch`` (a batch in the making), ``clock`` (where the time goes), ``worker``
(what a worker process does first).
"""

from __future__ import annotations

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
