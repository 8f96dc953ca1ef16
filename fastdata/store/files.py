"""The files of a pack, in a directory or behind a URL, and the options with which it is reached."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core import map_file, parse_size
from ..errors import OptionError, PackFormatError, PackNotFoundError
from .manifest import MANIFEST, FileEntry, Manifest, ShardEntry
from .remote import Place, ShardCache, open_place

_MOST_MANIFEST_BYTES = 1 << 30


@dataclass(frozen=True)
class PackFiles:
    """The files of one pack. May be pickled, and used in a forked child and from any thread.

    In a directory of this machine each is mapped where it lies. Behind a URL it is downloaded into
    the cache, and checked against pack.json, when it is first mapped on this machine.

    Attributes:
        place: of the pack.
        cache: for what is downloaded; None for a place that is a directory.
    """

    place: Place
    cache: ShardCache | None = None
    _inodes: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def path(self) -> Path | str:
        """The directory, or the URL without a password."""
        return self.place.path

    def manifest(self) -> Manifest:
        """The content of pack.json now; errors as ``read_manifest``.

        Raises:
            OptionError: a file is larger than the cache may be.
        """
        manifest = read_manifest(self.place)
        largest = max((entry.bytes for entry in manifest.entries), default=0)
        if self.cache is not None and largest > self.cache.limit_bytes:
            raise OptionError(
                f"{self.path} has a file of {largest} bytes, and the cache may have "
                f"{self.cache.limit_bytes}: set cache_limit to several times the former"
            )
        return manifest

    def map(self, entry: FileEntry | ShardEntry) -> memoryview:
        """A whole file as read-only mapped memory, valid as long as a view of it lives.

        Raises:
            PackFormatError: it is missing, or not the one that pack.json describes.
        """
        if self.cache is None:
            return map_file(Path(self.path, entry.file), entry.bytes)
        try:
            with self.cache.open(self.place, entry.file, entry.bytes, entry.sha256) as path:
                self._inodes[entry.sha256] = os.stat(path).st_ino
                return map_file(path, entry.bytes)
        except PackNotFoundError as error:
            raise PackFormatError(f"{self.describe(entry)}: the file is missing") from error

    def describe(self, entry: FileEntry | ShardEntry) -> str:
        """A file, for messages."""
        return self.place.describe(entry.file)

    def evicted(self, mapped: Mapping[int, object], shards: Sequence[ShardEntry]) -> list[int]:
        """Numbers of those mapped shards whose file is deleted, so that their maps alone keep the
        disk from having the space back."""
        cache = self.cache
        if cache is None:
            return []
        return [number for number in mapped if not self._is_in(cache, shards[number].sha256)]

    def _is_in(self, cache: ShardCache, sha256: str) -> bool:
        try:  # downloaded again, it is another file
            return os.stat(cache.path(sha256)).st_ino == self._inodes.get(sha256)
        except FileNotFoundError:
            return False

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place, "cache": self.cache, "_inodes": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@dataclass(frozen=True)
class Access:
    """Options with which a pack behind a URL is reached; those of paths are ignored.

    Attributes:
        cache_dir: where downloaded files are kept; None: see ``default_directory``.
        cache_limit: the most bytes they may have, or text such as "100GB"; None: see
            ``default_limit``.
        storage_options: for the protocol's fsspec implementation: credentials, endpoint …
    """

    cache_dir: str | os.PathLike[str] | None = None
    cache_limit: int | str | None = None
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)  # has passwords

    def place(self, location: str | os.PathLike[str]) -> Place:
        """The place at a path or a URL; errors as ``open_place``."""
        return open_place(location, **(self.storage_options or {}))

    def files(self, location: str | os.PathLike[str]) -> PackFiles:
        """The files of the pack at a path, or at a URL of a protocol that fsspec knows.

        Raises:
            OptionError: the URL or an option is wrong.
            MissingDependencyError: a package for the protocol is not installed.
            CacheError: the cache cannot be written.
        """
        place = self.place(location)
        if place.directory is not None:
            return PackFiles(place)
        limit = None if self.cache_limit is None else parse_size(self.cache_limit)
        return PackFiles(place, ShardCache(self.cache_dir, limit))


DEFAULT_ACCESS = Access()


def read_manifest(place: Place) -> Manifest:
    """The manifest of the pack in a place; errors as ``Manifest.read``, and RemoteError."""
    if place.directory is not None:
        return Manifest.read(place.directory)
    where = place.describe(MANIFEST)
    try:
        data = place.read(MANIFEST, _MOST_MANIFEST_BYTES)
    except PackNotFoundError as error:
        raise PackNotFoundError(f"no pack at {place}: there is no {where}") from error
    return Manifest.parse(data, where)
