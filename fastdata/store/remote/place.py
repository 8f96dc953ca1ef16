"""Interface of a place where files lie, and a directory of this machine as one."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import OptionError, PackFormatError, PackNotFoundError

_MOST_READ = 1 << 28
_BLOCK = 4 << 20
# Control characters have no place in a URL, and fsspec takes the others for patterns.
_NOT_IN_NAMES = re.compile(r"[\\\0-\x1f\x7f*?\[\]]")


class Cancelled(Exception):
    """A download was given up on purpose; it never leaves this package."""


class Place(ABC):
    """A directory of files, here or far away.

    Names are relative POSIX paths without "..", backslashes, control characters and the wildcards
    ``*?[]``; any other is an OptionError. All methods may be called in any thread; the object may
    be pickled, and used in a forked child.

    All but ``describe`` and ``local_path`` raise PackNotFoundError where there is nothing,
    RemoteError for a failure of the network or the store, and OSError for one of the local disk.

    Attributes:
        directory: the one of this machine that it is; None if it lies elsewhere.
    """

    directory: Path | None = None

    @property
    def path(self) -> Path | str:
        """The directory, or the URL without a password."""
        return self.describe() if self.directory is None else self.directory

    @abstractmethod
    def describe(self, name: str = "") -> str:
        """The place, or a file in it, for messages: without passwords."""

    def __str__(self) -> str:
        return self.describe()

    @abstractmethod
    def size(self, name: str) -> int:
        """A file's size in bytes."""

    @abstractmethod
    def names(self) -> list[str]:
        """The names of all files, sorted; none if there is no such place, which object stores
        cannot tell from an empty one. OptionError over HTTP, which has no listings."""

    @abstractmethod
    def put(self, local_path: Path, name: str) -> None:
        """Upload a file. It appears whole or not at all, in place of one of that name.

        Raises:
            OptionError: the place can only be read.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file; that there is none is no error."""

    @abstractmethod
    def download(
        self,
        name: str,
        path: Path,
        *,
        most: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Write a file's bytes to ``path`` itself; after an error an incomplete file stays there.

        Args:
            name: the file to read.
            path: the file to write, in an existing directory.
            most: its expected size; as soon as it has more, PackFormatError.
            cancelled: asked between blocks; Cancelled is raised once it returns True.
        """

    def is_at(self, location: str) -> bool:
        """True if a path or a URL leads to the same place."""
        if self.directory is None:
            return location.rstrip("/") == self.describe()
        return os.path.realpath(location) == os.path.realpath(self.directory)

    def local_path(self, name: str) -> Path | None:
        """The file itself, if it lies in a local directory; whether it exists is not checked."""
        checked = checked_name(name)
        return None if self.directory is None else self.directory / checked

    def exists(self, name: str) -> bool:
        """True if there is a file of that name. A failure is an error, not False."""
        try:
            self.size(name)
        except PackNotFoundError:
            return False
        return True

    def get(self, name: str, local_path: Path) -> None:
        """Download a file; at ``local_path`` it appears whole or not at all."""
        with temporary_beside(local_path) as temporary:
            self.download(name, temporary)
            os.replace(temporary, local_path)

    def read(self, name: str, most: int = _MOST_READ) -> bytes:
        """All bytes of a small file; PackFormatError if there are more than ``most``."""
        with tempfile.TemporaryDirectory(prefix="fastdata-") as directory:
            path = Path(directory, "file")
            self.download(name, path, most=most)
            return path.read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Like ``put``, from memory."""
        with tempfile.TemporaryDirectory(prefix="fastdata-") as directory:
            path = Path(directory, "file")
            path.write_bytes(data)
            self.put(path, name)


class LocalPlace(Place):
    """A directory of this machine. It need not exist; ``put`` makes it."""

    directory: Path

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)

    def describe(self, name: str = "") -> str:
        return str(self.directory / name)

    def size(self, name: str) -> int:
        path = self._existing(name)
        return path.stat().st_size

    def names(self) -> list[str]:
        found = [path for path in self.directory.rglob("*") if path.is_file()]
        return sorted(path.relative_to(self.directory).as_posix() for path in found)

    def put(self, local_path: Path, name: str) -> None:
        target = self._path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(target) as temporary:
            shutil.copyfile(local_path, temporary)
            os.replace(temporary, target)

    def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def download(
        self,
        name: str,
        path: Path,
        *,
        most: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        watch = Watch(self.describe(name), most, cancelled)
        with self._existing(name).open("rb") as source, path.open("wb") as target:
            while block := source.read(_BLOCK):
                watch.add(len(block))
                target.write(block)

    def _path(self, name: str) -> Path:
        return self.directory / checked_name(name)

    def _existing(self, name: str) -> Path:
        path = self._path(name)
        if not path.is_file():  # a named pipe, too, is none: reading it would wait for ever
            raise PackNotFoundError(f"{path}: there is no such file")
        return path


class Watch:
    """Counts the bytes of a download, and stops one that is too long or not wanted any more."""

    def __init__(self, where: str, most: int | None, cancelled: Callable[[], bool]) -> None:
        self._where = where
        self._most = most
        self._cancelled = cancelled
        self._bytes = 0

    def restart(self) -> None:
        """Begin another attempt; Cancelled if none is wanted."""
        self._bytes = 0
        self.add(0)

    def announce(self, size: int | None) -> None:
        """Hear from the server how many bytes will come."""
        if size is not None and self._most is not None and size > self._most:
            raise self._too_long(f"{size}")

    def add(self, size: int) -> None:
        """Count bytes that have come."""
        self._bytes += size
        if self._most is not None and self._bytes > self._most:
            raise self._too_long(f"more than {self._most}")
        if self._cancelled():
            raise Cancelled

    def _too_long(self, found: str) -> PackFormatError:
        return PackFormatError(
            f"{self._where}: expected at most {self._most} bytes, found {found}; the file is "
            "not the one that was packed: upload the pack again"
        )


def checked_name(name: str) -> str:
    """The name itself; OptionError unless it is a plain relative one."""
    parts = name.split("/")
    if _NOT_IN_NAMES.search(name) or ":" in parts[0] or any(p in ("", ".", "..") for p in parts):
        raise OptionError(f"{name!r} is not a plain file name below a pack")
    return name


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """A new empty file in the directory of ``target``; deleted at the end if it is still there."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
