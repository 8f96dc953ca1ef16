"""Interface of the destination of a pack, where it grows until it is complete."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from typing_extensions import Self

from ...core import Closable, hexdigest
from ...errors import FastdataError, PackError, PackingError
from ...sources import Source
from ...store import SIDE_FILE, Manifest, PartInfo, Place, ShardPart, read_manifest
from ..job import COMMIT, Commit, job_identity
from .lease import Upload


class Destination(Closable):
    """Interface of the place of one pack; as text it names itself for messages.

    Until ``hold`` it only answers questions. From then to ``close`` no other process may write
    there, and a packing run builds the pack: shards one by one, then all at once ``publish``.

    Attributes:
        place: where the pack is to appear, or is appended to.
        path: while it is held, a directory of this machine with ``pack`` and ``parts`` (see
            ``fastdata.store.parts``).
        where: where complete shards are, for messages.
        upload: takes complete shards from ``path``; None leaves them there.
    """

    path: Path
    where: str
    upload: Upload | None = None

    def __init__(self, place: Place) -> None:
        self.place = place

    def __str__(self) -> str:
        return str(self.place)

    @property
    def pack(self) -> Path:
        """The directory for the pack's side files and pack.json."""
        return self.path / "pack"

    @abstractmethod
    def check_new(self, sources: Sequence[str], overwrite: bool, inside: bool = False) -> None:
        """OptionError or PackExistsError if a pack made of ``sources`` may not be written here.

        ``inside`` allows it to lie below one of them.
        """

    def manifest(self) -> Manifest:
        """The pack.json that is there now; errors as ``Manifest.read``."""
        return read_manifest(self.place)

    def published(self) -> Commit | None:
        """The note of the run that made the pack, if that was stopped when it cleared up."""
        note = self._note()
        try:
            commit = Commit(*json.loads(note)) if note is not None else None
            manifest = self.manifest() if commit is not None else None
        except (PackError, ValueError, TypeError, RecursionError):
            return None
        if commit is None or manifest is None:
            return None
        return commit if commit.manifest == hexdigest([manifest.to_bytes()]) else None

    def clear_up(self, manifest: Manifest | None = None) -> None:
        """Do what that run had left to do.

        Args:
            manifest: the pack's, if side files that it has not are to go, too.

        Raises:
            PackExistsError: that run is not over.
        """
        self._lock()
        try:
            if manifest is not None:
                self._remove_replaced(manifest)
            self._remove_rest()
        finally:
            self._unlock()

    def hold(self, job: dict[str, Any], source: Source | None, restart: bool = False) -> Self:
        """Begin a run, or go on with one that wants the same pack.

        Args:
            job: the settings that the pack's bytes depend on, for JSON.
            source: the samples, if they could be listed.
            restart: forget what an earlier run has left, whatever it was.

        Raises:
            PackExistsError: another process is packing there, or what is there is another job's, or
                no pack's; the message has the difference.
            PackingError: it cannot be written.
            RemoteError: the store refuses.
        """
        self._appends = "appends_to" in job
        self._identity = job_identity(job, source)
        self._lock()
        try:
            self._begin(job, source, restart)
        except BaseException:
            self._unlock()
            raise
        return self

    @abstractmethod
    def scratch(self) -> AbstractContextManager[Path]:
        """A directory where other processes may build shards.

        When the block ends it is gone, and so is the way to complete a shard for whoever is still
        at it, such as a worker that was taken for dead.
        """

    @abstractmethod
    def expect(self, numbers: Iterable[int]) -> None:
        """Check that shards which others say are complete can be seen.

        Raises:
            PackingError: one cannot.
        """

    @abstractmethod
    def done(self) -> set[int]:
        """Numbers of the shards that are complete."""

    @abstractmethod
    def part(self, number: int) -> ShardPart:
        """A complete shard, as far as the pack's side files have to know it.

        Raises:
            PackFormatError: it is damaged; only starting anew helps.
        """

    def announce(self, manifest: Manifest, infos: Iterable[PartInfo]) -> None:
        """Note the pack.json that is about to appear, for a run that finds it there.

        Args:
            manifest: of the new pack.
            infos: of the parts that this job has made, in order.
        """
        parts = [(info.items, info.digest) for info in infos]
        commit = Commit(hexdigest([manifest.to_bytes()]), self._identity, parts)
        self._write(COMMIT, json.dumps(commit))

    @abstractmethod
    def publish(self, overwrite: bool) -> None:
        """Let the pack appear, durably, and remove the rest.

        Raises:
            PackExistsError: something has appeared there meanwhile.
        """

    def publish_over(self, old: Manifest) -> None:
        """Let the pack appear in place of an older one whose shards it contains.

        The new files appear first, then pack.json in one step; then what only the old pack had is
        removed, and the rest.
        """
        new = Manifest.read(self.pack)
        self._put_pack(new, old)
        self._remove_replaced(new)
        self._finish()

    @abstractmethod
    def discard(self) -> None:
        """Forget all shards."""

    @abstractmethod
    def _lock(self) -> None:
        """Keep all other processes out; PackExistsError if one is there."""

    @abstractmethod
    def _unlock(self) -> None:
        """Let others in again."""

    @abstractmethod
    def _begin(self, job: dict[str, Any], source: Source | None, restart: bool) -> None:
        """See ``hold``; it is locked."""

    @abstractmethod
    def _write(self, name: str, text: str) -> None:
        """Write a file beside the pack that is there whole or not at all."""

    @abstractmethod
    def _note(self) -> bytes | None:
        """The file that ``announce`` writes, if it is there."""

    @abstractmethod
    def _put_pack(self, new: Manifest, old: Manifest) -> None:
        """Let the files appear that ``old`` has not, and then pack.json."""

    @abstractmethod
    def _remove_rest(self) -> None:
        """Remove all that is no part of the pack; the note that all had been done goes last."""

    @abstractmethod
    def _finish(self) -> None:
        """Remove the rest behind a pack that has appeared."""

    def _remove_replaced(self, manifest: Manifest) -> None:
        """Remove the side files of older states of the pack."""
        own = {entry.file for entry in manifest.entries}
        for name in self.place.names():
            if SIDE_FILE.fullmatch(name) and name not in own:
                self._remove_file(name)

    def _remove_file(self, name: str) -> None:
        self.place.delete(name)


def part_numbers(names: Iterable[str]) -> set[int]:
    """The numbers of the parts that have these file names."""
    return {int(name[:-4]) for name in names if name.endswith(".npz") and name[:-4].isdigit()}


@contextmanager
def write_errors(destination: object) -> Iterator[None]:
    """Turn what the file system refuses into a PackingError."""
    try:
        yield
    except FastdataError:
        raise
    except OSError as error:
        raise PackingError(f"cannot write {destination}: {error}") from error
