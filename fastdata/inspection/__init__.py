"""Looking at packs and at speed: what ``info``, ``verify``, ``show``, ``bench`` and ``tune`` do.

Reading order: ``info`` and ``histogram``, ``verify``, ``contact_sheet``; ``trials`` (loaders,
timed), ``bench`` (the stages of loading, one by one) and ``tune`` (a search for the fastest
loader); ``text`` and ``charts`` show the results.
"""

from __future__ import annotations

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
