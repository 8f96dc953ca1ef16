"""Storage formats behind one narrow interface, ``base``: LMDB and HDF5.

A storage is one file here, and one entry in ``STORAGES``.
"""

from __future__ import annotations

from ...errors import OptionError
from .base import Storage
from .hdf5 import Hdf5
from .lmdb import Lmdb

#: All there are, by name.
STORAGES: dict[str, Storage] = {known.name: known for known in (Lmdb(), Hdf5())}

DEFAULT_STORAGE = "lmdb"


def storage(name: str) -> Storage:
    """The storage format of that name; OptionError if there is none."""
    if name not in STORAGES:
        raise OptionError(f"storage must be one of {', '.join(STORAGES)}; got {name!r}")
    return STORAGES[name]


def suffixes() -> set[str]:
    """The suffixes of shard files."""
    return {known.suffix for known in STORAGES.values()}
