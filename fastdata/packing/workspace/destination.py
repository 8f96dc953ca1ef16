"""Where a new pack is to appear, or one that is appended to: in a directory, or behind a URL."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import OptionError, PackExistsError
from ...sources import Source
from ...store import MANIFEST, SIDE_FILE, LocalPlace, Manifest, Place, open_place, read_manifest
from ..job import Commit
from .base import RunWorkspace
from .local import Workspace, clear_up, published
from .publish import check_destination
from .remote import UrlWorkspace, clear_up_at, published_at


class Target(ABC):
    """The place of one pack; as text it names itself for messages."""

    @property
    @abstractmethod
    def path(self) -> Path | str:
        """The directory, or the URL without a password."""

    @abstractmethod
    def check_new(self, sources: Sequence[str], overwrite: bool, inside: bool = False) -> None:
        """OptionError or PackExistsError if a pack made of ``sources`` may not be written here.

        ``inside`` allows it to lie below one of them.
        """

    @abstractmethod
    def is_at(self, path: str) -> bool:
        """Whether a path or a URL leads to the same place."""

    @abstractmethod
    def manifest(self) -> Manifest:
        """The pack.json that is there now; errors as ``Manifest.read``."""

    @abstractmethod
    def published(self) -> Commit | None:
        """What the run has noted that made the pack, if it was stopped when it cleared up."""

    @abstractmethod
    def clear_up(self, manifest: Manifest | None = None) -> None:
        """Do what that run had left to do; with the pack's manifest, remove replaced side files."""

    @abstractmethod
    def workspace(self, job: dict[str, Any], source: Source | None, restart: bool) -> RunWorkspace:
        """Where to build it; see ``Workspace``."""

    def __str__(self) -> str:
        return os.fspath(self.path)


@dataclass(frozen=True)
class LocalTarget(Target):
    """A directory of this machine."""

    directory: Path

    @property
    def path(self) -> Path:
        return self.directory

    def check_new(self, sources: Sequence[str], overwrite: bool, inside: bool = False) -> None:
        check_destination(map(Path, sources), self.directory, overwrite, inside)

    def is_at(self, path: str) -> bool:
        return os.path.realpath(path) == os.path.realpath(self.directory)

    def manifest(self) -> Manifest:
        return Manifest.read(self.directory)

    def published(self) -> Commit | None:
        return published(self.directory)

    def clear_up(self, manifest: Manifest | None = None) -> None:
        if manifest is not None:
            own = {entry.file for entry in manifest.entries}
            for path in self.directory.iterdir():
                if path.name not in own and SIDE_FILE.fullmatch(path.name):
                    path.unlink(missing_ok=True)
        clear_up(self.directory)

    def workspace(self, job: dict[str, Any], source: Source | None, restart: bool) -> RunWorkspace:
        return Workspace(self.directory, job, source, restart)


@dataclass(frozen=True)
class UrlTarget(Target):
    """A place behind a URL."""

    place: Place

    @property
    def path(self) -> str:
        return self.place.describe()

    def check_new(self, sources: Sequence[str], overwrite: bool, inside: bool = False) -> None:
        if overwrite:
            raise OptionError(
                f"{self}: overwrite is for directories, which can be exchanged in one step: choose "
                "another URL, or delete the pack first"
            )
        if self.place.exists(MANIFEST):
            raise PackExistsError(f"{self} is a pack already; choose another URL")

    def is_at(self, path: str) -> bool:
        return path.rstrip("/") == self.path

    def manifest(self) -> Manifest:
        return read_manifest(self.place)

    def published(self) -> Commit | None:
        return published_at(self.place)

    def clear_up(self, manifest: Manifest | None = None) -> None:
        clear_up_at(self.place, manifest)

    def workspace(self, job: dict[str, Any], source: Source | None, restart: bool) -> RunWorkspace:
        return UrlWorkspace(self.place, job, source, restart)


def target_of(
    location: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None
) -> Target:
    """The target at a path or a URL; errors as ``open_place``."""
    place = open_place(location, **(storage_options or {}))
    return LocalTarget(place.root) if isinstance(place, LocalPlace) else UrlTarget(place)
