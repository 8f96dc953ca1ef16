"""A shard that somebody asks for, and what it has to be."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import OptionError, PackFormatError
from .pin import Pin
from .place import Place

_BLOCK = 4 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Its place and name there, its size in bytes and its SHA-256 in hex.

    Raises:
        PackFormatError: ``size`` or ``sha256`` is no such thing.
    """

    place: Place
    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        # Both become parts of file names, and both come from a file that was downloaded.
        is_size = type(self.size) is int and 0 <= self.size < 1 << 63
        if not (is_size and isinstance(self.sha256, str) and _SHA256.fullmatch(self.sha256)):
            raise PackFormatError(
                f"{self.where}: expected a size and a SHA-256 of 64 hexadecimal digits, found "
                f"{self.size!r} and {self.sha256!r}"
            )

    @property
    def where(self) -> str:
        """The place and the name, for messages."""
        return self.place.describe(self.name)

    def original(self) -> Pin | None:
        """The file itself, if it is on this machine; None if it has to be downloaded.

        Raises:
            PackNotFoundError: it is not there.
            PackFormatError: its size is another.
        """
        path = self.place.local_path(self.name)
        if path is None:
            return None
        self._check_size(self.place.size(self.name))
        return Pin(path)

    def check_limit(self, limit: int) -> None:
        """OptionError if a cache of ``limit`` bytes cannot hold it."""
        if self.size > limit:
            raise OptionError(
                f"{self.where} has {self.size} bytes, and the cache may have {limit}: set its "
                f"limit to at least {self.size}, better to several shards"
            )

    def download(self, path: Path, cancelled: Callable[[], bool]) -> None:
        """Write it to ``path``; PackFormatError if it is not what it should be."""
        self.place.download(self.name, path, most=self.size, cancelled=cancelled)
        self._check_size(path.stat().st_size)
        # Not computed on the way: stores send the parts of a file side by side. What is read here
        # is still in memory, and it is what the disk was given.
        found = sha256_file(path)
        if found != self.sha256:
            raise PackFormatError(
                f"{self.where}: expected SHA-256 {self.sha256}, found {found}; the file is damaged "
                "or another than was packed: upload the pack again"
            )

    def _check_size(self, found: int) -> None:
        if found != self.size:
            raise PackFormatError(
                f"{self.where}: expected {self.size} bytes, found {found}; the file is damaged or "
                "another than was packed: upload the pack again"
            )


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
