"""A pack on disk or behind a URL: what lies where, and how it is read and written.

Reading order: ``table`` and ``columns`` (one row a sample), ``manifest`` (pack.json), ``reader`` (a
whole pack; what all datasets read from), ``files`` (its files, wherever they lie, and the options
with which they are reached), ``storages`` (LMDB and HDF5, behind one interface), ``record``,
``parts`` and ``assembly`` (shards, each written by itself, become a pack), ``npy`` (arrays in
pieces, and mapped) and ``remote`` (URLs, and the cache that all processes of a machine share).
"""

from __future__ import annotations

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
