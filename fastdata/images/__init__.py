"""One image: what its file says, its pixels under a plan, and its stored forms.

Knows neither packs nor torch. Reading order: ``plan`` (a crop, a size and a flip, decided before
any pixel is touched), ``header`` and ``limits`` (what a file says, and what is refused; ``formats``
goes from part to part of a JPEG, PNG or TIFF), ``decode`` (the pixels of a plan, in the cheapest
way), ``render`` (what decoding has left to do), ``stored`` and ``encodings`` (the stored forms, in
one table), ``encode`` (from a file or pixels to one of these, as options say); then ``masks`` and
``boxes``, which go with an image, and ``media``, which has all of these by kind of field. ``jpeg``
cuts JPEGs, ``resample`` resizes as Pillow does; both are compiled, by ``jit``. ``decoders`` and
``opencv`` know what the libraries below do, and do not do.
"""

from __future__ import annotations

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
