"""Where the files of a pack are: in a directory, or behind a URL and in the local cache."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core import map_file, parse_size
from ..errors import OptionError, PackFormatError, PackNotFoundError
from .manifest import MANIFEST, FileEntry, Manifest, ShardEntry
from .remote import LocalPlace, Place, ShardCache, open_place

_MOST_MANIFEST_BYTES = 1 << 30


class PackFiles(ABC):
    """The files of one pack. May be pickled, and used in a forked child and from any thread."""

    @property
    @abstractmethod
    def path(self) -> Path | str:
        """The directory, or the URL without a password."""

    @abstractmethod
    def manifest(self) -> Manifest:
        """What pack.json says now; errors as ``Manifest.read``."""

    @abstractmethod
    def map(self, entry: FileEntry | ShardEntry) -> memoryview:
        """A whole file as read-only mapped memory, valid as long as a view of it lives.

        Raises:
            PackFormatError: it is missing, or not the one that pack.json describes.
        """

    def describe(self, entry: FileEntry | ShardEntry) -> str:
        """A file, for messages."""
        return f"{self.path}/{entry.file}"

    def evicted(self, mapped: Mapping[int, object], shards: Sequence[ShardEntry]) -> list[int]:
        """Numbers of those mapped shards whose file is deleted, so that their maps alone keep the
        disk from having the space back."""
        return []


@dataclass(frozen=True)
class LocalFiles(PackFiles):
    """A pack in a directory of this machine."""

    directory: Path

    @property
    def path(self) -> Path:
        return self.directory

    def manifest(self) -> Manifest:
        return Manifest.read(self.directory)

    def map(self, entry: FileEntry | ShardEntry) -> memoryview:
        return map_file(self.directory / entry.file, entry.bytes)


@dataclass(frozen=True)
class RemoteFiles(PackFiles):
    """A pack behind a URL. Each file is downloaded into the cache, and checked against pack.json,
    when it is first mapped on this machine."""

    place: Place
    cache: ShardCache
    _inodes: dict[str, int] = field(default_factory=dict, compare=False)

    @property
    def path(self) -> str:
        return self.place.describe()

    def manifest(self) -> Manifest:
        manifest = read_manifest(self.place)
        largest = max((entry.bytes for entry in manifest.entries), default=0)
        if largest > self.cache.limit_bytes:
            raise OptionError(
                f"{self.path} has a file of {largest} bytes, and the cache may have "
                f"{self.cache.limit_bytes}: set cache_limit to several times the former"
            )
        return manifest

    def map(self, entry: FileEntry | ShardEntry) -> memoryview:
        try:
            with self.cache.open(self.place, entry.file, entry.bytes, entry.sha256) as path:
                self._inodes[entry.sha256] = os.stat(path).st_ino
                return map_file(path, entry.bytes)
        except PackNotFoundError as error:
            raise PackFormatError(f"{self.describe(entry)}: the file is missing") from error

    def describe(self, entry: FileEntry | ShardEntry) -> str:
        return self.place.describe(entry.file)

    def evicted(self, mapped: Mapping[int, object], shards: Sequence[ShardEntry]) -> list[int]:
        return [number for number in mapped if not self._is_cached(shards[number].sha256)]

    def _is_cached(self, sha256: str) -> bool:
        try:  # downloaded again, it is another file
            return os.stat(self.cache.path(sha256)).st_ino == self._inodes.get(sha256)
        except FileNotFoundError:
            return False

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place, "cache": self.cache, "_inodes": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def read_manifest(place: Place) -> Manifest:
    """The manifest of the pack in a place; errors as ``Manifest.read``."""
    where = place.describe(MANIFEST)
    try:
        data = place.read(MANIFEST, _MOST_MANIFEST_BYTES)
    except PackNotFoundError as error:
        raise PackNotFoundError(f"no pack at {place}: there is no {where}") from error
    return Manifest.parse(data, where)


def pack_files(
    location: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> PackFiles:
    """The files of the pack at a path or a URL; the rest is for URLs, and ignored for paths.

    Args:
        location: a directory, or a URL of a protocol that fsspec knows.
        cache_dir: where downloaded files are kept; None: see ``default_directory``.
        cache_limit: the most bytes they may have, or text such as "100GB"; None: see
            ``default_limit``.
        storage_options: for the protocol's fsspec implementation: credentials, endpoint …

    Raises:
        OptionError: the URL or an option is wrong.
        MissingDependencyError: a package for the protocol is not installed.
        CacheError: the cache cannot be written.
    """
    place = open_place(location, **(storage_options or {}))
    if isinstance(place, LocalPlace):
        return LocalFiles(place.root)
    limit = None if cache_limit is None else parse_size(cache_limit)
    return RemoteFiles(place, ShardCache(cache_dir, limit))
