"""Interface of a storage format: it appends records to one file, and says where in it they lie.

A shard is immutable and its records are contiguous, so that reading one needs no library: it is a
slice of the mapped file, at the place that the pack's table gives. The storage libraries write the
shards, and every other program may read them in the ordinary way.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core import Closable, crc32
from ...errors import FastdataError, MissingDependencyError

_LOW_SPACE = 100_000_000


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
    """True if a file has records with these CRC-32 at these places; stops at the first other one.

    They are read, not mapped: a map would count as this process's memory.
    """
    with path.open("rb") as file:
        for start, size, checksum in zip(offsets, sizes, checksums, strict=True):
            file.seek(start)
            if crc32(file.read(size)) != checksum:
                return False
    return True


@dataclass(frozen=True)
class Storage(ABC):
    """Interface of a storage format: how its shards are written, and what others ask about them.

    It is asked for in every process that reads a pack, so its library is imported when it is first
    needed, by ``library``.

    Attributes:
        name: as in ``pack(..., storage=...)`` and in pack.json.
        suffix: of shard files; no other storage has it.
        package: that writing needs, as it is imported and as pip installs it.
        empty_bytes: about the size of a shard's file besides its records.
        spare: while shards are written, the disk holds the records of so many of them besides.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    package: ClassVar[str]
    empty_bytes: ClassVar[int]
    spare: ClassVar[int] = 0

    @abstractmethod
    def writer(self, path: Path) -> ShardWriter:
        """A writer for a new shard file at ``path``; MissingDependencyError as ``library``."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions, by name, of all that a shard's bytes depend on besides its records.

        Raises:
            MissingDependencyError: as ``library``.
        """

    @abstractmethod
    def bytes_of(self, size: int) -> int:
        """The bytes, about, that a record of ``size`` > 0 bytes takes in a shard."""

    def library(self) -> Any:
        """The package.

        Raises:
            MissingDependencyError: it is not installed.
        """
        try:
            return import_module(self.package)
        except ImportError as error:
            raise MissingDependencyError(
                f"storage {self.name!r} needs {self.package}: pip install {self.package} ({error})"
            ) from error


@contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Each storage library has its own errors for a write that failed: all become OSError."""
    try:
        yield
    except (FastdataError, OSError):
        raise
    except Exception as error:
        free = shutil.disk_usage(directory).free
        # LMDB reports a full disk as "Input/output error".
        full = f" ({free / 1e6:.1f} MB are free there)" if free < _LOW_SPACE else ""
        raise OSError(f"{error}{full}") from error
