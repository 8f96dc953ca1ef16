"""A pack behind a URL, where it grows until it is complete.

::

    URL/
      shard-NNNNN.*         shards that are complete
      .partial/
        lease.json          who is packing (see ``fastdata.packing.workspace.lease``)
        job.json            the settings, to tell whether a later run wants the same pack
        source.npz          the samples' names, sizes and times, to tell what has changed since
        parts/NNNNN.npz     says that a shard is complete; written behind it
        commit              as in ``fastdata.packing.workspace.local``; the last to be removed
      table.npy, keys.*, …  written when all shards are there, and behind them:
      pack.json             which makes it a pack
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...errors import (
    FastdataError,
    OptionError,
    PackError,
    PackExistsError,
    PackFormatError,
    PackingError,
    PackNotFoundError,
)
from ...sources import Source
from ...store import MANIFEST, SIDE_FILE, Manifest, Place, ShardPart, part_name, shard_number
from ..job import COMMIT, JOB, SOURCE, check_job, write_listing
from .base import Destination, part_numbers
from .lease import LEASE, PARTIAL, PARTS, Lease, Upload, check_lease

_MOST_COMMIT_BYTES = 1 << 28


class RemoteDestination(Destination):
    """A URL, and a temporary directory of this machine, which holds two shards at most."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.where = place.describe(PARTIAL)
        self._lease: Lease | None = None
        self._is_published = False

    def check_new(self, sources: Sequence[str], overwrite: bool, inside: bool = False) -> None:
        if overwrite:
            raise OptionError(
                f"{self}: overwrite is for directories, which can be exchanged in one step: choose "
                "another URL, or delete the pack first"
            )
        if self.place.exists(MANIFEST):
            raise PackExistsError(f"{self} is a pack already; choose another URL")

    def done(self) -> set[int]:
        names = self.place.names()
        return part_numbers(name[len(PARTS) :] for name in names if name.startswith(PARTS))

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        yield self.path  # tasks build in a directory of their own; it is the lease that stops them

    def expect(self, numbers: Iterable[int]) -> None:
        if missing := set(numbers) - self.done():
            raise PackingError(
                f"shard {min(missing)} was said to be complete, but is not in {self.where}"
            )

    def part(self, number: int) -> ShardPart:
        name = part_name(number)
        path = self.path / "parts" / name
        is_ours = path.exists()
        if not is_ours:
            self.place.get(PARTS + name, path)
        part = ShardPart.read(path)
        if part.info.count and not is_ours:
            self._check_shard(part.info.file, part.info.bytes)
        return part

    def publish(self, overwrite: bool) -> None:
        self._put_pack(Manifest.read(self.pack), None)
        self._finish()

    def discard(self) -> None:
        names = self.place.names()
        for name in names:  # first, so that what is missing is never gone on with
            if name.startswith(PARTS):
                self.place.delete(name)
        kept = self._names_of_pack()
        for name in names:
            if _is_own(name) and name not in kept:
                self.place.delete(name)
        self._make_directories()

    def close(self) -> None:
        """Let another process have the place; if no shard is complete, nothing of it stays."""
        if self._lease is None:
            return
        with suppress(FastdataError, OSError):
            if not self._is_published and not self.done():
                self.discard()
                self._remove_rest()
        shutil.rmtree(self.path, ignore_errors=True)
        self._unlock()

    def _lock(self) -> None:
        self._lease = Lease(self.place)

    def _unlock(self) -> None:
        if self._lease is not None:
            self._lease.close()

    def _begin(self, job: dict[str, Any], source: Source | None, restart: bool) -> None:
        assert self._lease is not None
        self.path = self._lease.directory / "work"
        self.upload = Upload(self.place, self._lease.token)
        self._make_directories()
        names = self.place.names()
        if not self._appends:
            self._refuse_foreign(names)
        if restart:
            self.discard()
            self._remove_rest()
        elif f"{PARTIAL}/{JOB}" in names:
            for name in (JOB, SOURCE):
                if f"{PARTIAL}/{name}" in names:
                    self.place.get(f"{PARTIAL}/{name}", self.path / name)
            check_job(self.path, self.where, job, source)
            return
        if source is not None:
            write_listing(self.path / SOURCE, source)
            self.place.put(self.path / SOURCE, f"{PARTIAL}/{SOURCE}")
        self._write(JOB, json.dumps(job, indent=1))

    def _refuse_foreign(self, names: list[str]) -> None:
        begun = f"{PARTIAL}/{JOB}" in names
        for name in names:
            if not (name.startswith(f"{PARTIAL}/") or (begun and _is_own(name))):
                raise PackExistsError(
                    f"{self.place.describe(name)} is not of a packing run: look at it, then delete "
                    "it, or choose another URL for the pack"
                )

    def _check_shard(self, name: str, size: int) -> None:
        try:
            found = self.place.size(name)
        except PackNotFoundError:
            found = 0
        if found != size:
            raise PackFormatError(
                f"{self.place.describe(name)}: expected {size} bytes, found {found}: start anew "
                "with --restart"
            )

    def _put_pack(self, new: Manifest, old: Manifest | None) -> None:
        """As the interface says; where there was no pack, none may have appeared."""
        assert self._lease is not None
        check_lease(self.place, self._lease.token)
        if old is None and self.place.exists(MANIFEST):
            raise PackExistsError(f"{self.place.describe(MANIFEST)} has appeared meanwhile")
        for entry in new.files.values():
            self.place.put(self.pack / entry.file, entry.file)
        self.place.put(self.pack / MANIFEST, MANIFEST)
        self._is_published = True

    def _write(self, name: str, text: str) -> None:
        self.place.write(f"{PARTIAL}/{name}", text.encode("utf-8"))

    def _note(self) -> bytes | None:
        try:
            return self.place.read(f"{PARTIAL}/{COMMIT}", _MOST_COMMIT_BYTES)
        except PackError:
            return None

    def _remove_rest(self) -> None:
        """Remove what is no part of the pack, less the lease."""
        last = f"{PARTIAL}/{COMMIT}"
        for name in self.place.names():
            if name.startswith(f"{PARTIAL}/") and name not in (LEASE, last):
                self.place.delete(name)
        self.place.delete(last)

    def _finish(self) -> None:
        self._remove_rest()

    def _names_of_pack(self) -> set[str]:
        """Files of the pack that is there, such as one that is appended to."""
        try:
            return {entry.file for entry in self.manifest().entries}
        except PackNotFoundError:
            return set()

    def _make_directories(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)  # a run that was killed may have left it
        for name in ("pack", "parts"):
            (self.path / name).mkdir(parents=True)


def _is_own(name: str) -> bool:
    return shard_number(name) is not None or bool(SIDE_FILE.fullmatch(name))
