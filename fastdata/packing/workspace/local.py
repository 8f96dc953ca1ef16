"""Where a pack grows until it is complete: ``DST.partial``, which a later run can go on with.

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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...core import fsync_directory, hexdigest, write_durably
from ...errors import PackError, PackExistsError, PackFormatError, PackingError
from ...sources import Source
from ...store import MANIFEST, Manifest, ShardPart, part_name
from ..job import COMMIT, JOB, SOURCE, Commit, check_job, differences, job_identity, write_listing
from .base import RunWorkspace, part_numbers
from .publish import replace_directory

_LOCK = "lock"
_KNOWN = {JOB, SOURCE, _LOCK, COMMIT, "parts", "pack", "old"}
_PATIENCE = 3.0  # seconds until what another machine has written must be seen here
_ATTEMPTS = 20


class Workspace(RunWorkspace):
    """A directory beside that of the pack, locked for this process.

    Args:
        target: where the pack will appear.
        job: the settings that the pack's bytes depend on, for JSON.
        source: the samples, if they could be listed.
        restart: forget what an earlier run has left, whatever it was.

    Raises:
        PackExistsError: another process is packing there, or what is there is another job's; the
            message has the difference.
        PackingError: the directory cannot be made.
    """

    def __init__(
        self, target: Path, job: dict[str, Any], source: Source | None, restart: bool = False
    ) -> None:
        self.target = Path(os.path.realpath(target))
        self.path = partial_path(target)
        self.where = os.fspath(self.path)
        self._appends = "appends_to" in job
        self._identity = job_identity(job, source)
        self._lock = _locked(self.path, target)
        try:
            if restart:
                self._clear()
            self._begin(job, source)
        except BaseException:
            self._lock.release()
            raise

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
            shard = self.target / part.info.file
        if part.info.count and (not shard.is_file() or shard.stat().st_size != part.info.bytes):
            raise PackFormatError(f"{shard} is missing or cut off: start anew with --restart")
        return part

    def publish(self, overwrite: bool) -> None:
        replace_directory(self.pack, self.target, self.path / "old", overwrite)
        fsync_directory(self.target.parent)
        self.finish()

    def publish_over(self, old: Manifest) -> None:
        new = Manifest.read(self.pack)
        before = {entry.file for entry in old.entries}
        for entry in new.entries:
            if entry.file not in before and (self.pack / entry.file).exists():
                os.replace(self.pack / entry.file, self.target / entry.file)
        fsync_directory(self.target)
        os.replace(self.pack / MANIFEST, self.target / MANIFEST)
        fsync_directory(self.target)
        for name in before - {entry.file for entry in new.entries}:
            with suppress(OSError):
                (self.target / name).unlink()
        self.finish()

    def finish(self) -> None:
        """Remove the directory behind a pack that has appeared, or warn that it is still there."""
        for attempt in range(_ATTEMPTS):
            try:
                self.remove()
                return
            except OSError as error:  # a worker that was taken for dead may still write there
                problem = error
            time.sleep(0.01 * attempt)
        warnings.warn(f"{self.path} could not be removed ({problem}): delete it", stacklevel=2)

    def _write(self, name: str, text: str) -> None:
        temporary = self.path / f"tmp-{name}"
        write_durably(temporary, [text.encode("utf-8")])
        os.replace(temporary, self.path / name)
        fsync_directory(self.path)

    def discard(self) -> None:
        for name in ("parts", "pack"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def close(self) -> None:
        """Let another process have the directory; if no shard is complete, it is removed."""
        if not self._lock.is_locked:
            return
        with suppress(OSError):
            self._remove_temporary()
            if not self.done():
                self.remove()
        self._lock.release()

    def _begin(self, job: dict[str, Any], source: Source | None) -> None:
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

    def _restore_old(self) -> None:
        """Put back the pack that a run has taken away, which was killed before it put another."""
        old = self.path / "old"
        if old.exists() and not self.target.exists():
            os.rename(old, self.target)
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

    def remove(self) -> None:
        """Remove the directory with all that is in it."""
        self._clear()
        _remove_rest(self.path)


def _remove_at_once(path: Path) -> None:
    """Remove a directory in which others may still create files: by another name they cannot."""
    gone = path.with_name(f"tmp-gone-{uuid.uuid4().hex}")
    with suppress(OSError):
        os.rename(path, gone)
        shutil.rmtree(gone, ignore_errors=True)


def partial_path(target: Path) -> Path:
    """The workspace of a pack; a link is followed."""
    real = Path(os.path.realpath(target))
    return real.with_name(real.name + ".partial")


def left_behind(
    target: Path, job: dict[str, Any], source: Source | None
) -> tuple[int, list[str]] | None:
    """What an interrupted run, or one that goes on now, has done; nothing is changed.

    Returns:
        how many shards are complete, and how its job or source differ from these; None if there
        is nothing.

    Raises:
        PackFormatError: it is damaged.
    """
    path = partial_path(target)
    try:
        done = len(part_numbers(os.listdir(path / "parts")))
        return done, differences(path, os.fspath(path), job, source)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PackFormatError(f"{path}: damaged ({error}): start anew with --restart") from error


def published(target: Path) -> Commit | None:
    """What the run has noted that made the pack at ``target``, if it was stopped behind that.

    Also removes an empty workspace, which one that was stopped at the very end has left.
    """
    with suppress(OSError):
        partial_path(target).rmdir()
    try:
        commit = Commit(*json.loads((partial_path(target) / COMMIT).read_text("utf-8")))
        manifest = Manifest.read(Path(os.path.realpath(target)))
    except (OSError, ValueError, TypeError, PackError):
        return None
    return commit if commit.manifest == hexdigest([manifest.to_bytes()]) else None


def clear_up(target: Path) -> None:
    """Remove what a run has left that was stopped when its pack had appeared.

    Raises:
        PackExistsError: that run is not over.
    """
    path = partial_path(target)
    lock = _locked(path, target)
    try:
        for entry in path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != COMMIT:
                entry.unlink(missing_ok=True)
        _remove_rest(path)
    finally:
        lock.release()


def _remove_rest(path: Path) -> None:
    """The note that all had been done goes last: nothing but an empty directory can be left."""
    for name in (_LOCK, COMMIT):
        (path / name).unlink(missing_ok=True)
    with suppress(OSError):  # another process may have come to clear up the same
        path.rmdir()


def _locked(path: Path, target: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        path.mkdir(exist_ok=True)
        lock = FileLock(path / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise PackExistsError(
                f"another process is packing {target} (it holds {path / _LOCK}): wait for it, or "
                "choose another path"
            ) from error
        except FileNotFoundError:
            continue
        if (path / _LOCK).exists():
            return lock
        lock.release()  # its holder has just finished, and has removed the file
