"""From a source to a pack, and back.

Reading order: ``pack`` (the functions, their options in ``options``), ``run`` (one packing run),
``write`` (the shards of a source) with ``tasks`` and ``sequence`` (shards one by one, or samples in
a row), ``samples`` and ``records`` (one sample, encoded), ``job`` (what may be resumed),
``workspace`` (a directory or URL where a pack grows until it is complete). ``append`` and
``repack`` make packs from packs, ``dry_run`` says what would be done, ``report`` says what was
done, ``unpack`` goes back, ``dask`` is a cluster.
"""

from __future__ import annotations

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
