"""Words and small tools that all other rooms use. Imports nothing of fastdata but ``errors``.

Reading order: ``fields`` (what a sample consists of) and ``kinds`` (what is done with the values of
a field), ``text`` and ``npy`` (values in files), ``keys`` (the names of ten million samples in two
arrays), ``checksum``, ``files`` (reading that cannot hang, writing that lasts), ``closable``,
``parallel`` (an ordered map over threads), ``sizes``, ``nested`` (tensors inside of any batch; the
only module of the first six rooms that needs torch), ``version``.

What other rooms may use is in ``__init__.pyi``; each name's module is imported when the name is
first used, so that packing does not wait for torch, nor training for what only packing needs.
"""

from __future__ import annotations

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
