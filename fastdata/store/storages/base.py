"""What a storage format has to do: append records to one file, and say where in it they lie.

A shard is immutable and its records are contiguous, so that reading one needs no library: it is a
slice of the mapped file, at the place that the pack's table gives. The storage libraries write the
shards, and every other program may read them in the ordinary way.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core import Closable, crc32
from ...errors import MissingDependencyError, OptionError


class ShardWriter(Closable):
    """Writes one shard. After ``close`` the file is complete, but not yet fsynced."""

    @abstractmethod
    def add(self, record: bytes) -> None:
        """Append a record; the first one has index 0. An empty record is allowed."""

    @abstractmethod
    def abort(self) -> None:
        """Close it, however incomplete; its file is to be deleted."""

    @abstractmethod
    def locate(self, checksums: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """The byte offset of each record in the file, once it is closed; 0 for empty ones.

        Args:
            checksums: CRC-32 of each record as it was given.

        Raises:
            PackFormatError: the file does not hold these records.
        """


def holds(
    path: Path,
    offsets: NDArray[Any],
    sizes: NDArray[Any],
    checksums: NDArray[np.uint32],
) -> bool:
    """Whether a file has records with these CRC-32 at these places; stops at the first other one.

    They are read, not mapped: a map would count as this process's memory.
    """
    with path.open("rb") as file:
        for start, size, checksum in zip(offsets, sizes, checksums, strict=True):
            file.seek(start)
            if crc32(file.read(size)) != checksum:
                return False
    return True


@dataclass(frozen=True, slots=True)
class Storage:
    """One storage format: its file suffix, and its writer, imported on first use."""

    name: str
    suffix: str
    module: str
    package: str

    def writer(self, path: Path) -> ShardWriter:
        """A writer for a new shard file at ``path``."""
        try:
            make: Callable[[Path], object] = import_module(self.module, __package__).Writer
        except ImportError as error:
            raise MissingDependencyError(
                f"storage {self.name!r} needs {self.package}: pip install {self.package} ({error})"
            ) from error
        writer = make(path)
        assert isinstance(writer, ShardWriter)
        return writer


STORAGES = {
    "lmdb": Storage("lmdb", ".lmdb", ".lmdb", "lmdb"),
    "hdf5": Storage("hdf5", ".h5", ".hdf5", "h5py"),
}


def storage(name: str) -> Storage:
    """The storage format of that name; OptionError if there is none."""
    if name not in STORAGES:
        raise OptionError(f"storage must be one of {', '.join(STORAGES)}; got {name!r}")
    return STORAGES[name]
