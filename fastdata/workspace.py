"""Where a pack grows until it is complete: ``DST.partial``, which a later run can go on with.

::

    DST.partial/
      lock           held by the process that packs
      job.json       the settings, to tell whether a later run wants the same pack
      source.npz     the samples' names, sizes and times, to tell what has changed since
      parts/         one file for each shard that is complete (see ``fastdata.shards.parts``)
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
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from .closable import Closable
from .errors import FastdataError, PackError, PackExistsError, PackFormatError, PackingError
from .publish import replace_directory
from .sample import KeyTable
from .shards import Manifest, ShardPart
from .shards._files import fsync_directory, fsync_file, write_durably
from .shards.parts import part_name
from .sources import Source
from .sources.base import hexdigest

_JOB, _SOURCE, _LOCK, _COMMIT = "job.json", "source.npz", "lock", "commit"
_KNOWN = {_JOB, _SOURCE, _LOCK, _COMMIT, "parts", "pack", "old"}
_LOW_SPACE = 100_000_000
_PATIENCE = 3.0  # seconds until what another machine has written must be seen here
_ATTEMPTS = 20


class Workspace(Closable):
    """The directory of one packing run, locked for this process.

    Args:
        target: where the pack will appear.
        job: the settings that the pack's bytes depend on, for JSON.
        source: the samples, if they could be listed.
        restart: forget what an earlier run has left, whatever it was.

    Attributes:
        path: the directory.
        resumed: whether an earlier run of the same job has left complete shards.

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
        self._appends = "appends_to" in job
        self._identity = job_identity(job, source)
        self._lock = _locked(self.path, target)
        try:
            if restart:
                self._clear()
            job = json.loads(json.dumps(job))  # as it will be read again: tuples become lists
            self._begin(job, source)
        except BaseException:
            self._lock.release()
            raise
        self.resumed = bool(self.done())

    @property
    def pack(self) -> Path:
        """The directory that becomes the pack."""
        return self.path / "pack"

    def done(self) -> set[int]:
        """Numbers of the shards that are complete."""
        parts = self.path / "parts"
        names = os.listdir(parts) if parts.is_dir() else []
        return {int(name[:-4]) for name in names if name.endswith(".npz") and name[:-4].isdigit()}

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory where other processes may build shards.

        When the block ends it is gone, and so is the way to complete a shard for whoever is still
        at it, such as a worker that was taken for dead.
        """
        path = self.path / f"tmp-{uuid.uuid4().hex}"
        path.mkdir()
        try:
            yield path
        finally:
            _remove_at_once(path)

    def expect(self, numbers: Iterable[int]) -> None:
        """Check that shards which others say are complete can be seen.

        Raises:
            PackingError: one cannot.
        """
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
        """What is known of a complete shard.

        Raises:
            PackFormatError: it is damaged; only deleting the directory helps.
        """
        part = ShardPart.read(self.path / "parts" / part_name(number))
        shard = self.pack / part.info.file
        if self._appends and not shard.exists():  # it has been moved already
            shard = self.target / part.info.file
        if part.info.count and (not shard.is_file() or shard.stat().st_size != part.info.bytes):
            raise PackFormatError(f"{shard} is missing or cut off: start anew with --restart")
        return part

    def publish(self, overwrite: bool) -> None:
        """Let the pack appear at the target, durably, and remove the rest.

        Raises:
            PackExistsError: something has appeared there meanwhile.
        """
        replace_directory(self.pack, self.target, self.path / "old", overwrite)
        fsync_directory(self.target.parent)
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

    def announce(self, manifest: Manifest) -> None:
        """Note the pack.json that is about to appear, for a run that finds it there."""
        infos = [self.part(number).info for number in sorted(self.done())]
        commit = Commit(
            hexdigest([manifest.to_bytes()]),
            self._identity,
            [(info.items, info.digest) for info in infos],
        )
        self._write(_COMMIT, json.dumps(commit))

    def _write(self, name: str, text: str) -> None:
        """Write a file that is there whole or not at all."""
        temporary = self.path / f"tmp-{name}"
        write_durably(temporary, [text.encode("utf-8")])
        os.replace(temporary, self.path / name)
        fsync_directory(self.path)

    def discard(self) -> None:
        """Forget all shards."""
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
        path = self.path / _JOB
        if path.exists():
            self._compare(json.loads(path.read_text("utf-8")), job, source)
        self._remove_temporary()
        for name in ("parts", "pack"):
            (self.path / name).mkdir(exist_ok=True)
        if not path.exists():
            if source is not None:
                _write_listing(self.path / _SOURCE, source)
            self._write(_JOB, json.dumps(job, indent=1))

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

    def _compare(self, before: dict[str, Any], now: dict[str, Any], source: Source | None) -> None:
        different = _differences(self.path, before, now, source)
        if different:
            raise PackExistsError(
                f"{self.path} holds an unfinished pack that differs: {'; '.join(different)}. Run "
                "it as before to go on, or give up what is done and start anew with restart "
                "(--restart)"
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
        for name in (_JOB, _SOURCE):  # first, so that half of it is never gone on with
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
        before = json.loads((path / _JOB).read_text("utf-8"))
        done = sum(name.endswith(".npz") for name in os.listdir(path / "parts"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PackFormatError(f"{path}: damaged ({error}): start anew with --restart") from error
    return done, _differences(path, before, json.loads(json.dumps(job)), source)


class Commit(NamedTuple):
    """What a run notes right before its pack appears.

    ``manifest`` is the digest of the pack.json, ``job`` that of settings and listing, and ``parts``
    has the number of items and their digest for each shard.
    """

    manifest: str
    job: str
    parts: list[tuple[int, str]]


def job_identity(job: dict[str, Any], source: Source | None) -> str:
    """A digest of settings and samples; two runs that have the same want the same pack."""
    settings = {name: value for name, value in job.items() if name != "appends_to"}
    parts: list[Any] = [json.dumps(settings, sort_keys=True)]
    if source is not None:
        parts += [source.keys.offsets, source.keys.blob, source.sizes, source.stamps]
    return hexdigest(parts)


def published(target: Path) -> Commit | None:
    """What the run has noted that made the pack at ``target``, if it was stopped behind that.

    Also removes an empty workspace, which one that was stopped at the very end has left.
    """
    with suppress(OSError):
        partial_path(target).rmdir()
    try:
        commit = Commit(*json.loads((partial_path(target) / _COMMIT).read_text("utf-8")))
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
            elif entry.name != _COMMIT:
                entry.unlink(missing_ok=True)
        _remove_rest(path)
    finally:
        lock.release()


def _remove_rest(path: Path) -> None:
    """The note that all had been done goes last: nothing but an empty directory can be left."""
    for name in (_LOCK, _COMMIT):
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


@contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Each storage library has its own errors for a write that failed: all become OSError."""
    try:
        yield
    except (FastdataError, OSError):
        raise
    except Exception as error:
        free = shutil.disk_usage(directory).free
        # LMDB reports a full disk as "Input/output error".
        full = f" ({free / 1e6:.1f} MB are free there)" if free < _LOW_SPACE else ""
        raise OSError(f"{error}{full}") from error


@contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """What the file system refuses becomes a PackingError."""
    try:
        yield
    except FastdataError:
        raise
    except OSError as error:
        raise PackingError(f"cannot write {target}: {error}") from error


def _write_listing(path: Path, source: Source) -> None:
    arrays = {
        "key_offsets": source.keys.offsets,
        "keys": source.keys.blob,
        "sizes": source.sizes,
        "stamps": source.stamps,
    }
    temporary = path.with_name("tmp-" + path.name)
    np.savez(temporary, **arrays)  # type: ignore[arg-type]
    fsync_file(temporary)
    os.replace(temporary, path)


def _differences(
    path: Path, before: dict[str, Any], now: dict[str, Any], source: Source | None
) -> list[str]:
    """How a job and its source differ from those of the workspace at ``path``."""
    different = [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in {**before, **now}
        if before.get(name) != now.get(name) and name != "digest"
    ]
    if source is not None:
        different += _changes(path / _SOURCE, source)
    if not different and before.get("digest") != now.get("digest"):
        different = ["targets, columns or annotations have changed"]
    return different


def _changes(path: Path, source: Source) -> list[str]:
    """The first difference between the samples that were listed and those that are there now."""
    try:
        with np.load(path, allow_pickle=False) as found:
            before = {name: found[name] for name in found.files}
        keys = KeyTable(before["key_offsets"], before["keys"])
    except Exception as error:  # zipfile and NumPy have errors of their own
        raise PackFormatError(f"{path}: damaged ({error}): start anew with --restart") from error
    if len(keys) != len(source) or not np.array_equal(keys.offsets, source.keys.offsets):
        return [_first_new_key(keys, source.keys)]
    if not np.array_equal(keys.blob, source.keys.blob):
        return [_first_new_key(keys, source.keys)]
    for name, meaning in (("sizes", "bytes"), ("stamps", "modification time")):
        rows = np.flatnonzero(before[name] != getattr(source, name))
        if len(rows):
            row = int(rows[0])
            more = f" (and {len(rows) - 1} more files)" if len(rows) > 1 else ""
            old, new = before[name][row], getattr(source, name)[row]
            return [f"{source.keys[row]!r} has changed: {meaning} {old} then, {new} now{more}"]
    return []


def _first_new_key(before: KeyTable, now: KeyTable) -> str:
    for index, (old, new) in enumerate(zip(before, now, strict=False)):
        if old != new:
            where = f"sample {index} was {old!r} and is {new!r}"
            break
    else:
        longer = before if len(before) > len(now) else now
        gone = "no longer there" if longer is before else "new"
        where = f"{longer[min(len(before), len(now))]!r} is {gone}"
    return f"the source had {len(before)} samples and has {len(now)}: {where}"
