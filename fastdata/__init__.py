"""fastdata makes PyTorch training stop waiting for images.

Eleven rooms, to be read in the order in which data flow:

- ``core``: words and small tools that all others use; ``errors``: what is raised.
- ``images``: one image, its pixels under a plan, its stored forms.
- ``store``: a pack on disk or behind a URL.
- ``sources``: what there is to pack.
- ``packing``: from a source to a pack, and back.
- ``transforms``: torchvision's names; geometry is planned before pixels are decoded.
- ``datasets``: packs and folders as map-style datasets.
- ``loader``: ``DataLoaderX``, order, workers, resume, prefetch to the device.
- ``dali``: the same datasets through NVIDIA DALI.
- ``inspection``: looking at packs and at speed.
- ``cli``: the command.

A room imports only from its own modules and from the faces (``__all__``) of rooms above it; the
tests name which. The public names are in ``__init__.pyi``.
"""

from __future__ import annotations

import sys
from typing import Any

from lazy_loader import attach_stub

# A name's module is imported when the name is first used. So packing, which needs no torch, does
# not wait for it, and no worker that is not forked waits for what training does not need.
_attribute, _, _names = attach_stub(__name__, __file__)

#: Reached as ``fastdata.errors``, but ``from fastdata import *`` leaves them out.
_MODULES = {"errors", "sources"}

__all__ = sorted({*_names} - _MODULES)


def __getattr__(name: str) -> Any:
    if name not in _names:
        here = sys.modules[__name__]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=here)
    try:
        return _attribute(name)
    except AttributeError as error:  # "from fastdata import …" would keep it to itself
        raise ImportError(f"{__name__}.{name} cannot be imported: {error}") from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_names})
