"""A directory that appears complete, or not at all."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ...core import fsync_directory
from ...errors import FastdataError, OptionError, PackExistsError, PackingError
from ...store import FORMAT, MANIFEST

_DONE = "\ndone"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def check_directory(
    sources: Iterable[Path], dst: Path, overwrite: bool = False, inside: bool = False
) -> None:
    """Raise OptionError or PackExistsError if ``dst`` may not be written.

    It may not lie inside of a source (unless ``inside``), nor contain one. Only a pack is ever
    overwritten, so that a slip cannot delete anything else.
    """
    final = Path(os.path.realpath(dst))
    real = {src: Path(os.path.realpath(src)) for src in sources}
    for src, source in real.items():
        if final.is_relative_to(source) and not inside and not (overwrite and final == source):
            raise OptionError(f"{dst} lies inside of {src}: choose another place")
    if not os.path.lexists(dst):
        return
    if not overwrite:
        raise PackExistsError(f"{dst} exists; choose another path{_or_overwrite(dst)}")
    for src, source in real.items():
        if source.is_relative_to(final):
            raise OptionError(f"{src} lies inside of {dst}, which overwriting would delete")
    _check_pack(dst)


def _or_overwrite(dst: Path) -> str:
    return ", or replace it with overwrite (--overwrite)" if (dst / MANIFEST).is_file() else ""


def _check_pack(dst: Path) -> None:
    if not (dst / MANIFEST).is_file():
        raise PackExistsError(f"{dst} exists and is not a pack, so it is not overwritten")
    try:
        values = json.loads((dst / MANIFEST).read_text("utf-8"))
        known = values["format"] == FORMAT
        files = values["files"]
        # Version 1 had the side files' names as keys.
        own = {MANIFEST, *(entry.get("file", name) for name, entry in files.items())}
        own |= {shard["file"] for shard in values["shards"]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PackExistsError(
            f"{dst} is not overwritten: its {MANIFEST} is damaged, or of another program; delete "
            "it yourself, or choose another path"
        ) from error
    if not known:
        raise PackExistsError(f"{dst} is not overwritten: its {MANIFEST} is of another program")
    foreign = sorted(set(os.listdir(dst)) - own)
    if foreign:
        raise PackExistsError(
            f"{dst} is not overwritten: {foreign[0]!r} in it is no part of a pack"
        )


@contextmanager
def resumable_directory(dst: Path, job: str) -> Iterator[Path]:
    """A directory that becomes ``dst`` if the block succeeds; stopped, it can be gone on with.

    It grows in ``dst`` + ".partial", next to a lock. If the block fails for a reason that lies in
    the data (a FastdataError), it vanishes.

    Args:
        dst: where it will appear; if it is a link to nothing, what it names is made.
        job: what is being written, to tell whether a later run may go on.

    Raises:
        PackExistsError: another process is writing ``dst``, or has written it meanwhile, or
            something else is in the way.
        PackingError: the file system refused, in the block or before or after it.
    """
    final, partial, mark, lock = _names(dst)
    with _write_errors(dst, partial), _exclusive(lock, dst):
        known = mark.exists() and mark.read_text("utf-8").startswith(job)
        if os.path.lexists(partial) and not known:
            raise PackExistsError(
                f"{partial} exists, left by something else: look at it, delete it, and run again"
            )
        if not known:  # else it would be empty for a moment
            mark.write_text(job, "utf-8")
        partial.mkdir(exist_ok=True)
        try:
            yield partial
            with mark.open("a", encoding="utf-8") as file:
                file.write(_DONE)
            _rename(partial, final)
        except FastdataError:
            shutil.rmtree(partial, ignore_errors=True)
            mark.unlink()
            raise
        mark.unlink()
        fsync_directory(final.parent)


def was_finished(dst: Path, job: str) -> bool:
    """True if a run of the same job was stopped when ``dst`` had appeared.

    What it has left beside it is removed.
    """
    final, partial, mark, lock = _names(dst)
    left = mark.exists() or lock.exists()
    if not left or not final.is_dir() or os.path.lexists(partial):
        return False
    with _exclusive(lock, dst):
        if not mark.exists() or not mark.read_text("utf-8").startswith(job + _DONE):
            return False
        mark.unlink()
    return True


def _names(dst: Path) -> tuple[Path, Path, Path, Path]:
    """Paths: of what appears, of what grows, of what says which job that is, and of the lock."""
    final = Path(os.path.realpath(dst))
    partial, mark, lock = (
        final.with_name(final.name + suffix) for suffix in (".partial", ".job", ".lock")
    )
    return final, partial, mark, lock


@contextmanager
def _exclusive(path: Path, dst: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise PackExistsError(f"another process is writing {dst}: wait for it") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


@contextmanager
def _write_errors(dst: Path, partial: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, FastdataError):
            raise
        raise PackingError(
            f"cannot write {dst}: {error}; what has been written is in {partial}: run the same "
            "again to go on with it"
        ) from error


def replace_directory(new: Path, final: Path, old: Path, overwrite: bool) -> None:
    """Rename ``new`` to ``final``; with ``overwrite``, delete what is there, by way of ``old``.

    Where the system can exchange two names in one step, ``final`` is there all the time. If it
    cannot, and is stopped between the two renames, ``old`` holds what was there.

    Raises:
        PackExistsError: ``final`` exists, and ``overwrite`` is not set.
    """
    if not (overwrite and final.exists()):
        _rename(new, final)
    elif _exchange(new, final):
        os.rename(new, old)
    else:
        os.rename(final, old)
        try:
            _rename(new, final)
        except BaseException:
            os.rename(old, final)
            raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places; False where that is not to be had (Linux has it)."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def _rename(partial: Path, final: Path) -> None:
    if os.path.lexists(final):  # an empty directory would be replaced without a word
        raise PackExistsError(f"{final} has appeared meanwhile")
    try:
        os.rename(partial, final)
    except OSError as error:
        raise PackExistsError(f"{final} has appeared meanwhile: {error}") from error
