"""fastdata makes PyTorch training stop waiting for images.

Reading order: ``folder`` (what there is), ``encode`` and ``pack`` (how it gets into a pack),
``shards`` (how a pack lies on disk), ``plan`` and ``transforms`` (what training asks for),
``decode`` (pixels), ``dataset``, ``loader``, ``prefetch`` (batches on the device), ``cli``.
"""

from __future__ import annotations

from . import transforms
from .dataset import ImageFolder, PackedImageFolder
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
from .loader import DataLoaderX
from .pack import PackReport, pack_image_folder
from .prefetch import CUDAPrefetcher
from .unpack import unpack
from .verify import VerifyReport, verify_pack
from .version import __version__

__all__ = [
    "CUDAPrefetcher",
    "DataLoaderX",
    "DecodeError",
    "EmptySourceError",
    "FastdataError",
    "ImageFolder",
    "MissingDependencyError",
    "OptionError",
    "PackError",
    "PackExistsError",
    "PackFormatError",
    "PackNotFoundError",
    "PackReport",
    "PackedImageFolder",
    "PackingError",
    "SampleError",
    "SourceError",
    "SourceNotFoundError",
    "VerifyReport",
    "__version__",
    "pack_image_folder",
    "transforms",
    "unpack",
    "verify_pack",
]
