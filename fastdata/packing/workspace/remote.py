"""A pack that grows behind a URL.

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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...core import hexdigest
from ...errors import (
    FastdataError,
    PackError,
    PackExistsError,
    PackFormatError,
    PackingError,
    PackNotFoundError,
)
from ...sources import Source
from ...store import (
    MANIFEST,
    SIDE_FILE,
    Manifest,
    Place,
    ShardPart,
    part_name,
    read_manifest,
    shard_number,
)
from ..job import COMMIT, JOB, SOURCE, Commit, check_job, job_identity, write_listing
from .base import RunWorkspace, part_numbers
from .lease import LEASE, PARTIAL, Lease, check_lease
from .upload import PARTS, Upload

_MOST_COMMIT_BYTES = 1 << 28


class UrlWorkspace(RunWorkspace):
    """Below a URL, and in a temporary directory of this machine, which holds two shards at most.

    Args:
        place: where the pack will appear.
        job, source, restart: as for ``Workspace``.

    Raises:
        PackExistsError: another run is packing there, or what is there is another job's, or no
            pack's; the message has the difference.
        RemoteError: the store refuses.
    """

    def __init__(
        self, place: Place, job: dict[str, Any], source: Source | None, restart: bool = False
    ) -> None:
        self.place = place
        self.where = place.describe(PARTIAL)
        self._appends = "appends_to" in job
        self._identity = job_identity(job, source)
        self._is_published = False
        self._lease = Lease(place)
        try:
            self.path = self._lease.directory / "work"
            self.upload = Upload(place, self._lease.token)
            self._make_directories()
            self._begin(job, source, restart)
        except BaseException:
            self._lease.close()
            raise

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
        check_lease(self.place, self._lease.token)
        if self.place.exists(MANIFEST):
            raise PackExistsError(f"{self.place.describe(MANIFEST)} has appeared meanwhile")
        self._put_pack()
        remove_partial(self.place)

    def publish_over(self, old: Manifest) -> None:
        check_lease(self.place, self._lease.token)
        self._put_pack()
        remove_replaced(self.place, Manifest.read(self.pack))
        remove_partial(self.place)

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
        with suppress(FastdataError, OSError):
            if not self._is_published and not self.done():
                self.discard()
                remove_partial(self.place)
        shutil.rmtree(self.path, ignore_errors=True)
        self._lease.close()

    def _begin(self, job: dict[str, Any], source: Source | None, restart: bool) -> None:
        names = self.place.names()
        if not self._appends:
            self._refuse_foreign(names)
        if restart:
            self.discard()
            remove_partial(self.place)
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

    def _put_pack(self) -> None:
        for entry in Manifest.read(self.pack).files.values():
            self.place.put(self.pack / entry.file, entry.file)
        self.place.put(self.pack / MANIFEST, MANIFEST)
        self._is_published = True

    def _write(self, name: str, text: str) -> None:
        self.place.write(f"{PARTIAL}/{name}", text.encode("utf-8"))

    def _names_of_pack(self) -> set[str]:
        """Files of the pack that is there, such as one that is appended to."""
        try:
            return {entry.file for entry in read_manifest(self.place).entries}
        except PackNotFoundError:
            return set()

    def _make_directories(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)  # a run that was killed may have left it
        for name in ("pack", "parts"):
            (self.path / name).mkdir(parents=True)


def published_at(place: Place) -> Commit | None:
    """What the run has noted that made the pack there, if it was stopped behind that."""
    try:
        commit = Commit(*json.loads(place.read(f"{PARTIAL}/{COMMIT}", _MOST_COMMIT_BYTES)))
        manifest = read_manifest(place)
    except (PackError, ValueError, TypeError, RecursionError):
        return None
    return commit if commit.manifest == hexdigest([manifest.to_bytes()]) else None


def clear_up_at(place: Place, manifest: Manifest | None) -> None:
    """Remove what a run has left that was stopped when its pack had appeared.

    Args:
        place: of the pack.
        manifest: the pack's, if side files that it has not are to go, too.

    Raises:
        PackExistsError: that run is not over.
    """
    with Lease(place):
        if manifest is not None:
            remove_replaced(place, manifest)
        remove_partial(place)


def remove_replaced(place: Place, manifest: Manifest) -> None:
    """Remove the side files of older states of a pack."""
    own = {entry.file for entry in manifest.entries}
    for name in place.names():
        if SIDE_FILE.fullmatch(name) and name not in own:
            place.delete(name)


def remove_partial(place: Place) -> None:
    """Remove what is not of the pack, less the lease; the note that all had been done goes last."""
    last = f"{PARTIAL}/{COMMIT}"
    for name in place.names():
        if name.startswith(f"{PARTIAL}/") and name not in (LEASE, last):
            place.delete(name)
    place.delete(last)


def _is_own(name: str) -> bool:
    return shard_number(name) is not None or bool(SIDE_FILE.fullmatch(name))
