"""fastdata makes PyTorch training stop waiting for images.

Reading order: ``folder`` (what there is), ``encode`` and ``pack`` (how it gets into a pack),
``shards`` (how a pack lies on disk), ``plan`` and ``transforms`` (what training asks for),
``decode`` (pixels), ``dataset``, ``loader``, ``prefetch`` (batches on the device), ``cli``.
"""

from __future__ import annotations

from . import transforms
from .errors import (
    DecodeError,
    EmptySourceError,
    FastdataError,
    MissingDependencyError,
    OptionError,
    PackError,
    PackExistsError,
    PackFormatError,
    PackingError,
    PackNotFoundError,
    SampleError,
    SourceError,
    SourceNotFoundError,
)
from .prefetch import CUDAPrefetcher
from .version import __version__

__all__ = [
    "CUDAPrefetcher",
    "DecodeError",
    "EmptySourceError",
    "FastdataError",
    "MissingDependencyError",
    "OptionError",
    "PackError",
    "PackExistsError",
    "PackFormatError",
    "PackNotFoundError",
    "PackingError",
    "SampleError",
    "SourceError",
    "SourceNotFoundError",
    "__version__",
    "transforms",
]
