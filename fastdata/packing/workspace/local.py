"""A pack in a directory. It grows in ``DST.partial``, which a later run can go on with.

::

    DST.partial/
      lock           held by the process that packs
      job.json       the settings, to tell whether a later run wants the same pack
      source.npz     the samples' names, sizes and times, to tell what has changed since
      parts/         one file for each shard that is complete (see ``fastdata.store.parts``)
      pack/          the shards, and in the end the whole pack, which is then renamed to DST
      commit         digests of the pack.json that is about to appear, and of what it is made of;
                     the last to be removed, so that a later run can tell that all had been done
      tmp-*          what was being written when a run was killed
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...core import fsync_directory, write_durably
from ...errors import PackExistsError, PackFormatError, PackingError
from ...sources import Source
from ...store import MANIFEST, LocalPlace, Manifest, ShardPart, part_name
from ..job import COMMIT, JOB, SOURCE, check_job, differences, write_listing
from .base import Destination, part_numbers
from .publish import check_directory, replace_directory

_LOCK = "lock"
_KNOWN = {JOB, SOURCE, _LOCK, COMMIT, "parts", "pack", "old"}
_PATIENCE = 3.0  # seconds until what another machine has written must be seen here
_ATTEMPTS = 20


class LocalDestination(Destination):
    """A directory of this machine; the workspace is beside it, locked for this process.

    Args:
        directory: where the pack is to appear; a link is followed.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(LocalPlace(directory))
        self._directory = directory
        self._real = Path(os.path.realpath(directory))
        self.path = self._real.with_name(self._real.name + ".partial")
        self.where = os.fspath(self.path)
        self._held: FileLock | None = None

    def check_new(self, sources: Sequence[str], overwrite: bool, inside: bool = False) -> None:
        check_directory(map(Path, sources), self._directory, overwrite, inside)

    def left_behind(
        self, job: dict[str, Any], source: Source | None
    ) -> tuple[int, list[str]] | None:
        """State of an interrupted run, or of one that goes on now; nothing is changed.

        Returns:
            how many shards are complete, and how its job or source differ from these; None if there
            is nothing.

        Raises:
            PackFormatError: it is damaged.
        """
        try:
            done = len(part_numbers(os.listdir(self.path / "parts")))
            return done, differences(self.path, self.where, job, source)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PackFormatError(
                f"{self.path}: damaged ({error}): start anew with --restart"
            ) from error

    def done(self) -> set[int]:
        parts = self.path / "parts"
        return part_numbers(os.listdir(parts) if parts.is_dir() else [])

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        path = self.path / f"tmp-{uuid.uuid4().hex}"
        path.mkdir()
        try:
            yield path
        finally:
            _remove_at_once(path)

    def expect(self, numbers: Iterable[int]) -> None:
        wanted, deadline = set(numbers), time.monotonic() + _PATIENCE
        # Listing a directory makes a network file system ask its server.
        while (missing := wanted - self.done()) and time.monotonic() < deadline:
            time.sleep(0.1)
        if missing:
            raise PackingError(
                f"shard {min(missing)} was said to be complete, but is not in {self.path / 'parts'}"
                ": do the workers and this process see the same directory there?"
            )

    def part(self, number: int) -> ShardPart:
        part = ShardPart.read(self.path / "parts" / part_name(number))
        shard = self.pack / part.info.file
        if self._appends and not shard.exists():  # it has been moved already
            shard = self._real / part.info.file
        if part.info.count and (not shard.is_file() or shard.stat().st_size != part.info.bytes):
            raise PackFormatError(f"{shard} is missing or cut off: start anew with --restart")
        return part

    def publish(self, overwrite: bool) -> None:
        replace_directory(self.pack, self._real, self.path / "old", overwrite)
        fsync_directory(self._real.parent)
        self._finish()

    def discard(self) -> None:
        for name in ("parts", "pack"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def close(self) -> None:
        """Let another process have the directory; if no shard is complete, it is removed."""
        if self._held is None or not self._held.is_locked:
            return
        with suppress(OSError):
            self._remove_temporary()
            if not self.done():
                self._remove()
        self._unlock()

    def _lock(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            self.path.mkdir(exist_ok=True)
            lock = FileLock(self.path / _LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise PackExistsError(
                    f"another process is packing {self} (it holds {self.path / _LOCK}): wait for "
                    "it, or choose another path"
                ) from error
            except FileNotFoundError:
                continue
            if (self.path / _LOCK).exists():
                self._held = lock
                return
            lock.release()  # its holder has just finished, and has removed the file

    def _unlock(self) -> None:
        if self._held is not None:
            self._held.release()

    def _begin(self, job: dict[str, Any], source: Source | None, restart: bool) -> None:
        if restart:
            self._clear()
        self._restore_old()
        self._refuse_foreign()
        begun = (self.path / JOB).exists()
        if begun:
            check_job(self.path, self.where, job, source)
        self._remove_temporary()
        for name in ("parts", "pack"):
            (self.path / name).mkdir(exist_ok=True)
        if not begun:
            if source is not None:
                write_listing(self.path / SOURCE, source)
            self._write(JOB, json.dumps(job, indent=1))

    def _write(self, name: str, text: str) -> None:
        temporary = self.path / f"tmp-{name}"
        write_durably(temporary, [text.encode("utf-8")])
        os.replace(temporary, self.path / name)
        fsync_directory(self.path)

    def _note(self) -> bytes | None:
        with suppress(OSError):
            self.path.rmdir()  # all that is left of a run that was stopped at the very end
        try:
            return (self.path / COMMIT).read_bytes()
        except OSError:
            return None

    def _put_pack(self, new: Manifest, old: Manifest) -> None:
        before = {entry.file for entry in old.entries}
        for entry in new.entries:
            if entry.file not in before and (self.pack / entry.file).exists():
                os.replace(self.pack / entry.file, self._real / entry.file)
        fsync_directory(self._real)
        os.replace(self.pack / MANIFEST, self._real / MANIFEST)
        fsync_directory(self._real)

    def _remove_file(self, name: str) -> None:
        with suppress(OSError):  # Windows deletes none that is mapped
            super()._remove_file(name)

    def _finish(self) -> None:
        """Remove the workspace, or warn that it is still there."""
        for attempt in range(_ATTEMPTS):
            try:
                self._remove()
                return
            except OSError as error:  # a worker that was taken for dead may still write there
                problem = error
            time.sleep(0.01 * attempt)
        warnings.warn(f"{self.path} could not be removed ({problem}): delete it", stacklevel=2)

    def _remove(self) -> None:
        """Remove the workspace of a run that has ended."""
        self._clear()
        self._remove_last()

    def _remove_rest(self) -> None:
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != COMMIT:
                entry.unlink(missing_ok=True)
        self._remove_last()

    def _remove_last(self) -> None:
        """The note that all had been done goes last: nothing but an empty directory can be left."""
        for name in (_LOCK, COMMIT):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):  # another process may have come to clear up the same
            self.path.rmdir()

    def _restore_old(self) -> None:
        """Put back the pack that a run has taken away, which was killed before it put another."""
        old = self.path / "old"
        if old.exists() and not self._real.exists():
            os.rename(old, self._real)
        shutil.rmtree(old, ignore_errors=True)

    def _refuse_foreign(self) -> None:
        for name in sorted(os.listdir(self.path)):
            if name not in _KNOWN and not name.startswith("tmp-"):
                raise PackExistsError(
                    f"{self.path / name} is not of a packing run: look at it, then delete "
                    f"{self.path}, or choose another path for the pack"
                )

    def _remove_temporary(self) -> None:
        for path in self.path.glob("tmp-*"):
            if path.is_dir():
                _remove_at_once(path)
            else:
                path.unlink(missing_ok=True)

    def _clear(self) -> None:
        self._restore_old()
        self._refuse_foreign()
        for name in (JOB, SOURCE):  # first, so that half of it is never gone on with
            (self.path / name).unlink(missing_ok=True)
        self._remove_temporary()
        for name in ("parts", "pack"):
            shutil.rmtree(self.path / name, ignore_errors=True)


def _remove_at_once(path: Path) -> None:
    """Remove a directory in which others may still create files: by another name they cannot."""
    gone = path.with_name(f"tmp-gone-{uuid.uuid4().hex}")
    with suppress(OSError):
        os.rename(path, gone)
        shutil.rmtree(gone, ignore_errors=True)
