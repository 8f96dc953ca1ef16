"""The cache's directory: which shards are in it, which are in use, and room for the next.

::

    CACHEDIR.TAG              says that fastdata may delete here (https://bford.info/cachedir/)
    locks/                    files that processes lock; empty, never deleted
    <sha256>.shard            a whole shard; its modification time is that of its last use
    <sha256>-<size>.partial   a download, and the room reserved for it, while it is locked

Only regular files whose names match, and that no process uses (see ``pin``), are ever deleted.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...errors import CacheError, OptionError
from .pin import Pin, delete_idle, is_in_use
from .place import Cancelled

if TYPE_CHECKING:
    from filelock import FileLock

TAG = "CACHEDIR.TAG"
_TAG_TEXT = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# A cache of shards, made by fastdata, version 1. It may be deleted at any time.\n"
)
_SHARD = re.compile(r"[0-9a-f]{64}\.shard")
_PARTIAL = re.compile(r"[0-9a-f]{64}-([0-9]{1,19})\.partial")
_POLL = 0.02


class CachedFile(NamedTuple):
    """A file of the cache: when it was last used (ns), and its size or what is reserved for it."""

    used: int
    path: Path
    size: int


class Shelf:
    """Files in a cache directory, which is made if it does not exist.

    All state is in the directory: the object may be pickled, and used after a fork.

    Raises:
        OptionError: ``directory`` holds other files.
        CacheError: it cannot be made or written.
    """

    def __init__(self, directory: Path) -> None:
        # Packs on the local disk do without it. A process forked while a thread imports it would
        # hang, so the first import is not left to the threads that download.
        import filelock  # noqa: F401

        self.directory = directory
        self.prepare()

    def prepare(self) -> None:
        """Make what is missing of the directory, unless it belongs to somebody else."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if not self._is_tagged():
                self._tag()
            (self.directory / "locks").mkdir(exist_ok=True)
        except OSError as error:
            raise CacheError(
                f"the cache {self.directory} cannot be written: {error}; choose another directory"
            ) from error

    def path(self, sha256: str) -> Path:
        """The path of a shard, if it is there."""
        return self.directory / f"{sha256}.shard"

    def lock(self, sha256: str, cancelled: Callable[[], bool]) -> FileLock:
        """The lock under which a shard is downloaded, already taken; release it."""
        from filelock import FileLock, Timeout

        # Shards share 256 of them: with one for each, the files would never stop becoming more.
        lock = FileLock(self.directory / "locks" / sha256[:2])
        while True:
            if cancelled():
                raise Cancelled
            try:
                lock.acquire(timeout=10 * _POLL, poll_interval=_POLL)
            except Timeout:
                continue
            return lock

    def pin(self, sha256: str) -> Pin | None:
        """A shard that is there, used now; None if it is not."""
        return Pin.of(self.path(sha256))

    def reserve(self, sha256: str, size: int, limit: int, most_in_use: int) -> Pin | None:
        """Room for a shard: an empty file, after others have been evicted, longest unused first.

        Args:
            sha256: the shard's; its download lock is held by the caller.
            size: the bytes it will have.
            limit: what all files may have together.
            most_in_use: what those in use may have together with it; None is returned, and
                nothing evicted, if they have more.
        """
        path = self.directory / f"{sha256}-{size}.partial"
        with self._room():
            path.unlink(missing_ok=True)
            self._sweep()
            if self.in_use() + size > min(most_in_use, limit):
                return None
            if not self._evict(lambda used: used + size <= limit):
                return None
            return Pin.new(path)

    def publish(self, partial: Pin, sha256: str) -> Pin:
        """Make a complete download a shard, pinned."""
        partial.rename(self.path(sha256))
        return partial

    def discard(self, sha256: str) -> None:
        """Delete a shard that is not what it should be, even if somebody reads it."""
        with suppress(PermissionError):  # Windows, and it is open: replacing it will say so
            self.path(sha256).unlink(missing_ok=True)

    def free_disk(self, size: int) -> None:
        """Evict so many bytes, longest unused first, and until the disk has as many free."""
        with self._room():
            self._sweep()
            # Both: what is mapped gives no room, and a quota is no matter of the disk.
            most = sum(file.size for file in self.files()) - size
            disk = self.directory
            self._evict(lambda used: used <= most and shutil.disk_usage(disk).free >= size)

    def files(self) -> list[CachedFile]:
        """Shards and downloads, longest unused first."""
        found = []
        with os.scandir(self.directory) as entries:
            for entry in entries:
                partial = _PARTIAL.fullmatch(entry.name)
                if not (partial or _SHARD.fullmatch(entry.name)):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    size = int(partial[1]) if partial else status.st_size
                    found.append(CachedFile(status.st_mtime_ns, Path(entry.path), size))
        return sorted(found)

    def in_use(self) -> int:
        """Bytes of the shards that are pinned and of the downloads that go on."""
        return sum(file.size for file in self.files() if is_in_use(file.path))

    def is_downloading(self) -> bool:
        """True if a download goes on in any process."""
        return any(file.path.suffix == ".partial" for file in self.files())

    def _sweep(self) -> None:
        """Delete what killed processes have left of their downloads."""
        for file in self.files():
            if file.path.suffix == ".partial":
                delete_idle(file.path)

    def _evict(self, enough: Callable[[int], bool]) -> bool:
        files = self.files()
        used = sum(file.size for file in files)
        for file in files:
            if enough(used):
                return True
            if file.path.suffix == ".shard" and delete_idle(file.path):
                used -= file.size
        return enough(used)

    def _room(self) -> FileLock:
        from filelock import FileLock

        return FileLock(self.directory / "locks" / "room")

    def _is_tagged(self) -> bool:
        try:
            return (self.directory / TAG).read_text("utf-8") == _TAG_TEXT
        except (FileNotFoundError, UnicodeDecodeError):
            return False

    def _tag(self) -> None:
        foreign = [name for name in os.listdir(self.directory) if not name.startswith(f"{TAG}.")]
        if foreign and not self._is_tagged():  # else another process has just tagged it
            raise OptionError(
                f"{self.directory} holds other files, such as {sorted(foreign)[0]!r}: choose an "
                "empty directory for the cache"
            )
        temporary = self.directory / f"{TAG}.{os.getpid()}"
        temporary.write_text(_TAG_TEXT, "utf-8")
        os.replace(temporary, self.directory / TAG)
