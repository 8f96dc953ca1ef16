"""The ``fastdata`` command: one file for each group of commands, arguments and action together.

Reading order: ``command`` (parse, call one function of the library, print), ``options`` (what
several commands take), ``packing``, ``inspecting``, ``measuring``.
"""

from __future__ import annotations

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
