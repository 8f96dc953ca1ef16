"""A local cache of whole shards, shared by all processes and packs of a machine."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...core import sha256_file
from ...errors import CacheError, FastdataError, OptionError, PackFormatError
from .failures import FULL_CODES
from .pin import Pin
from .place import Place
from .shelf import Shelf

_VARIABLE = "FASTDATA_CACHE"
_MOST = 100 * 10**9
_SHARE_OF_DISK = 0.8
_POLL = 0.05
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ShardCache:
    """Keeps shards by their SHA-256 in a directory of its own.

    - A shard is downloaded once, however many processes ask for it, and is in the cache only if
      its size and SHA-256 are right.
    - The files, downloads in progress included, never have more than ``limit_bytes`` together.
      For a new one, those go that nobody has opened for the longest time, in whichever process.
    - A file is not evicted while an ``open`` block holds it. After the block it may be, and what is
      mapped of it stays readable (on Windows a mapped file is not evicted); the disk gets the
      space back when the last map of it is closed. So open shards are not bounded by the limit:
      close those that are read no more.
    - Only what the cache itself has downloaded is ever deleted. Files of a local place are neither
      copied nor deleted: they are opened where they are.

    The directory should be on a disk of this machine. The object holds no open file: it may be
    pickled, and used in a forked child and from any thread.

    Args:
        directory: the cache, made if it does not exist; see ``default_directory``.
        limit_bytes: see ``default_limit``. Each process obeys its own.
        verify: compute the SHA-256 of a file that is in the cache already each time it is opened;
            without it only its size is compared. A damaged file is downloaded again.
        patience: seconds to wait for room while all files are in use and none is downloading.

    Raises:
        OptionError: the directory holds other files, or a number is out of its range.
        CacheError: the directory cannot be written.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        limit_bytes: int | None = None,
        *,
        verify: bool = False,
        patience: float = 60.0,
    ) -> None:
        if (limit_bytes is not None and limit_bytes < 1) or patience < 0:
            raise OptionError(
                f"expected a limit of at least 1 byte and patience of at least 0 s, found "
                f"{limit_bytes} and {patience}"
            )
        self.directory = Path(directory) if directory is not None else default_directory()
        self._shelf = Shelf(self.directory)
        self.limit_bytes = limit_bytes or default_limit(self.directory, self.used_bytes)
        self._verify = verify
        self._patience = patience

    @property
    def used_bytes(self) -> int:
        """Size of all files together; of a download in progress, the one it will have."""
        return sum(file.size for file in self._shelf.files())

    def path(self, sha256: str) -> Path:
        """The path of a shard, if it is there; it may be evicted at any time."""
        return self._shelf.path(sha256)

    @contextmanager
    def open(self, place: Place, name: str, size: int, sha256: str) -> Iterator[Path]:
        """A shard's file, which is not evicted during the block.

        Open or map it in the block, and leave the block: others may be waiting for the room.

        Args:
            place: where to get it from.
            name: its name there.
            size: its size in bytes.
            sha256: its SHA-256 in hex.

        Raises:
            PackNotFoundError: it is not there.
            PackFormatError: its size or SHA-256 is another; nothing is kept of it.
            RemoteError: it cannot be downloaded.
            OptionError: it is larger than the limit.
            CacheError: the disk is full, or all files in the cache stay in use.
        """
        with self.hold(place, name, size, sha256) as pin:
            yield pin.path

    def fetch(self, place: Place, name: str, size: int, sha256: str) -> Path:
        """Like ``open``, but the file may be evicted as soon as this returns."""
        with self.open(place, name, size, sha256) as path:
            return path

    def hold(
        self,
        place: Place,
        name: str,
        size: int,
        sha256: str,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Pin:
        """Like ``open``, until the pin is closed. Cancelled is raised once ``cancelled()``."""
        shard = WantedShard(place, name, size, sha256)
        if original := shard.original():
            return original
        shard.check_limit(self.limit_bytes)
        with self._disk_errors():
            return self._wait_for(shard, cancelled)

    def hold_ahead(
        self,
        place: Place,
        name: str,
        size: int,
        sha256: str,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Pin | None:
        """Like ``hold``, for a shard that is needed later: None where it might be in the way.

        It is unless all files in use, those that any process holds ahead among them, and this one
        have at most half the limit together.
        """
        shard = WantedShard(place, name, size, sha256)
        if original := shard.original():
            return original
        shard.check_limit(self.limit_bytes)
        most = self.limit_bytes // 2
        with self._disk_errors():
            if self._shelf.in_use() + size > most:
                return None
            return self._held(shard, most, cancelled)

    def _wait_for(self, shard: WantedShard, cancelled: Callable[[], bool]) -> Pin:
        end = time.monotonic() + self._patience
        while True:
            pin = self._held(shard, self.limit_bytes, cancelled)
            if pin is not None:
                return pin
            now = time.monotonic()
            if self._shelf.is_downloading():
                end = now + self._patience
            if now > end:
                raise self._all_in_use(shard)
            time.sleep(_POLL)

    def _held(
        self, shard: WantedShard, most_in_use: int, cancelled: Callable[[], bool]
    ) -> Pin | None:
        if pin := self._cached(shard):
            return pin
        self._shelf.prepare()
        with self._shelf.lock(shard.sha256, cancelled):
            if pin := self._cached(shard):  # another process has downloaded it meanwhile
                return pin
            self._shelf.discard(shard.sha256)
            room = (self.limit_bytes, most_in_use)
            partial = self._shelf.reserve(shard.sha256, shard.size, *room)
            return None if partial is None else self._download(shard, partial, cancelled)

    def _cached(self, shard: WantedShard) -> Pin | None:
        pin = self._shelf.pin(shard.sha256)
        if pin is None:
            return None
        if pin.size == shard.size and not (self._verify and sha256_file(pin.path) != shard.sha256):
            return pin
        pin.close()
        return None

    def _download(self, shard: WantedShard, partial: Pin, cancelled: Callable[[], bool]) -> Pin:
        try:
            try:
                shard.download(partial.path, cancelled)
            except OSError as error:
                if isinstance(error, FastdataError) or error.errno not in FULL_CODES:
                    raise
                os.truncate(partial.path, 0)
                self._shelf.free_disk(shard.size)
                shard.download(partial.path, cancelled)
            return self._shelf.publish(partial, shard.sha256)
        except BaseException:
            partial.discard()
            raise

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except FastdataError:
            raise
        except OSError as error:
            full = error.errno in FULL_CODES
            hint = "its disk is full: free some space, or" if full else ""
            raise CacheError(
                f"the cache {self.directory}: {error}; {hint} choose another directory for it "
                "($FASTDATA_CACHE)"
            ) from error

    def _all_in_use(self, shard: WantedShard) -> CacheError:
        return CacheError(
            f"no room for {shard.where} ({shard.size} bytes): of the {self.limit_bytes} bytes that "
            f"the cache {self.directory} may have, {self._shelf.in_use()} are in use; raise its "
            "limit, or close shards"
        )


@dataclass(frozen=True, slots=True)
class WantedShard:
    """A shard that is asked for: its place and name there, size in bytes, and SHA-256 in hex.

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


def default_directory() -> Path:
    """``$FASTDATA_CACHE``, or ``fastdata/shards`` in ``$XDG_CACHE_HOME`` or in ``~/.cache``.

    A relative ``$XDG_CACHE_HOME`` is ignored, as the XDG Base Directory Specification demands.
    """
    own = os.environ.get(_VARIABLE)
    if own:
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return home / "fastdata" / "shards"


def default_limit(directory: Path, used_bytes: int) -> int:
    """100 GB, or four fifths of what the disk of ``directory`` has free if that is less.

    What the cache holds already counts as free.
    """
    free = shutil.disk_usage(directory).free + used_bytes
    return max(1, min(_MOST, int(_SHARE_OF_DISK * free)))
