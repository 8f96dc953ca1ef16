"""What a storage format has to do: append records to one file, and read them back by index."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ..closable import Closable
from ..errors import MissingDependencyError, OptionError


class ShardWriter(Closable):
    """Writes one shard. After ``close`` the file is complete and durable (fsynced)."""

    @abstractmethod
    def add(self, record: bytes) -> None:
        """Append a record; the first one has index 0. An empty record is allowed."""


class ShardReader(Closable):
    """Reads one shard, from any thread; safe to use in a forked child, where it reopens itself."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of records."""

    @abstractmethod
    def read(self, index: int) -> memoryview:
        """Record ``index`` (0 ≤ index < len) as a read-only view of mapped memory.

        The view is valid until ``close``; copy what has to live longer.

        Raises:
            PackFormatError: the shard has no such record, or is damaged.
        """


@dataclass(frozen=True, slots=True)
class Storage:
    """One storage format: its file suffix, and its reader and writer, imported on first use."""

    name: str
    suffix: str
    module: str
    package: str

    def _attribute(self, name: str) -> Callable[[Path], object]:
        try:
            found: Callable[[Path], object] = getattr(import_module(self.module, __package__), name)
        except ImportError as error:
            raise MissingDependencyError(
                f"storage {self.name!r} needs {self.package}: pip install {self.package} ({error})"
            ) from error
        return found

    def writer(self, path: Path) -> ShardWriter:
        """A writer for a new shard file at ``path``."""
        writer = self._attribute("Writer")(path)
        assert isinstance(writer, ShardWriter)
        return writer

    def reader(self, path: Path) -> ShardReader:
        """A reader of the shard file at ``path``; PackFormatError if it is no such file."""
        reader = self._attribute("Reader")(path)
        assert isinstance(reader, ShardReader)
        return reader


STORAGES = {
    "lmdb": Storage("lmdb", ".lmdb", "._lmdb", "lmdb"),
    "hdf5": Storage("hdf5", ".h5", "._hdf5", "h5py"),
}


def storage(name: str) -> Storage:
    """The storage format of that name; OptionError if there is none."""
    if name not in STORAGES:
        raise OptionError(f"storage must be one of {', '.join(STORAGES)}; got {name!r}")
    return STORAGES[name]
