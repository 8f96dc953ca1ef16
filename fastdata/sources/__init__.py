"""Sources of what is packed: each kind listed as samples with named fields.

Reading order: ``base`` (what a source is), ``folder`` (the simplest), ``kinds`` (what is known of
each kind, its options too) and ``detect`` (all kinds, and which of them a path is), ``samples``
(whatever else the user gives); then any of ``table``, ``pairs``, ``coco``, ``tar``, ``tfrecord``,
``recordio``, ``lmdb``, ``packs`` and ``iterables``. ``columns``, ``archives`` and ``classes`` have
what several of them share; ``sidecar`` is what ``unpack`` leaves beside its output, so that it can
be packed again.
"""

from __future__ import annotations

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
