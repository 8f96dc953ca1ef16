"""A local cache of whole shards, shared by all processes and packs of a machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import CacheError, FastdataError, OptionError
from .defaults import default_directory, default_limit
from .failures import FULL_CODES
from .pin import Pin
from .place import Place
from .shelf import Shelf
from .wanted import Wanted, sha256_file

_POLL = 0.05


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
        """What all files have together; of a download in progress, what it will have."""
        return sum(file.size for file in self._shelf.files())

    def path(self, sha256: str) -> Path:
        """Where a shard is if it is there; it may be evicted at any time."""
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
        shard = Wanted(place, name, size, sha256)
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
        shard = Wanted(place, name, size, sha256)
        if original := shard.original():
            return original
        shard.check_limit(self.limit_bytes)
        most = self.limit_bytes // 2
        with self._disk_errors():
            if self._shelf.in_use() + size > most:
                return None
            return self._held(shard, most, cancelled)

    def _wait_for(self, shard: Wanted, cancelled: Callable[[], bool]) -> Pin:
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

    def _held(self, shard: Wanted, most_in_use: int, cancelled: Callable[[], bool]) -> Pin | None:
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

    def _cached(self, shard: Wanted) -> Pin | None:
        pin = self._shelf.pin(shard.sha256)
        if pin is None:
            return None
        if pin.size == shard.size and not (self._verify and sha256_file(pin.path) != shard.sha256):
            return pin
        pin.close()
        return None

    def _download(self, shard: Wanted, partial: Pin, cancelled: Callable[[], bool]) -> Pin:
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

    def _all_in_use(self, shard: Wanted) -> CacheError:
        return CacheError(
            f"no room for {shard.where} ({shard.size} bytes): of the {self.limit_bytes} bytes that "
            f"the cache {self.directory} may have, {self._shelf.in_use()} are in use; raise its "
            "limit, or close shards"
        )
