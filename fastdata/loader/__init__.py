"""``DataLoaderX``: torch's ``DataLoader`` with batches made ahead and delivered on the device.

Reading order: ``loader`` (the class), ``order`` (who comes when), ``delivery`` (a task on its way
in, a batch on its way out), ``tasks`` (of an epoch), ``workers`` (who makes the batches: processes,
threads, or the caller), ``epoch`` and ``prefetch`` (to the device); ``progress`` and ``resume``
(which batches were delivered, and how to go on behind them), ``failures`` and ``stats``;
``read_ahead`` for packs behind URLs. What extends torch's own iterators, by private names of
torch's, stands in ``torch_private``.
"""

from __future__ import annotations

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
